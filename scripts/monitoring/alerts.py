"""Alerts: messages about problems that a person has to know, sent to Slack and by mail.

The settings name the sinks. If a sink is down, the failure is logged; it never fails the work that sends the alert.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import smtplib
import ssl
import time
from email.message import EmailMessage
from typing import TYPE_CHECKING, Literal

import requests

from scripts.config import settings
from scripts.errors import DataError, PipelineError, WarehouseError
from scripts.monitoring.advice import Place, advice
from scripts.security import outside_text
from scripts.utils.files import locked, make_dir, write_atomically
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scripts.config import Settings
    from scripts.monitoring.health import OldQuarantine

_log = get_logger("notify")
_TIMEOUT_SECONDS = 10
_LONGEST_SENDING_SECONDS = 60
_REPEAT_AFTER_SECONDS = 3600
_LONGEST_TITLE = 200
_LONGEST_TEXT = 4500
_LONGEST_MESSAGE = 8000

Kind = Literal[
    "task failed",
    "validation failed",
    "dbt failed",
    "run late",
    "data stale",
    "data overdue",
    "rows quarantined",
    "ledger",
    "workflow failed",
]
RUNBOOK: Mapping[Kind, str] = {
    "task failed": "run-a-failed-dag-again",
    "validation failed": "rows-in-quarantine-or-a-broken-rule",
    "dbt failed": "a-dbt-model-or-test-failed",
    "run late": "the-pipeline-takes-over-two-hours",
    "data stale": "data-is-stale",
    "data overdue": "days-are-missing-or-not-published",
    "rows quarantined": "rows-in-quarantine-or-a-broken-rule",
    "ledger": "rows-do-not-add-up",
    "workflow failed": "the-backfill-webhook-fails",
}
"""The entry of the runbook for each kind of alert."""


@dataclasses.dataclass(frozen=True)
class Alert:
    """A problem that a person has to know.

    Attributes:
        kind: The kind of problem; it determines the entry of the runbook.
        title: What happened, and where.
        text: The error message for the reader.
        links: Addresses of pages about the problem, by name; `runbook` replaces the address that follows from the
            settings.
        key: Alerts with the same key are sent once an hour; by default the kind and the title.
        place: Where the work was started; the message says how to go on there.
    """

    kind: Kind
    title: str
    text: str
    links: Mapping[str, str] = dataclasses.field(default_factory=dict)
    key: str = ""
    place: Place = "terminal"


def notify(alert: Alert) -> Sequence[str]:
    """Send an alert to every sink of the settings, and return the sinks that accepted it; never raise an error.

    The alert is always logged. If it was sent less than an hour ago, it is not sent again, also if two processes send
    it at the same time.
    """
    _log.warning(
        "alert: %s: %s",
        alert.kind,
        outside_text.one_line(alert.title, longest=_LONGEST_TITLE),
        extra={"alert": alert.kind},
    )
    note = _note_of(alert)
    with contextlib.ExitStack() as stack:
        try:
            lock = note.with_suffix(".lock")
            stack.enter_context(locked(lock, purpose="alert", timeout=_LONGEST_SENDING_SECONDS, keep_file=False))
        except (OSError, PipelineError) as error:
            _log.warning("the alert may be sent twice: %s", error)
        return _send(note, alert)


def was_sent(alert: Alert) -> bool:
    """Return whether the same alert was sent from this `DATA_DIR` less than an hour ago."""
    try:
        return _is_recent(_note_of(alert))
    except OSError:
        return False


def _send(note: Path, alert: Alert) -> Sequence[str]:
    config = settings()
    try:
        if _is_recent(note):
            _log.info("the same alert was sent less than an hour ago")
            return []
    except OSError as error:
        _log.warning("cannot find out whether the alert was sent before: %s", error)
    taken = []
    for name, send in (("slack", _send_to_slack), ("mail", _send_mail)):
        try:
            if send(config, alert):
                taken.append(name)
        except (OSError, requests.RequestException, smtplib.SMTPException) as error:
            _log.warning("the alert could not be sent by %s: %s", name, outside_text.one_line(str(error)))
    if taken:
        _keep(note, alert)
    return taken


def has_sink() -> bool:
    """Return whether the settings name a sink."""
    config = settings()
    return config.slack_webhook is not None or bool(config.alert_email)


def about_failure(error: PipelineError, work: str, *, run_id: str, links: Mapping[str, str]) -> Alert:
    """Return the alert for a command that failed; `work` names the command."""
    return Alert(kind_of(error), work, str(error), links, key=f"{work} {run_id}")


def about_old_quarantine(old: Sequence[OldQuarantine]) -> Alert:
    """Return the reminder about rows that have been in quarantine for a long time."""
    lines = [f"{q.source}/{q.resource}/{q.day}: {q.rows} rows, {q.age_days} days, {', '.join(q.rules)}" for q in old]
    return Alert("rows quarantined", f"{sum(q.rows for q in old)} rows wait for a decision", "\n".join(lines))


def kind_of(error: BaseException | None) -> Kind:
    """Return the kind of alert for work that ended with an error."""
    if isinstance(error, WarehouseError):
        return "dbt failed"
    return "validation failed" if isinstance(error, DataError) else "task failed"


def runbook_url(kind: Kind) -> str:
    """Return the address of the runbook entry for a kind of alert."""
    root = settings().docs_url.rstrip("/")
    page = "runbook.md" if "://" not in root else "runbook/"
    return f"{root}/{page}#{RUNBOOK[kind]}"


def describe(alert: Alert) -> str:
    """Return the alert as plain text."""
    links = {**alert.links, "runbook": alert.links.get("runbook") or runbook_url(alert.kind)}
    how_to_go_on = advice(alert.kind, alert.place)
    return "\n".join(
        [
            f"{alert.kind.upper()}: {outside_text.one_line(alert.title, longest=_LONGEST_TITLE)}",
            outside_text.lines(alert.text, longest=_LONGEST_TEXT),
            *([how_to_go_on] if how_to_go_on else []),
            "",
            *(f"{name}: {outside_text.one_line(url)}" for name, url in links.items()),
        ]
    )


def _send_to_slack(config: Settings, alert: Alert) -> bool:
    if config.slack_webhook is None:
        return False
    url = config.slack_webhook.get_secret_value()
    try:
        response = requests.post(
            url,
            json={"text": outside_text.slack(describe(alert), longest=_LONGEST_MESSAGE)},
            timeout=_TIMEOUT_SECONDS,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        # the messages of requests contain the address, which is a secret
        raise OSError(type(error).__name__) from None
    if not response.ok or response.is_redirect:
        raise OSError(f"HTTP {response.status_code}")
    return True


def _send_mail(config: Settings, alert: Alert) -> bool:
    if not config.alert_email:
        return False
    if config.smtp_host is None:
        raise OSError("ALERT_EMAIL is set, but SMTP_HOST is not")
    message = EmailMessage()
    message["Subject"] = outside_text.one_line(f"[data-pipeline] {alert.kind}: {alert.title}", longest=_LONGEST_TITLE)
    message["From"], message["To"] = config.smtp_from, ", ".join(config.alert_email)
    message.set_content(describe(alert))
    with _mail_server(config, config.smtp_host) as server:
        if config.smtp_user:
            server.login(config.smtp_user, config.smtp_password.get_secret_value() if config.smtp_password else "")
        server.send_message(message)
    return True


def _mail_server(config: Settings, host: str) -> smtplib.SMTP:
    """Return a connection to the mail server; if it is encrypted, the server's certificate has been checked."""
    if config.smtp_security == "none":
        return smtplib.SMTP(host, config.smtp_port, timeout=_TIMEOUT_SECONDS)
    context = ssl.create_default_context()
    if config.smtp_ca_file is not None:
        context.load_verify_locations(config.smtp_ca_file)
    if config.smtp_security == "tls":
        return smtplib.SMTP_SSL(host, config.smtp_port, timeout=_TIMEOUT_SECONDS, context=context)
    server = smtplib.SMTP(host, config.smtp_port, timeout=_TIMEOUT_SECONDS)
    try:
        server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server


def _note_of(alert: Alert) -> Path:
    key = alert.key or f"{alert.kind}: {alert.title}"
    return settings().data_dir / "alerts" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.txt"


def _is_recent(note: Path) -> bool:
    # the clock of the machine may have been ahead
    return note.exists() and abs(time.time() - note.stat().st_mtime) < _REPEAT_AFTER_SECONDS


def _keep(note: Path, alert: Alert) -> None:
    try:
        make_dir(note.parent)
        write_atomically(note, describe(alert).encode())
    except OSError as error:
        _log.warning("the alert may be sent twice: %s", error)
