"""Replay: moves quarantined rows that pass after a correction of a rule or the contract back to Bronze."""

from __future__ import annotations

import bisect
import datetime as dt
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pyarrow as pa

from scripts.bronze import parquet, quarantine
from scripts.bronze.loaded_contracts import changes_since, contract_of_record, keep_contract, outdated_error
from scripts.bronze.store import verify
from scripts.config import settings
from scripts.contracts import catalog
from scripts.contracts.types import ROW
from scripts.extract.rewrite import Rewriter
from scripts.extract.rows import RowReader
from scripts.run_events import partitions as run_events
from scripts.utils.logging_config import get_logger, log_context
from scripts.validate_data import loaded_entry, require_loaded, validate_partition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.bronze.ledger import LedgerEntry, Partition
    from scripts.bronze.run import Run
    from scripts.contracts.source import Source

_log = get_logger("replay")


class Replayed(NamedTuple):
    """How many quarantined rows of a partition were admitted, and how many remain."""

    partition: Partition
    admitted: int
    remaining: int


def replay_partition(source: Source, partition: Partition, run: Run) -> Replayed:
    """Read the quarantined rows of a partition again with the current policies and rules, and admit those that pass.

    The columns are those that the day was loaded with. Admitted rows get the positions that they had in the source's
    answer. Rows that still do not pass stay in quarantine, with the current reason.

    Raises:
        UsageError: The partition is not loaded, or its resource is no longer in the contract.
        DataError: Rows break a rule of severity `fail`.
        BronzeError: The day was loaded with a contract that has other columns.
    """
    (name,) = catalog.pick_resources(source, [partition.resource])
    resource = source.resources[name]
    with (
        log_context(run_id=run.run_id, source=partition.source, resource=partition.resource, day=partition.day),
        run_events.telling(source, partition, run) as events,
    ):
        run.store.recover_partition(partition, timeout=settings().lock_timeout)
        known = loaded_entry(run, partition)
        if known.status == "ingested" and not run.store.quarantined(known):
            # a replay was stopped between its two commits: complete it
            validate_partition(source, partition.resource, partition.day, run)
            return Replayed(partition, 0, 0)
        purpose = f"replay of {partition} by {run.triggered_by}"
        with run.store.replacing(partition, purpose=purpose, timeout=settings().lock_timeout) as staged:
            entry = require_loaded(staged.current, partition, run)
            verify(run.store, entry)
            differences = changes_since(run.store, entry, resource)
            if any(change.effect in {"widened", "conflict"} for change in differences):
                raise outdated_error(entry, differences, "the columns")
            is_current = all(change.effect == "compatible" for change in differences)
            resource = contract_of_record(run.store, entry, resource)
            reader = RowReader(resource)
            rows = run.store.quarantined(entry)
            if not rows:
                return Replayed(partition, 0, 0)
            events.start("replay")
            rewriter = Rewriter(resource)
            # in stage `rule`, the raw record is a row that was already rewritten; in others, it is as received
            records = (row.raw_bytes if row.stage == "rule" else rewriter.rewrite_one(row.raw_bytes) for row in rows)
            page = reader.read_each(records)
            places = pa.array([rows[position].row for position in page.positions], type=pa.int64())
            back = pa.RecordBatch.from_arrays([*page.batch.columns, places], schema=reader.schema)
            with parquet.PartitionWriter(staged.data, reader.schema) as writer:
                _merge(writer, entry, back, run, reader.schema)
            stay = [
                msgspec.structs.replace(
                    rows[reject.position],
                    rule=reject.rule,
                    reason=reject.reason,
                    contract_version=resource.version,
                    run_id=run.run_id,
                )
                for reject in page.rejects
            ]
            staged.quarantine.write_bytes(quarantine.encode(stay))
            keep_contract(run.store, partition.source, name, resource)
            replayed = staged.commit(
                msgspec.structs.replace(
                    entry,
                    status="ingested",
                    rules_version="",
                    bronze=writer.rows,
                    quarantined=len(stay),
                    # rows of another request keep the version of the contract of that request
                    contract_version=resource.version if is_current else entry.contract_version,
                    run_id=run.run_id,
                    loaded_at=dt.datetime.now(dt.UTC),
                )
            )
        events.loaded(replayed)
        after = validate_partition(source, partition.resource, partition.day, run)
        _log.info("replayed: %d of %d rows admitted", entry.quarantined - after.quarantined, entry.quarantined)
        return Replayed(partition, entry.quarantined - after.quarantined, after.quarantined)


def _merge(
    writer: parquet.PartitionWriter, entry: LedgerEntry, back: pa.RecordBatch, run: Run, schema: pa.Schema
) -> None:
    """Write the rows of a partition and the admitted rows, in the order of their positions."""
    waiting = pa.Table.from_batches([back]).sort_by(ROW)
    places, taken = waiting[ROW].to_pylist(), 0
    with run.store.data_file(entry) as data:
        for batch in parquet.read_batches(data):
            if batch.num_rows == 0:
                continue
            due = bisect.bisect_left(places, batch.column(ROW)[-1].as_py(), lo=taken)
            here = [pa.Table.from_batches([parquet.conform(batch, schema)]), waiting.slice(taken, due - taken)]
            _append(writer, pa.concat_tables(here).sort_by(ROW))
            taken = due
    _append(writer, waiting.slice(taken))


def _append(writer: parquet.PartitionWriter, table: pa.Table) -> None:
    batches: Sequence[pa.RecordBatch] = table.combine_chunks().to_batches()
    for batch in batches:
        writer.append(batch)
