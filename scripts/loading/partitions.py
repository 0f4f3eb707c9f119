"""The pipeline as a whole: load and validate the days of a request, then build."""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING, Literal, NamedTuple

from scripts.bronze.ledger import LedgerEntry, Partition
from scripts.config import settings
from scripts.contracts import catalog
from scripts.errors import PipelineError, StorageError
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from scripts.utils.logging_config import get_logger, log_context
from scripts.validate_data import validate_partition

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from scripts.bronze.run import Run

_log = get_logger("elt")

Step = Literal["ingest", "validate"]


class Outcome(NamedTuple):
    """How the work on one partition ended: with its ledger record, or with an error."""

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
    """Return the error of a run some of whose partitions failed: of the type of the first, and naming each."""
    first = next(iter(errors.values()))
    kind = type(first) if isinstance(first, PipelineError) else PipelineError
    return kind(
        f"{len(errors)} of {asked} partitions failed: {', '.join(map(str, errors))}; the first: {first}",
        hint="mend the cause and run the same again: only what is missing is loaded",
    )


def load(
    run: Run,
    wanted: Sequence[Partition],
    *,
    steps: Sequence[Step] = ("ingest", "validate"),
    is_done: Callable[[LedgerEntry], bool] = lambda _: False,
    on_done: Callable[[Outcome], None] = lambda _: None,
) -> Sequence[Outcome]:
    """Load and validate partitions, a few at a time; one that fails does not stop the others.

    Args:
        run: The run that asks for it.
        wanted: The partitions.
        steps: What to do with each.
        is_done: Whether a record is what the load is for; see `ingest_partition`.
        on_done: Called with each outcome as it comes.

    Raises:
        StorageError: The data folder cannot be written; what was loaded stays.
    """
    run.store.recover()
    sources = {partition.source for partition in wanted}
    clients = {name: Client(catalog.pick(name)) for name in sources} if "ingest" in steps else {}

    def work(partition: Partition) -> Outcome:
        source = catalog.pick(partition.source)
        entry = None
        try:
            if "ingest" in steps:
                entry = ingest_partition(
                    source,
                    partition.resource,
                    partition.day,
                    run,
                    clients[partition.source],
                    validate="validate" in steps,
                    is_done=is_done,
                )
            if "validate" in steps and (entry is None or entry.status == "ingested"):
                entry = validate_partition(source, partition.resource, partition.day, run)
        except StorageError:
            # the same for every partition: say it once
            raise
        except PipelineError as error:
            with log_context(
                run_id=run.run_id, source=partition.source, resource=partition.resource, day=partition.day
            ):
                _log.error("failed: %s", error, extra={"error": type(error).__name__})
            return Outcome(partition, None, error)
        return Outcome(partition, entry, None)

    outcomes = []
    executor = concurrent.futures.ThreadPoolExecutor(settings().parallel_partitions, thread_name_prefix="partition")
    try:
        for future in [executor.submit(work, partition) for partition in wanted]:
            outcomes.append(future.result())
            on_done(outcomes[-1])
        executor.shutdown()
    except BaseException as error:
        # who interrupts does not want to wait for requests under way
        executor.shutdown(wait=not isinstance(error, KeyboardInterrupt), cancel_futures=True)
        raise
    finally:
        for client in clients.values():
            client.close()
    return outcomes
