"""Runs of the flows: whether their process is alive, whether they are late, and the alerts when they fail.

A process holds a lock as long as it works on a run. If Prefect says that a run is running and no process holds its
lock, the process is gone: it was stopped or killed, or its machine went down. Such runs are ended and an alert is sent.
A run and its subflows have one process, and one alert.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
import time
from typing import TYPE_CHECKING, Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectAlreadyExists
from prefect.runtime import flow_run as this_run
from prefect.states import Cancelled, Crashed
from prefect.utilities.urls import url_for

from scripts.config import settings
from scripts.monitoring import alerts
from scripts.monitoring.results import results_url
from scripts.utils.files import is_locked, locked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State

FLOWS = ("elt", "elt-daily", "elt-reconcile")
LOADS = "elt-load"
"""The flow that loads on other workers: the run of `elt` that has started it watches it, and sends its alerts."""
BUILDS = "warehouse-build"
"""The concurrency limit of builds, with one slot: the page *Concurrency* shows which runs build and which wait."""
_STARTS_MINUTES = {StateType.RUNNING: 2, StateType.CANCELLING: 2, StateType.PENDING: 15}
"""A run that is in a state for less than this may not have taken its lock yet; a pending one waits for its process."""
_LOOK_AGAIN_SECONDS = 5
"""A process removes its lock shortly before Prefect notes the end of the run."""


def alert(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 — Prefect's names
    """Send the alert for a flow run that failed or crashed, unless a subflow that ended in the same way has sent one.

    Prefect passes the arguments by name or by position.
    """
    if _is_told_by_a_subflow(flow_run, state):
        return
    error = error_of(state)
    kind, links = alerts.kind_of(error), {"run": url_for(flow_run) or ""}
    if kind == "dbt failed":
        links["results"] = results_url(error)
    title = f"Prefect {_current_name(flow_run)}"
    alerts.notify(alerts.Alert(kind, title, str(error), links, str(flow_run.id), "prefect"))


def error_of(state: State[Any]) -> BaseException:
    """Return the error that a state ended with."""
    # in a subflow, the state holds a reference to the error; after a crash there may be none
    try:
        found = state.result(raise_on_failure=False)
    except Exception:  # noqa: BLE001 — the result is not needed: the state has a message
        found = None
    return found if isinstance(found, BaseException) else RuntimeError(state.message or state.name)


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Hold the lock of the present run for the `with` block, and send an alert if the block takes too long.

    A subflow sends no such alert: its parent does.
    """
    run_id, hours = this_run.id, settings().run_deadline_hours
    if run_id is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(_lock(run_id), purpose=f"Prefect run {this_run.name}", timeout=0, keep_file=False))
        if this_run.parent_flow_run_id is None:
            late = threading.Timer(hours * 3600, _tell_late, [this_run.name, run_id, hours])
            late.daemon = True
            late.start()
            stack.callback(late.cancel)
        yield


def make_limit() -> None:
    """Create the concurrency limit of builds if it is missing; a limit that a user has changed stays."""
    with get_client(sync_client=True) as client, contextlib.suppress(ObjectAlreadyExists):
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=BUILDS, limit=1))


def end_orphans() -> Sequence[str]:
    """End the runs whose process is gone, send an alert for each, and return their names."""
    with get_client(sync_client=True) as client:
        found = _orphans(client)
        if found:
            time.sleep(_LOOK_AGAIN_SECONDS)
            known = {run.id for run in found}
            found = [run for run in _orphans(client) if run.id in known]
        for run in found:
            text = "its process is gone: it was stopped or killed, or its machine went down; loaded days stay loaded"
            is_cancelling = run.state_type == StateType.CANCELLING
            state: State[Any] = Cancelled(message=text) if is_cancelling else Crashed(message=text)
            client.set_flow_run_state(run.id, state, force=True)
            _lock(str(run.id)).unlink(missing_ok=True)
            # a subflow has the process of its parent, which has its own alert
            if not is_cancelling and run.parent_task_run_id is None:
                links = {"run": url_for(run) or ""}
                alerts.notify(alerts.Alert("task failed", f"Prefect {run.name}", text, links, str(run.id), "prefect"))
    return [run.name for run in found]


def _orphans(client: SyncPrefectClient) -> Sequence[FlowRun]:
    states = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(_STARTS_MINUTES)))
    found = client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=list(FLOWS))), flow_run_filter=FlowRunFilter(state=states)
    )
    return [run for run in found if _is_orphan(run)]


def _is_told_by_a_subflow(run: FlowRun, state: State[Any]) -> bool:
    parent = FlowRunFilterParentFlowRunId(any_=[run.id])
    flows = FlowFilter(name=FlowFilterName(any_=list(FLOWS)))
    same = FlowRunFilterState(type=FlowRunFilterStateType(any_=[state.type]))
    try:
        with get_client(sync_client=True) as client:
            wanted = FlowRunFilter(parent_flow_run_id=parent, state=same)
            return bool(client.read_flow_runs(flow_filter=flows, flow_run_filter=wanted, limit=1))
    except Exception:  # noqa: BLE001 — two alerts are better than no alert
        return False


def _current_name(run: FlowRun) -> str:
    # the worker that reports a crash has read the run before its flow gave it a name
    try:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(run.id).name
    except Exception:  # noqa: BLE001 — an alert with the first name is better than no alert
        return run.name


def _is_orphan(run: FlowRun) -> bool:
    lock = _lock(str(run.id))
    if str(run.id) == this_run.id or run.state is None or is_locked(lock):
        return False
    # only a process that was killed leaves the file of its lock
    age = dt.datetime.now(dt.UTC) - run.state.timestamp
    return lock.exists() or age > dt.timedelta(minutes=_STARTS_MINUTES[run.state.type])


def _lock(run_id: str) -> Path:
    return settings().data_dir / "prefect" / "running" / f"{run_id}.lock"


def _tell_late(name: str, run_id: str, hours: float) -> None:
    link = url_for("flow-run", obj_id=run_id) or ""
    title = f"Prefect {name} is not done after {hours:g} hours"
    alerts.notify(alerts.Alert("run late", title, f"run {run_id}", {"run": link}, f"late {run_id}", "prefect"))
