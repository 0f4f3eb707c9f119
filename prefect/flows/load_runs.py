"""Loads on other workers: with `LOAD_RUNS`, a run of `elt` divides its partitions among runs of `elt-load`.

The workers of the queue `default` take these runs. They need Prefect's API, the sources and Bronze in a bucket, and
share no folder with the worker of the queue `warehouse`, which builds. The ledger says what is loaded. If a worker is
gone, Prefect marks its run as crashed, and other runs load what is missing.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import StateType
from prefect.deployments import run_deployment
from prefect.logging import get_run_logger
from prefect.states import Crashed

from scripts.bronze import attempts
from scripts.bronze.store import for_each
from scripts.config import settings
from scripts.errors import PipelineError
from scripts.planning import reconcile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

    from scripts.bronze.ledger import Partition
    from scripts.bronze.store import Store

DEPLOYMENT = "elt-load/load"
_LOOK_SECONDS = 3
_LONGEST_START = dt.timedelta(minutes=15)
"""A worker that was killed between taking a run and starting it leaves the run pending; such a run has no heartbeat."""


class Request(NamedTuple):
    """The partitions that are asked for, and since when; `again` loads also those that are loaded."""

    partitions: Sequence[Partition]
    asked_at: dt.datetime
    again: bool


def load_elsewhere(store: Store, request: Request) -> Mapping[Partition, BaseException]:
    """Load partitions in runs on other workers, and return the error of each that failed.

    What a worker that is gone has not loaded is given to other runs, as often as a task is retried.
    """
    left: Sequence[Partition] = request.partitions
    last: dict[Partition, FlowRun] = {}
    for _ in range(settings().task_retries + 1):
        ended = _ended(_started(request._replace(partitions=left)))
        last |= {partition: run for share, run in ended for partition in share}
        lost = [share for share, run in ended if run.state_type == StateType.CRASHED]
        left = _missing(store, [partition for share in lost for partition in share], request)
        if not left:
            break
        get_run_logger().warning("%d partitions of workers that are gone are given to other runs", len(left))
    missing = _missing(store, [*last], request)
    return {partition: _error(store, partition, last[partition], request.asked_at) for partition in missing}


def _started(request: Request) -> Mapping[UUID, Sequence[Partition]]:
    """Start the runs, and return the share of each."""
    number = min(settings().load_runs, len(request.partitions))
    shares = [request.partitions[first::number] for first in range(number)]
    found = {}
    for share in shares:
        parameters = {
            "wanted": [[*partition[:2], partition.day.isoformat()] for partition in share],
            "asked_at": request.asked_at.isoformat(),
            "reprocess": request.again,
        }
        name = f"{len(share)} partitions from {share[0]}"
        # in a flow that is not asynchronous, it is the run and no coroutine
        run: Any = run_deployment(DEPLOYMENT, parameters=parameters, flow_run_name=name, timeout=0)
        found[run.id] = share
    return found


def _ended(started: Mapping[UUID, Sequence[Partition]]) -> Sequence[tuple[Sequence[Partition], FlowRun]]:
    """Wait until runs have ended, and return them with their shares."""
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=list(started)))
    with get_client(sync_client=True) as client:
        while True:
            runs = client.read_flow_runs(flow_run_filter=wanted)
            if all(run.state is not None and run.state.is_final() for run in runs):
                return [(started[run.id], run) for run in runs]
            for run in runs:
                _end_a_run_that_never_starts(client, run)
            time.sleep(_LOOK_SECONDS)


def _end_a_run_that_never_starts(client: SyncPrefectClient, run: FlowRun) -> None:
    if run.state is None or run.state.type != StateType.PENDING:
        return
    if dt.datetime.now(dt.UTC) - run.state.timestamp > _LONGEST_START:
        state: Any = Crashed(message="its worker was gone before the run began; other runs load its partitions")
        client.set_flow_run_state(run.id, state, force=True)


def _missing(store: Store, partitions: Sequence[Partition], request: Request) -> Sequence[Partition]:
    """Return the partitions that the ledger does not have as the request asks for them."""
    is_done = reconcile.done_since(request.asked_at, again=request.again)
    entries = zip(partitions, for_each(store, store.entry, partitions), strict=True)
    return [
        partition for partition, entry in entries if entry is None or entry.status != "validated" or not is_done(entry)
    ]


def _error(store: Store, partition: Partition, run: FlowRun, since: dt.datetime) -> BaseException:
    """Return the error of the last try, which its worker has noted in Bronze, or what Prefect says of the run."""
    attempt = attempts.read(attempts.document_of(store, partition))
    if attempt is not None and attempt.failed_at >= since:
        return attempt.as_error()
    return PipelineError(f"the run {run.name}: {(run.state and run.state.message) or run.state_name}")
