"""The ELT as a Prefect flow: ingest and validate each resource of each day, then one build and publish.

The functions of `scripts/` do the work. Airflow and the command line call the same functions, so the same days give the
same tables from every entry point. Run it by hand with `python prefect/flows/elt_flow.py 2024-01-01 2024-01-03`;
`--help` lists the options.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import logging
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if __name__ == "__main__":
    # the folder of this file must not hide modules of the same names
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    if not os.environ.get("PREFECT_API_URL"):
        # Prefect starts a server for this run only: a random login keeps other users out
        os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "300")  # on a machine that is busy
        login = os.environ["PREFECT_API_AUTH_STRING"] = f"run:{secrets.token_urlsafe()}"
        os.environ["PREFECT_SERVER_API_AUTH_STRING"] = login
# Prefect's files are in DATA_DIR, with all other files that the project writes
from scripts.config import settings

if "PREFECT_HOME" not in os.environ:
    home = settings().data_dir / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    os.environ["PREFECT_HOME"] = str(home)
# the flow's threads log without a run; Prefect would warn about each of these lines
os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
sys.path.append(str(Path(__file__).resolve().parent))

from load_runs import Request, load_elsewhere
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.concurrency.sync import concurrency
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff

from artifacts import show_ledger, show_results
from flow_runs import BUILDS, LOADS, alert, end_orphans, error_of, make_limit, watched
from scripts.bronze.ledger import Partition  # noqa: TC001 — Prefect reads the type of a parameter
from scripts.bronze.run import RECONCILE, Run
from scripts.contracts import catalog
from scripts.errors import LockedError, PipelineError, TransientError, UsageError
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from scripts.loading import partitions
from scripts.monitoring.digest import tell_health
from scripts.monitoring.quarantine_digest import tell_quarantine
from scripts.monitoring.report import refresh
from scripts.planning import reconcile
from scripts.portal.pages import refresh_portal
from scripts.security.redaction import without_secrets
from scripts.utils.days import day_range, parse_day
from scripts.utils.files import locked
from scripts.utils.logging_config import mask_every_log
from scripts.validate_data import validate_partition
from scripts.warehouse import data_docs
from scripts.warehouse.build import build_warehouse
from scripts.warehouse.runner import DbtFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from prefect import Task
    from prefect.client.schemas.objects import State, TaskRun

    from scripts.bronze.ledger import LedgerEntry
    from scripts.warehouse.build_result import BuildResult

_config = settings()
ALL_DAILY = "all daily"
if TYPE_CHECKING:
    SourceName = str
else:
    # the choices in the form: a source, or all daily sources
    SourceName = Literal[(ALL_DAILY, *catalog.names())]


def _is_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001 — Prefect's signature
    """Return whether a retry may succeed; a terminal error fails at once."""
    return isinstance(state.data, (TransientError, ConnectionError, TimeoutError))


_task: dict[str, Any] = {
    "retries": _config.task_retries,
    "retry_delay_seconds": exponential_backoff(_config.task_retry_wait),
    "retry_jitter_factor": 1,
    "retry_condition_fn": _is_transient,
    # the ledger decides what has to be done, not a cache
    "cache_policy": NO_CACHE,
}


@task(task_run_name="ingest {partition}", **_task)
def ingest(partition: Partition, run_id: str, asked_at: dt.datetime, *, again: bool) -> LedgerEntry:
    """Load one resource of one day into Bronze, unless another process has done so since the request."""
    source = catalog.pick(partition.source)
    with _no_secret_in_errors(), Client(source) as client:
        is_done = reconcile.done_since(asked_at, again=again)
        run = _start_run(run_id)
        return ingest_partition(source, partition.resource, partition.day, run, client, is_done=is_done)


@task(task_run_name="validate {partition}", **_task)
def validate(partition: Partition, run_id: str) -> LedgerEntry:
    """Check the rows of one resource of one day against the rules of its contract."""
    source = catalog.pick(partition.source)
    return validate_partition(source, partition.resource, partition.day, _start_run(run_id))


@task(name="build", task_run_name="build", **_task)
def build(run_id: str, *, full_refresh: bool = False, full_tests: bool = False) -> BuildResult:
    """Build Silver and Gold from what changed, test, and publish; wait for another build that is running."""
    try:
        run = _start_run(run_id)
        with concurrency(BUILDS, occupy=1), reconcile.noting_build(run):
            done = build_warehouse(run, full_refresh=full_refresh, full_tests=full_tests)
    except PipelineError as error:
        # the pages must also show a failed build
        refresh(_start_run(run_id).store)
        if isinstance(error, DbtFailedError):
            show_results("Nothing was published", error.results)
        raise
    headline = f"Version {done.version}: {len(done.partitions)} partitions in {done.seconds:.1f} s"
    show_results(headline, done.results)
    tell_quarantine(_start_run(run_id).store, place="prefect")
    refresh(_start_run(run_id).store)
    return done


@task(name="docs", task_run_name="docs", **_task)
def write_docs(run_id: str) -> str:
    """Write the portal of Gold, and dbt's site, to which artifacts link, if it would show something else."""
    page = str(data_docs.write_docs(_start_run(run_id)))
    refresh_portal()
    return page


# Prefect's own type of a runner takes none of its runners
_runner: Any = ThreadPoolTaskRunner(max_workers=_config.parallel_partitions)


@flow(
    name="elt",
    flow_run_name="{source} {start_date} to {end_date}",
    task_runner=_runner,
    on_failure=[alert],
    on_crashed=[alert],
)
def elt_flow(
    start_date: dt.date,
    end_date: dt.date,
    source: SourceName = catalog.DEFAULT_SOURCE,
    resources: list[str] | None = None,
    full_refresh: bool = False,  # noqa: FBT001, FBT002 — a parameter of the flow in the UI
    full_tests: bool = False,  # noqa: FBT001, FBT002 — the same
    reprocess: bool = False,  # noqa: FBT001, FBT002 — the same
) -> str | None:
    """Load the days of a range that are missing or have failed, then build once and publish.

    If a resource of a day fails, the others are still built and published. At the end, the run fails and names what
    failed. The next run of the same range loads only what is missing.

    Args:
        start_date: First day (UTC).
        end_date: Last day (UTC), included.
        source: Source of the catalog, or all daily sources.
        resources: Resources of the source; without them, all.
        full_refresh: Rebuild every table from all days.
        full_tests: Test all rows, and not only the rows that the build changes.
        reprocess: Also load days again that are loaded.

    Returns:
        The published version; None if there was nothing to build.

    Raises:
        UsageError: A day is in the future, the range is reversed or too long, or the source is unknown.
        PipelineError: A load or the build failed; the message names what failed.
    """
    with watched():
        make_limit()
        names = catalog.daily_sources() if source == ALL_DAILY else [source]
        wanted = partitions.partitions(day_range(start_date, end_date), names, resources or None)
        return _elt(wanted, full_refresh=full_refresh, full_tests=full_tests, again=reprocess)


def _elt(wanted: Sequence[Partition], *, full_refresh: bool, full_tests: bool, again: bool) -> str | None:
    run_id, asked_at = f"prefect-{flow_run.id or 'local'}", dt.datetime.now(dt.UTC)
    run = _start_run(run_id)
    planned = reconcile.plan_request(run.store, wanted)
    due = [item.partition for item in planned if again or item.state != "loaded"]
    get_run_logger().info("%d of %d partitions to load", len(due), len(wanted))
    if _config.load_runs and due:
        errors = load_elsewhere(run.store, Request(due, asked_at, again))
    else:
        errors = _load(due, run_id, asked_at, again=again)
    show_ledger([entry for partition in wanted if (entry := run.store.entry(partition)) is not None])
    version = None
    if full_refresh or full_tests or reconcile.examine(run.store).build.is_ready:
        version = _build_and_document(run_id, full_refresh=full_refresh, full_tests=full_tests)
    if errors:
        raise partitions.failed(errors, len(wanted))
    return version


@flow(name=LOADS, task_runner=_runner)
def elt_load(
    wanted: list[Partition],
    asked_at: dt.datetime,
    reprocess: bool = False,  # noqa: FBT001, FBT002 — a parameter of the flow in the UI
) -> None:
    """Load a share of the partitions of a run of `elt`, which starts this run and builds when all shares are loaded.

    Any worker of the queue `default` takes it; see LOAD_RUNS. The run of `elt` sends the alert of what fails.

    Args:
        wanted: Partitions: source, resource and day (UTC).
        asked_at: When the run of `elt` began: a partition that another process has loaded since then is left out.
        reprocess: Also load days again that are loaded.

    Raises:
        PipelineError: A load failed; the message names what failed.
    """
    with watched():
        if errors := _load(wanted, f"prefect-{flow_run.id or 'local'}", asked_at, again=reprocess):
            raise partitions.failed(errors, len(wanted))


def _load(
    due: Sequence[Partition], run_id: str, asked_at: dt.datetime, *, again: bool
) -> Mapping[Partition, BaseException]:
    """Load and validate partitions, each as two tasks, and return the error of each that failed."""
    ingested = [ingest.submit(partition, run_id, asked_at, again=again) for partition in due]
    validated = [
        validate.submit(partition, run_id, return_state=False, wait_for=[loaded])
        for partition, loaded in zip(due, ingested, strict=True)
    ]
    for future in [*ingested, *validated]:
        future.wait()
    return {
        partition: error_of(loaded.state if loaded.state.is_failed() else checked.state)
        for partition, loaded, checked in zip(due, ingested, validated, strict=True)
        if not checked.state.is_completed()
    }


@flow(name="elt-daily", flow_run_name="daily", on_failure=[alert], on_crashed=[alert])
def elt_daily() -> None:
    """Load the day before the scheduled start (UTC) for every daily source."""
    with watched():
        end_orphans()
        # Prefect's dates are a subclass of `datetime.date`
        scheduled = dt.date.fromordinal(flow_run.scheduled_start_time.astimezone(dt.UTC).toordinal())
        day = scheduled - dt.timedelta(days=1)
        # one run, so that there is one build and one message
        elt_flow(day, day, ALL_DAILY)


@flow(name="elt-reconcile", flow_run_name="reconcile", on_failure=[alert], on_crashed=[alert])
def elt_reconcile() -> str:
    """Do what is due by the ledger, independently of earlier runs; end at once if nothing is due.

    The flow first ends runs whose process is gone, and sends an alert for each.
    """
    logger, run_id = get_run_logger(), f"prefect-{flow_run.id or 'local'}"
    with contextlib.ExitStack() as stack:
        try:
            lock = _config.data_dir / "prefect" / "reconcile.lock"
            stack.enter_context(locked(lock, purpose="reconciling flow", timeout=0))
        except LockedError:
            return "another run is doing it"
        stack.enter_context(watched())
        if ended := end_orphans():
            logger.warning("ended runs without a process: %s", ", ".join(ended))
        run = _start_run(run_id, RECONCILE)
        run.store.recover()
        try:
            outcomes = reconcile.load_due(run, reconcile.examine(run.store))
            if reconcile.examine(run.store).build.is_ready:
                make_limit()
                _build_and_document(run_id)
        finally:
            # it also tells which loads failed: each problem once, not each try
            tell_health(run.store, place="prefect")
            tell_quarantine(run.store, place="prefect")
        failed = [outcome for outcome in outcomes if outcome.error]
        for outcome in failed:
            logger.error("%s", outcome.error)
        return f"{len(outcomes)} partitions, {len(failed)} failed" if outcomes else "nothing was due"


def _build_and_document(run_id: str, *, full_refresh: bool = False, full_tests: bool = False) -> str | None:
    done = build(run_id, full_refresh=full_refresh, full_tests=full_tests)
    # the tables are published: without its site, the task is red and not the run
    write_docs(run_id, return_state=True)
    return done.version


@contextlib.contextmanager
def _no_secret_in_errors() -> Iterator[None]:
    """Replace an error that holds a secret: Prefect logs and stores an error with its whole traceback."""
    try:
        yield
    except Exception as error:
        found = without_secrets(error)
        if found is error:
            raise
        raise found from None


def _start_run(run_id: str, triggered_by: str = "prefect") -> Run:
    mask_every_log()
    logging.getLogger("pipeline").setLevel(_config.log_level)
    return Run.create(triggered_by=triggered_by, run_id=run_id)


if __name__ == "__main__":

    def day(text: str) -> dt.date:
        """Return a day from the command line; raise the error that argparse shows."""
        try:
            return parse_day(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("start_date", type=day, metavar="START", help="first day (UTC), YYYY-MM-DD")
    parser.add_argument("end_date", type=day, metavar="END", help="last day (UTC), included")
    parser.add_argument("--source", default=catalog.DEFAULT_SOURCE, choices=[ALL_DAILY, *catalog.names()])
    parser.add_argument("--resources", nargs="*", help="resources of the source; without them, all")
    for name in ("full-refresh", "full-tests", "reprocess"):
        parser.add_argument(f"--{name}", action="store_true")
    elt_flow(**vars(parser.parse_args()))
