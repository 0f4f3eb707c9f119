"""The plugin: links from a task to its ledger record, its quarantined rows and the runbook, and these pages.

It also passes the options of a backfill to its runs, and ends runs that cannot start: see `on_dag_run_running`.
"""

from __future__ import annotations

import html
import re
import sys
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

import portal_pages
from backfill_api import router
from backfill_callback import tell_if_over
from backfill_state import end_stuck
from dag_alerts import KINDS, page
from dag_support import RunCreated
from killed_tasks import tell_killed
from own_backfills import OwnBackfills
from scripts.config import settings
from scripts.contracts import catalog
from scripts.errors import PipelineError
from scripts.monitoring import alerts
from scripts.utils.days import parse_day
from scripts.utils.page_headers import DBT_SITE, PAGE
from scripts.utils.password_limit import PasswordLimit
from task_labels import label_tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow.models.dagrun import DagRun
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

    from scripts.bronze.ledger import LedgerEntry, Partition
    from scripts.monitoring.alerts import Kind

PREFIX = "/pipeline"
BRONZE_DAG = "pipeline_bronze"
TOKEN_PATHS = ("/auth/token", "/auth/token/cli")
"""The endpoints where programs sign in; Airflow itself limits wrong passwords only in its login form."""
QUARANTINE_VIEW = "Quarantine"
"""The resource name of the permission to read quarantined rows; infra/airflow_init.py grants it to operators."""
_MENU = {"Data portal": "index.html", "Health of the data": "health", "Build results": "results", "Runbook": "runbook"}
_DBT_SITE_PATHS = ("/dbt", "/dbt/index.html")
_LABEL = re.compile(r"(?P<source>\w+)/(?P<resource>\w+) (?P<day>\d{4}-\d\d-\d\d)")
_KINDS: dict[str, Kind] = {
    **KINDS,
    "load.validate": "validation failed",
    "build_silver": "dbt failed",
    "build_gold": "dbt failed",
    "report_quarantine": "rows quarantined",
}
_DAGS = frozenset({BRONZE_DAG, "pipeline_silver", "dbt_dag", "maintenance", "reconcile"})


class LedgerLink(BaseOperatorLink):
    """The link to the ledger record of the task's partition."""

    name = "Ledger record"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 — Airflow's signature
        """Return the address, or nothing for a task without a partition."""
        return _partition_link("ledger", ti_key)


class QuarantineLink(BaseOperatorLink):
    """The link to the quarantined rows of the task's partition."""

    name = "Quarantined rows"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 — Airflow's signature
        """Return the address, or nothing for a task without a partition."""
        return _partition_link("quarantine", ti_key)


class RunbookLink(BaseOperatorLink):
    """The link to the runbook entry for the task."""

    name = "Runbook"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 — Airflow's signature
        """Return the address; empty for a task of another project."""
        if ti_key.dag_id not in _DAGS:
            return ""
        kind = _KINDS.get(ti_key.task_id, "task failed")
        return alerts.runbook_url(kind) if "://" in settings().docs_url else f"{PREFIX}/runbook#{alerts.RUNBOOK[kind]}"


class ResultsLink(BaseOperatorLink):
    """The link to the results of the build that a task made."""

    name = "Results"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002 — Airflow's signature
        """Return the address; empty for a task that does not build."""
        is_build = ti_key.task_id in {"build_silver", "build_gold"}
        return f"{PREFIX}/results?run_id={quote(ti_key.run_id)}" if is_build else ""


def _partition_link(page: str, ti_key: TaskInstanceKey) -> str:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    if ti_key.dag_id != BRONZE_DAG or ti_key.map_index < 0:
        return ""
    known = (TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.map_index)
    wanted = (ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.map_index)
    matches = (column == value for column, value in zip(known, wanted, strict=True))
    with create_session() as session:
        label = session.scalar(select(TaskInstance._rendered_map_index).where(*matches))  # noqa: SLF001 — its column
    found = _LABEL.fullmatch(label or "")
    return f"{PREFIX}/{page}/{found['source']}/{found['resource']}/{found['day']}" if found else ""


# a user who may see the runs of the DAG may see what they loaded
app = FastAPI(
    title="data-pipeline", dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN, BRONZE_DAG))]
)

app.include_router(router)
app.include_router(portal_pages.router)


@app.middleware("http")
async def add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Add headers that keep the content of these pages from running scripts with Airflow's origin."""
    response = await call_next(request)
    path = request.scope["path"]
    response.headers.update(DBT_SITE if path.endswith(_DBT_SITE_PATHS) else portal_pages.headers_of(path) or PAGE)
    return response


def may_see_quarantine(user: GetUserDep) -> None:
    """Refuse a user without the permission to read `Quarantine`: its rows are raw data from the source.

    Raises:
        HTTPException: The roles of the account lack the permission.
    """
    manager = get_auth_manager()
    if not manager.is_authorized_custom_view(method="GET", resource_name=QUARANTINE_VIEW, user=user):
        raise HTTPException(403, f"this account does not have the permission to read {QUARANTINE_VIEW}")


@app.get("/ledger/{source}/{resource}/{day}", response_class=HTMLResponse)
def show_ledger(source: str, resource: str, day: str) -> str:
    """Show the ledger record of a partition."""
    import msgspec

    partition, entry = _find(source, resource, day)
    return _page(f"Ledger record of {partition}", [msgspec.json.format(msgspec.json.encode(entry), indent=2).decode()])


@app.get(
    "/quarantine/{source}/{resource}/{day}", response_class=HTMLResponse, dependencies=[Depends(may_see_quarantine)]
)
def show_quarantine(source: str, resource: str, day: str) -> str:
    """Show the quarantined rows of a partition, each with its rule and reason."""
    from scripts.bronze.run import Run

    partition, entry = _find(source, resource, day)
    rows = Run.create(triggered_by="airflow").store.quarantined(entry)
    title = f"{len(rows)} quarantined rows of {partition}"
    return _page(title, [f"{row.rule}: {row.reason}\n{row.raw}" for row in rows])


@app.get("/runbook", response_class=HTMLResponse)
def show_runbook() -> str:
    """Show the runbook of this checkout; the site in `DOCS_URL` has the same page with a search."""
    from scripts.monitoring.runbook_page import runbook_page

    return runbook_page()


# the health page links to the pages beside it
@app.get("/results.html", response_class=HTMLResponse)
@app.get("/results", response_class=HTMLResponse)
def show_results(run_id: str = "") -> str:
    """Show the models and tests of a run's build; by default, or if its version is not kept, those of the last one."""
    from scripts.monitoring.results import results_page
    from scripts.warehouse import history
    from scripts.warehouse.build import warehouse

    kept = warehouse().versions()
    known = [item.version for item in history.read(warehouse()) if item.run_id == run_id and item.version in kept]
    try:
        return results_page(known[-1] if known else "", with_rows=True)
    except LookupError as error:
        raise HTTPException(404, str(error)) from None


@app.get("/health.html")
@app.get("/health")
def show_health() -> FileResponse:
    """Serve the health page, as the last run wrote it."""
    return _served("health.html", "every run writes it")


@app.get("/dbt/index.html")
@app.get("/dbt")
def show_docs() -> FileResponse:
    """Serve dbt's site."""
    return _served("dbt/index.html", "dbt_dag writes it")


@app.get("/images/{name}")
def show_image(name: str) -> FileResponse:
    """Serve a picture of the runbook."""
    from scripts.monitoring.runbook_page import IMAGES

    if not re.fullmatch(r"[\w-]+\.png", name) or not (path := IMAGES / name).exists():
        raise HTTPException(404, f"there is no picture {name}")
    return FileResponse(path)


def _served(name: str, who_writes_it: str) -> FileResponse:
    from scripts.warehouse.data_docs import docs_dir

    if not (path := docs_dir() / name).exists():
        raise HTTPException(404, f"there is no such page yet; {who_writes_it}")
    return FileResponse(path)


def _find(source: str, resource: str, day: str) -> tuple[Partition, LedgerEntry]:
    from scripts.bronze.ledger import Partition
    from scripts.bronze.run import Run

    try:
        catalog.pick_resources(catalog.pick(source), [resource])
        partition = Partition(source, resource, parse_day(day))
        entry = Run.create(triggered_by="airflow").store.entry(partition)
    except PipelineError as error:
        raise HTTPException(404, str(error)) from None
    if entry is None:
        raise HTTPException(404, f"{partition} is not loaded")
    return partition, entry


def _page(title: str, blocks: list[str]) -> str:
    return _document(title, "".join(f"<pre>{html.escape(block)}</pre>" for block in blocks) or "<p>none</p>")


def _document(title: str, body: str) -> str:
    shown = html.escape(title)
    style = (
        "body{font-family:sans-serif;max-width:60em;margin:2em auto}pre{background:#eee;padding:1em}img{max-width:100%}"
    )
    return f"<!doctype html><meta charset=utf-8><title>{shown}</title><style>{style}</style><h1>{shown}</h1>{body}"


@hookimpl
def on_dag_run_running(dag_run: DagRun, msg: str) -> None:  # noqa: ARG001 — Airflow's signature
    """Tell a backfill's run whether to load loaded days again; end runs that can never start.

    Airflow stores the former in the backfill (`reprocess_behavior`) and does not pass it to tasks; they read
    `reprocess`. The latter is done before each build and each reconciling run: a build waits for active runs.
    """
    from airflow.models.backfill import Backfill
    from sqlalchemy.orm import object_session

    if dag_run.dag_id in {"pipeline_silver", "reconcile"}:
        # not in the transaction of the scheduler
        threading.Thread(target=_end_stuck, name="runs that cannot start", daemon=True).start()
    if dag_run.dag_id != BRONZE_DAG or dag_run.backfill_id is None:
        return
    session = object_session(dag_run)
    backfill = session.get(Backfill, dag_run.backfill_id) if session else None
    asked = dag_run.conf or {}
    if backfill is not None and backfill.reprocess_behavior == "completed" and "reprocess" not in asked:
        dag_run.conf = {**asked, "reprocess": True}


@hookimpl
def on_dag_run_success(dag_run: DagRun, msg: str) -> None:  # noqa: ARG001 — Airflow's signature
    """Call the callback of a backfill when its last run has ended."""
    _end(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:  # noqa: ARG001 — Airflow's signature
    """Label the tasks that did not run, call the callback of a backfill that has ended, and tell of killed tasks."""
    _end(dag_run)
    if dag_run.dag_id in _DAGS:
        tell_killed(dag_run)


def _end(dag_run: DagRun) -> None:
    if dag_run.dag_id == BRONZE_DAG:
        label_tasks(dag_run)
        tell_if_over(dag_run)


def _end_stuck() -> None:
    from airflow.utils.session import create_session

    with create_session() as session:
        ended = end_stuck(session)
    for run_id, day in ended:
        alerts.notify(
            alerts.Alert(
                "task failed",
                f"{BRONZE_DAG} {day}: the run was cleared and never started",
                "It belongs to a cancelled backfill, and Airflow never starts such a run; the pipeline has ended it."
                f" The day is not loaded by it (next: `pipeline backfill --start-date {day} --end-date {day}`)",
                {"run": page(f"dags/{BRONZE_DAG}/runs/{quote(run_id)}")},
                key=f"never started {run_id}",
            )
        )


class PipelinePlugin(AirflowPlugin):
    """The plugin class that Airflow loads."""

    name = "data_pipeline"
    global_operator_extra_links = [LedgerLink(), QuarantineLink(), ResultsLink(), RunbookLink()]  # noqa: RUF012 — as Airflow asks for it
    fastapi_apps = [{"app": app, "url_prefix": PREFIX, "name": "data-pipeline"}]  # noqa: RUF012 — the same
    fastapi_root_middlewares = [  # noqa: RUF012 — the same
        {"middleware": OwnBackfills, "name": "own backfills"},
        {"middleware": PasswordLimit, "name": "password limit", "kwargs": {"paths": TOKEN_PATHS}},
    ]
    external_views = [  # noqa: RUF012 — the same
        {"name": name, "href": f"{PREFIX}/{path}", "destination": "nav", "category": "browse"}
        for name, path in _MENU.items()
    ]
    deadline_references = [RunCreated]  # noqa: RUF012 — the same
    listeners = [sys.modules[__name__]]  # noqa: RUF012 — the same
