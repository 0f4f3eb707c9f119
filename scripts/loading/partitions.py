"""Loads of many partitions: ingests and validates the partitions of a request in parallel."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import TYPE_CHECKING, Literal, NamedTuple

from scripts.bronze.ledger import LedgerEntry, Partition
from scripts.config import settings
from scripts.contracts import catalog
from scripts.errors import PipelineError, StorageError, UnexpectedError
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from scripts.run_events.sending import sending
from scripts.utils.logging_config import get_logger, log_context
from scripts.validate_data import validate_partition

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from scripts.bronze.run import Run
    from scripts.contracts.source import Source

_log = get_logger("elt")

Step = Literal["ingest", "validate"]
_MOST_NAMES = 20


class Outcome(NamedTuple):
    """The result of the work on one partition: its ledger record, or an error."""

    partition: Partition
    entry: LedgerEntry | None
    error: PipelineError | None


def partitions(
    days: Iterable[dt.date], source_names: Sequence[str], resource_names: Sequence[str] | None = None
) -> Sequence[Partition]:
    """Return the partitions of a request, day by day.

    Raises:
        UsageError: A source or resource is not in the catalog.
    """
    wanted = []
    for day in days:
        for source_name in source_names:
            source = catalog.pick(source_name)
            wanted += [Partition(source_name, name, day) for name in catalog.pick_resources(source, resource_names)]
    return wanted


def failed(errors: Mapping[Partition, object], asked: int) -> PipelineError:
    """Return one error for the failed partitions of a run; it has the class of the first error, and names them."""
    first = next(iter(errors.values()))
    kind = type(first) if isinstance(first, PipelineError) else PipelineError
    names = ", ".join(map(str, [*errors][:_MOST_NAMES]))
    more = f" and {len(errors) - _MOST_NAMES} more (`pipeline status` names all)" if len(errors) > _MOST_NAMES else ""
    return kind(
        f"{len(errors)} of {asked} partitions failed: {names}{more}; the first: {first}",
        hint="correct the cause, then retry: only missing partitions are loaded",
    )


class _Clients:
    """One client for each source, created at its first use, so that a missing secret fails only its own source."""

    def __init__(self) -> None:
        self._made: dict[str, Client] = {}
        self._lock = threading.Lock()

    def of(self, source: Source) -> Client:
        with self._lock:
            if source.source not in self._made:
                self._made[source.source] = Client(source)
            return self._made[source.source]

    def close(self) -> None:
        for client in self._made.values():
            client.close()


def _do_steps(
    partition: Partition,
    steps: Sequence[Step],
    run: Run,
    clients: _Clients,
    is_done: Callable[[LedgerEntry], bool],
) -> LedgerEntry:
    source, entry = catalog.pick(partition.source), None
    if "ingest" in steps:
        entry = ingest_partition(
            source,
            partition.resource,
            partition.day,
            run,
            clients.of(source),
            validate="validate" in steps,
            is_done=is_done,
        )
    if entry is None or ("validate" in steps and entry.status == "ingested"):
        entry = validate_partition(source, partition.resource, partition.day, run)
    return entry


def _failed(partition: Partition, run: Run, error: Exception) -> Outcome:
    with log_context(run_id=run.run_id, source=partition.source, resource=partition.resource, day=partition.day):
        if isinstance(error, PipelineError):
            _log.error("failed: %s", error, extra={"error": type(error).__name__})
            return Outcome(partition, None, error)
        _log.error("failed: %s", error, extra={"error": type(error).__name__}, exc_info=error)
    unexpected = UnexpectedError(
        f"{type(error).__name__}: {error}",
        where=str(partition),
        hint="this is a bug of the pipeline: report it with the traceback in the log",
    )
    return Outcome(partition, None, unexpected)


def load(
    run: Run,
    wanted: Sequence[Partition],
    *,
    steps: Sequence[Step] = ("ingest", "validate"),
    is_done: Callable[[LedgerEntry], bool] = lambda _: False,
    on_done: Callable[[Outcome], None] = lambda _: None,
) -> Sequence[Outcome]:
    """Load and validate partitions, several at the same time; a failed one does not stop the others.

    Args:
        run: The run that asks for it.
        wanted: The partitions.
        steps: What to do with each.
        is_done: Returns whether an existing record makes a load unnecessary; see `ingest_partition`.
        on_done: Called with each outcome, in the order of `wanted`.

    Raises:
        StorageError: The data folder cannot be written; loaded partitions stay.
    """
    run.store.recover()
    clients = _Clients()

    def work(partition: Partition) -> Outcome:
        try:
            return Outcome(partition, _do_steps(partition, steps, run, clients, is_done), None)
        except StorageError:
            # it is the same for every partition, so report it once
            raise
        except Exception as error:  # noqa: BLE001 — no error may stop the other partitions
            return _failed(partition, run, error)

    outcomes = []
    executor = concurrent.futures.ThreadPoolExecutor(settings().parallel_partitions, thread_name_prefix="partition")
    try:
        with sending():
            for future in [executor.submit(work, partition) for partition in wanted]:
                outcomes.append(future.result())
                on_done(outcomes[-1])
            executor.shutdown()
    except BaseException as error:
        # after an interrupt, do not wait for running requests
        executor.shutdown(wait=not isinstance(error, KeyboardInterrupt), cancel_futures=True)
        raise
    finally:
        clients.close()
    return outcomes
