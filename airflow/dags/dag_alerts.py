"""The alerts of Airflow: what failed, with links to Airflow's pages, and how to go on in Airflow."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from scripts.config import settings
from scripts.monitoring import alerts
from scripts.security.outside_text import one_line
from scripts.security.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk.definitions.context import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

    from scripts.bronze.store import Store
    from scripts.monitoring.alerts import Alert, Kind

_log = logging.getLogger("pipeline.airflow")

KILLED = (
    "it ended without an error of its own: it was killed (the kernel does so if memory runs out), its process was lost,"
    " or a person marked it as failed"
)
"""The text of an alert about a task that ended without an error."""
TOLD = "alert"
"""The XCom of a task that has sent its alert itself: on another machine, its notes in `DATA_DIR` are not seen."""
KINDS: Mapping[str, Kind] = {"check_freshness": "data stale", "verify_ledger": "ledger"}
"""The kind of the alert for tasks that have a special kind."""


def alert_failure(context: Context) -> None:
    """Send the alert for a task that failed after all retries, then log its error."""
    ti, error = context["ti"], context.get("exception")
    about = FailedTask(ti.dag_id, ti.task_id, ti.run_id, ti.map_index, getattr(ti, "rendered_map_index", None) or "")
    alert = about_failure(about, error if isinstance(error, BaseException) else None)
    alerts.notify(alert)
    log_error(context)
    if alerts.was_sent(alert):
        ti.xcom_push(key=TOLD, value=alert.kind)


class FailedTask(NamedTuple):
    """A task that failed after all retries."""

    dag_id: str
    task_id: str
    run_id: str
    map_index: int | None
    label: str
    """What a mapped task is mapped over: source, resource and day."""

    @property
    def key(self) -> str:
        """The key of its alert."""
        return f"{self.dag_id} {self.task_id} {self.map_index} {self.run_id}"


def about_failure(task: FailedTask, error: BaseException | None) -> Alert:
    """Return the alert for a task that failed after all retries; without an error, its process was killed."""
    from scripts.monitoring.results import results_url

    kind = alerts.kind_of(error)
    if kind != "dbt failed":
        kind = KINDS.get(task.task_id, kind)
    text = redact(str(error)) if error else KILLED
    links = {"log": _log_url(task), "run": _run_url(task.dag_id, task.run_id)}
    if kind == "dbt failed":
        links["results"] = results_url(error, results_page())
    if kind == "validation failed" and (place := "/".join(task.label.split())):
        links["quarantined rows"] = page(f"pipeline/quarantine/{place}")
    return alerts.Alert(
        kind,
        f"{task.dag_id}.{task.task_id} {task.label}".strip(),
        text,
        links | runbook_link(kind),
        # the runs of `reconcile` are minutes apart: the same error is the same problem
        key=f"reconcile {error}" if task.dag_id == "reconcile" and error else task.key,
        place="airflow",
    )


def log_error(context: Context) -> None:
    """Log the error of a failed try as the last line of the log, below the frames that Airflow prints."""
    if error := context.get("exception"):
        # the form shows lines within a group only on demand, and callbacks run within one
        logging.getLogger("task").info("::endgroup::")
        _log.error("%s", one_line(str(error)))


async def alert_late(hours: float, context: Mapping[str, Any] | None = None) -> None:
    """Send the alert for a run that takes too long; the triggerer calls this function."""
    import asyncio

    about = (context or {}).get("dag_run") or {}
    if about.get("state") in {"success", "failed"}:
        # Airflow checks the deadline of a finished run too
        return
    dag_id, run_id = about.get("dag_id", "a DAG"), about.get("dag_run_id") or about.get("run_id") or ""
    alert = alerts.Alert(
        "run late",
        f"{dag_id} is not done after {hours:g} hours",
        f"run {run_id}",
        {"run": _run_url(dag_id, run_id)} | runbook_link("run late"),
        key=f"late {dag_id} {run_id}",
        place="airflow",
    )
    await asyncio.to_thread(alerts.notify, alert)


def runbook_link(kind: Kind) -> dict[str, str]:
    """Return the link to the runbook that Airflow serves, unless the settings name a site with the guides."""
    if "://" in settings().docs_url:
        return {}
    return {"runbook": page(f"pipeline/runbook#{alerts.RUNBOOK[kind]}")}


def page(path: str) -> str:
    """Return the address of a page of Airflow."""
    from airflow.sdk.configuration import conf

    return f"{str(conf.get('api', 'base_url', fallback='http://localhost:8080')).rstrip('/')}/{path}"


def results_page() -> str:
    """Return the address of the page with the results of the last build."""
    return page("pipeline/results")


def health_url() -> str:
    """Return the address of the health page."""
    return page("pipeline/health")


def _log_url(task: FailedTask) -> str:
    mapped = f"/mapped/{task.map_index}" if task.map_index is not None and task.map_index >= 0 else ""
    return f"{_run_url(task.dag_id, task.run_id)}/tasks/{task.task_id}{mapped}"


def _run_url(dag_id: str, run_id: str) -> str:
    return page(f"dags/{dag_id}/runs/{quote(run_id)}")


def tell_quarantine(store: Store, ti: RuntimeTaskInstanceProtocol) -> Alert | None:
    """Send the message about quarantined rows if the loads are over; a backfill has many runs, and one message."""
    from scripts.monitoring.quarantine_digest import tell_quarantine as tell
    from scripts.planning.build_start import are_over
    from scripts.planning.reconcile import last_load

    running, queued = (ti.get_dr_count("pipeline_bronze", states=[state]) for state in ("running", "queued"))
    now = dt.datetime.now(dt.UTC)
    if not are_over(running=running, queued=queued, quiet_since=last_load(store), now=now):
        _log.info("loads are active; the message about quarantined rows is sent when they are over")
        return None
    return tell(store, place="airflow", links={"health": health_url()} | runbook_link("rows quarantined"))
