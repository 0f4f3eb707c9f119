"""Alerts against sinks of their own: Slack's webhook and a mail server."""

import concurrent.futures
import dataclasses
import os
import re
import socket
import time

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message

from scripts.config import PROJECT_DIR
from scripts.errors import DataError
from scripts.monitoring import advice, alerts
from scripts.monitoring.alerts import Alert

ALERT = Alert("task failed", "a.b x/y 2024-01-01", "HTTP 503, expected 200", {"log": "http://127.0.0.1/log"})


class Mailbox(Message):
    def __init__(self):
        super().__init__()
        self.mails = []

    def handle_message(self, message):
        self.mails.append(message)


@pytest.fixture
def mailbox(env):
    box = Mailbox()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    for name, value in {"HOST": "127.0.0.1", "PORT": port, "SECURITY": "none", "FROM": "pipeline@example.com"}.items():
        env(f"SMTP_{name}", value)
    env("ALERT_EMAIL", "one@example.com, two@example.com")
    yield box
    controller.stop()


def test_an_alert_reaches_slack_and_mail_with_its_links(sink, mailbox, env):
    env("DOCS_URL", "https://docs.example.com/")
    assert alerts.notify(ALERT) == ["slack", "mail"]
    (text,), (mail,) = sink.texts, mailbox.mails
    assert text == (
        "TASK FAILED: a.b x/y 2024-01-01\nHTTP 503, expected 200\n"
        "When the cause is corrected, run the command again; `pipeline backfill` loads only what is missing.\n\n"
        "log: http://127.0.0.1/log\nrunbook: https://docs.example.com/runbook/#run-a-failed-dag-again"
    )
    assert mail["Subject"] == "[data-pipeline] task failed: a.b x/y 2024-01-01"
    assert mail["To"] == "one@example.com, two@example.com"
    assert mail.get_payload(decode=True).decode().splitlines() == text.splitlines()


def test_the_same_alert_is_sent_once_an_hour(sink):
    assert alerts.notify(ALERT) == ["slack"]
    assert alerts.notify(ALERT) == []
    assert alerts.notify(dataclasses.replace(ALERT, title="another")) == ["slack"]
    for moment in (time.time() - 3700, time.time() + 86400):
        # a day from now: the note of a clock that was ahead
        for note in alerts.settings().data_dir.joinpath("alerts").iterdir():
            os.utime(note, (moment, moment))
        assert alerts.notify(ALERT) == ["slack"]


def test_two_processes_that_tell_the_same_at_the_same_time_send_it_once(sink):
    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        taken = list(executor.map(alerts.notify, [ALERT] * 8))
    assert sorted(taken) == [[]] * 7 + [["slack"]]
    assert len(sink.texts) == 1
    assert not list(alerts.settings().data_dir.joinpath("alerts").glob("*.lock"))


def test_it_is_known_whether_an_alert_was_sent(sink):
    assert not alerts.was_sent(ALERT)
    sink.status = 500
    alerts.notify(ALERT)
    assert not alerts.was_sent(ALERT)
    sink.status = 200
    alerts.notify(ALERT)
    assert alerts.was_sent(ALERT)
    assert not alerts.was_sent(dataclasses.replace(ALERT, key="another"))


RUNBOOK_TABLE = re.compile(r"^\| ([A-Z][A-Z, ]+) \|", re.MULTILINE)


def test_the_runbook_lists_each_alert_and_each_says_how_to_go_on():
    text = (PROJECT_DIR / "docs" / "runbook.md").read_text()
    listed = {name.lower() for names in RUNBOOK_TABLE.findall(text) for name in names.split(", ")}
    assert listed == set(alerts.RUNBOOK)
    assert set().union(*advice.ADVICE.values()) == set(alerts.RUNBOOK)
    words = {"airflow": "Airflow", "prefect": "Prefect", "terminal": "`pipeline "}
    for place, word in words.items():
        for kind in ("task failed", "validation failed", "data overdue"):
            assert word in alerts.describe(dataclasses.replace(ALERT, kind=kind, place=place))


def test_a_long_error_keeps_what_to_do_next(sink):
    error = DataError("x" * 20_000, where="somewhere", hint="do this")
    assert str(error).startswith("somewhere: xxx")
    assert str(error).endswith("… (next: do this)")
    alerts.notify(dataclasses.replace(ALERT, text=str(error)))
    assert "(next: do this)" in sink.texts[0]
    assert "log: http://127.0.0.1/log" in sink.texts[0]


def test_a_sink_that_is_down_is_logged_and_no_more(sink, mailbox, env, capsys):
    sink.status = 500
    assert alerts.notify(ALERT) == ["mail"]
    env("SLACK_WEBHOOK", "http://127.0.0.1:9/services/T000/B000/hook-secret")
    env("SMTP_PORT", 9)
    assert alerts.notify(dataclasses.replace(ALERT, title="nobody listens")) == []
    logged = capsys.readouterr().err
    assert "could not be sent by slack: HTTP 500" in logged
    assert "could not be sent by mail" in logged
    assert "hook-secret" not in logged


def test_an_alert_that_nobody_took_is_sent_again(sink):
    sink.status = 500
    assert alerts.notify(ALERT) == []
    sink.status = 200
    assert alerts.notify(ALERT) == ["slack"]


def test_without_sinks_an_alert_is_logged(capsys):
    assert alerts.notify(ALERT) == []
    assert "alert: task failed: a.b x/y 2024-01-01" in capsys.readouterr().err


def test_mail_without_a_server_says_what_is_missing(env, capsys):
    env("ALERT_EMAIL", "one@example.com")
    assert alerts.notify(ALERT) == []
    assert "ALERT_EMAIL is set, but SMTP_HOST is not" in capsys.readouterr().err


def test_a_data_folder_that_cannot_be_written_stops_no_alert(sink, tmp_path, env):
    (tmp_path / "file").write_text("")
    env("DATA_DIR", tmp_path / "file")
    assert alerts.notify(ALERT) == ["slack"]


def test_a_text_from_outside_mentions_nobody_and_adds_no_header(sink, mailbox):
    title = "x\r\nBcc: evil@example.com\u2028<!channel>"
    assert alerts.notify(Alert("task failed", title, "<!here> <http://evil.test|click>\x1b[2J")) == ["slack", "mail"]
    (text,), (mail,) = sink.texts, mailbox.mails
    assert "&lt;!channel&gt;" in text
    assert "&lt;!here&gt; &lt;http://evil.test|click&gt;" in text
    assert "<" not in text
    assert mail["Bcc"] is None
    assert mail["Subject"].lstrip().startswith("[data-pipeline] task failed: x\\r\\nBcc: evil@example.com\\u2028")
    assert "\x1b" not in mail.get_payload(decode=True).decode()
