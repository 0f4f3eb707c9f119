"""The Airflow entry point: the code that all DAGs share. The functions of `scripts/` do the work itself.

Tasks import the heavy modules (pandas, DuckDB, dbt) that they need when they run, never when a DAG file is parsed.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert

from dag_alerts import alert_failure, alert_late, log_error, results_page
from scripts import errors
from scripts.config import settings
from scripts.errors import PipelineError, UsageError
from scripts.security.redaction import on_secret, without_secrets
from scripts.utils.days import day_range, parse_day, today
from scripts.utils.logging_config import mask_every_log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.sdk import DAG
    from airflow.sdk.types import DagRunProtocol, RuntimeTaskInstanceProtocol
    from sqlalchemy.orm import Session

    from scripts.bronze.run import Run
    from scripts.warehouse.build_result import BuildResult
    from scripts.warehouse.project import Layer
    from scripts.warehouse.runner import NodeResult

T = TypeVar("T")
_log = logging.getLogger("pipeline.airflow")

LOAD_QUEUE = "default"
"""Tasks that need only the source and Bronze: with CeleryExecutor, every worker runs them."""
WAREHOUSE_QUEUE = "warehouse"
"""Tasks that may open the warehouse's file, or write to `DATA_DIR`: with CeleryExecutor, one worker has both."""
POOL = "warehouse"
"""The pool has one slot, so builds run one after another. The core's lock excludes builds of other entry points."""

_CARRIED = frozenset({"callback_url"})
"""Keys of a run's configuration that other programs write and read."""

_FINAL = RetryRule(
    exception=errors.TerminalError, action=RetryAction.FAIL, reason="terminal: a retry would give the same result"
)
_TRANSIENT = RetryRule(
    exception=[
        errors.TransientError,
        ConnectionError,
        TimeoutError,
        "airflow.sdk.exceptions.AirflowTaskTimeout",
        "airflow.sdk.exceptions.AirflowRuntimeError",
    ],
    action=RetryAction.RETRY,
    reason="transient: a retry may succeed",
)


class RunCreated(BaseDeadlineReference):
    """The moment at which a run is created and queued.

    With Airflow's own `DAGRUN_QUEUED_AT`, each clear of a failed run fails with HTTP 500 (apache/airflow#70368, 3.3.2).
    """

    def _evaluate_with(self, *, session: Session) -> dt.datetime:  # noqa: ARG002 — Airflow's signature
        return dt.datetime.now(dt.UTC)


def defaults(queue: str = WAREHOUSE_QUEUE) -> dict[str, Any]:
    """Return the default arguments of every task; LocalExecutor has no queues, and runs every task."""
    config = settings()
    return {
        "owner": "data-platform",
        "queue": queue,
        "retries": config.task_retries,
        "retry_delay": dt.timedelta(seconds=config.task_retry_wait),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": dt.timedelta(minutes=10),
        # a killed task has no exception; Airflow retries it
        "retry_policy": ExceptionRetryPolicy(rules=[_FINAL, _TRANSIENT], default=RetryAction.FAIL),
        "execution_timeout": dt.timedelta(hours=1),
        "on_failure_callback": alert_failure,
        "on_retry_callback": log_error,
    }


def deadline() -> DeadlineAlert:
    """Return the alert for a run that is not done after `RUN_DEADLINE_HOURS`."""
    hours = settings().run_deadline_hours
    return DeadlineAlert(
        reference=RunCreated(),
        interval=dt.timedelta(hours=hours),
        callback=AsyncCallback(alert_late, {"hours": hours}),
        name=f"{hours:g} hours",
    )


def refuse_unknown(dag_run: DagRunProtocol, dag: DAG) -> None:
    """Refuse a run whose configuration has a key that is not a parameter of the DAG.

    Raises:
        UsageError: There is such a key; the message names the parameters.
    """
    # the parameters of the run include every key of its configuration; the parameters of the DAG do not
    known = {*dag.params, *_CARRIED}
    if unknown := [key for key in dag_run.conf or {} if key not in known]:
        raise UsageError(
            f"the run's configuration has {', '.join(f'`{key}`' for key in unknown)}",
            expected=f"only {', '.join(dag.params)}",
            hint="trigger it again",
        )


def days_of(
    partition_key: str | None, params: Mapping[str, Any], logical_date: dt.datetime | None = None
) -> Sequence[dt.date]:
    """Return the days of a run: its partition key, the range in its parameters, or its logical date.

    A run that has none of these loads the last day that has ended (UTC).

    Raises:
        UsageError: The run has a partition key and a range, only one end of a range, or a logical date that is not the
            start of a day (UTC).
    """
    start, end = params.get("start_date"), params.get("end_date")
    if partition_key and (start or end):
        raise UsageError(
            f"the run has both the partition key {partition_key} and a range",
            expected="a partition key, or start_date and end_date, not both",
        )
    if partition_key:
        return day_range(parse_day(partition_key), parse_day(partition_key))
    if start and end:
        return day_range(start, end)
    if start or end:
        raise UsageError(
            f"the run has only one end of a range, {start or end}",
            expected="start_date and end_date; for one day, the same day in both",
            hint="trigger it again with both",
        )
    if logical_date is None:
        day = today() - dt.timedelta(days=1)
        return day_range(day, day)
    moment = logical_date.astimezone(dt.UTC)
    if moment.time() != dt.time():
        raise UsageError(
            f"the logical date is {moment:%Y-%m-%d %H:%M:%S} (UTC), which is not the start of a day",
            expected="00:00:00 in UTC",
            hint="trigger it again with the partition key YYYY-MM-DD, or choose UTC in Airflow's menu of time zones",
        )
    return day_range(moment.date(), moment.date())


def was_cleared(ti: RuntimeTaskInstanceProtocol) -> bool:
    """Return whether a person has cleared the task, which asks for its work to be done again."""
    return ti.max_tries > (ti.task.retries or 0)


def runs_that_go_on(ti: RuntimeTaskInstanceProtocol, dag_id: str, *states: str) -> int:
    """Return the number of runs of a DAG in some states; none if the DAG is paused: its runs start no more tasks."""
    return 0 if ti.get_dag(dag_id).is_paused else ti.get_dr_count(dag_id, states=list(states))


def start_silver(ti: RuntimeTaskInstanceProtocol) -> None:
    """Start a run of Silver, unless one is queued or running: that run builds everything that the ledger holds.

    Raises:
        AirflowSkipException: A run is queued or running.
        DagRunTriggerException: It tells Airflow to start a run.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    if ti.get_dr_count("pipeline_silver", states=["queued", "running"]):
        raise AirflowSkipException("a run of pipeline_silver is queued or running, and will build what is loaded")
    start_dag("pipeline_silver", ti)


def start_dag(dag_id: str, ti: RuntimeTaskInstanceProtocol) -> None:
    """Start a run of another DAG.

    Raises:
        DagRunTriggerException: It tells Airflow to start the run.
    """
    from airflow.sdk.exceptions import DagRunTriggerException

    raise DagRunTriggerException(
        trigger_dag_id=dag_id,
        # two requests in the same second start the same run
        dag_run_id=f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%S}",
        conf={},
        logical_date=None,
        reset_dag_run=False,
        skip_when_already_exists=True,
        wait_for_completion=False,
        allowed_states=[],
        failed_states=[],
        poke_interval=60,
        deferrable=False,
        note=f"started by {ti.dag_id}, run {ti.run_id}",
    )


def start_run(run_id: str, triggered_by: str = "airflow") -> Run:
    """Return the core's run for a run of Airflow; from now on, Airflow's logs mask every secret that is read."""
    from airflow.sdk.log import mask_secret

    from scripts.bronze.run import Run

    config = settings()
    mask_every_log()
    on_secret(mask_secret)
    logging.getLogger("pipeline").setLevel(config.log_level)
    return Run.create(triggered_by=triggered_by, run_id=run_id)


def run_build(
    layer: Layer,
    dag_run: DagRunProtocol,
    ti: RuntimeTaskInstanceProtocol,
    *,
    full_refresh: bool,
    full_tests: bool = False,
) -> BuildResult:
    """Build a layer; a retry resumes the failed build. The XCom `results` holds the results, also of a failed build.

    Raises:
        AirflowSkipException: There is nothing to build.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    from scripts.monitoring.report import refresh
    from scripts.planning.reconcile import noting_build
    from scripts.warehouse.build import build_warehouse
    from scripts.warehouse.runner import BAD_STATUSES, DbtFailedError

    run = start_run(dag_run.run_id)
    try:
        with noting_build(run):
            retry = ti.try_number > 1
            done = build_warehouse(run, layer, full_refresh=full_refresh, full_tests=full_tests, retry=retry)
    except PipelineError as error:
        # the pages must also show a failed build
        refresh(run.store)
        if isinstance(error, DbtFailedError):
            ti.xcom_push(key="results", value=table(error.results))
            for result in error.results:
                if result.status in BAD_STATUSES:
                    _log.error("%s: %s#%s", result.name, results_page(), result.id)
        raise
    # an earlier try may have done the work and been killed before it could succeed: a retry is not skipped
    if done.is_empty and ti.try_number == 1:
        raise AirflowSkipException("nothing to build: the tables already hold every loaded day")
    ti.xcom_push(key="results", value=table(done.results))
    return done


def one_line_errors(work: Callable[..., T]) -> Callable[..., T]:
    """Decorate a task so that its error is one line without a traceback and holds no secret.

    The decorated function accepts any arguments, since Airflow adds the run, the task instance and others to the
    arguments of the DAG file.
    """

    @functools.wraps(work)
    def do(*args: object, **kwargs: object) -> T:
        try:
            return work(*args, **kwargs)
        except errors.PipelineError as error:
            raise error.with_traceback(None) from None
        except Exception as error:
            found = without_secrets(error)
            if found is error:
                raise
            raise found from None

    return do


def table(results: Sequence[NodeResult]) -> list[dict[str, Any]]:
    """Return the results of models and tests as rows for an XCom."""
    return [
        {"name": result.name, "kind": result.kind, "status": result.status, "seconds": round(result.seconds, 2)}
        for result in results
        if result.kind != "operation"
    ]
