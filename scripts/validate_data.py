"""Validation: checks the rows of a partition against its contract's rules, and quarantines rows that break them.

Runs as a script too: `python scripts/validate_data.py --start-date 2024-01-01 --end-date 2024-01-01`.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # the script's folder must not hide modules that have the same names as its files
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from scripts.bronze import attempts
from scripts.bronze.ledger import LedgerEntry, Partition
from scripts.bronze.loaded_contracts import contract_of_record
from scripts.bronze.store import verify
from scripts.config import settings
from scripts.errors import UsageError, naming_partition
from scripts.loading.admission import stage_verdict, tell_verdict
from scripts.loading.rule_checks import check_file, rules_version
from scripts.loading.script_arguments import run_script
from scripts.run_events import partitions as run_events
from scripts.utils.logging_config import log_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.bronze.run import Run
    from scripts.contracts.source import Source

__all__ = ["main", "validate_partition"]


def validate_partition(source: Source, name: str, day: dt.date, run: Run) -> LedgerEntry:
    """Evaluate the contract's rules on a loaded partition, and return its ledger record.

    Rows that break a rule of severity `quarantine` move to quarantine: fetched = bronze + quarantined still holds. Rows
    that break a rule of severity `warn` are counted and logged. The violations are written to a report in `_reports`.
    Validating again gives the same result, and reads no rows if neither the rows nor the rules have changed.

    Raises:
        UsageError: The partition is not loaded.
        DataError: Rows break a rule of severity `fail`; the partition stays out of builds.
        BronzeError: The files do not match the ledger; or the day was loaded with another contract, and the current
            rules cannot be evaluated on its columns.
    """
    partition = Partition(source.source, name, day)
    resource = source.resources[name]
    with (
        naming_partition(partition),
        log_context(run_id=run.run_id, source=source.source, resource=name, day=day),
        attempts.noting(attempts.document_of(run.store, partition), run, fingerprint=resource.version),
        run_events.telling(source, partition, run) as events,
    ):
        purpose = f"validation of {partition} by {run.triggered_by}"
        with run.store.replacing(partition, purpose=purpose, timeout=settings().lock_timeout) as staged:
            entry = require_loaded(staged.current, partition, run)
            known = entry.rules_version == rules_version(resource) and entry.status != "failed"
            known = known and run.store.report_place(entry) != ""
            verify(run.store, entry, content=not known)
            if known and entry.status == "validated":
                return entry
            events.start("validate")
            if known:
                entry = staged.commit(
                    msgspec.structs.replace(entry, status="validated", validated_at=dt.datetime.now(dt.UTC))
                )
                events.validated(entry)
                return entry
            resource = contract_of_record(run.store, entry, resource)
            with run.store.data_file(entry) as data:
                verdict = stage_verdict(entry, data, staged, resource, check_file(data, resource), run)
            verdict = verdict._replace(entry=staged.commit(verdict.entry))
        events.validated(verdict.entry)
        tell_verdict(verdict)
        return verdict.entry


def loaded_entry(run: Run, partition: Partition) -> LedgerEntry:
    """Return the ledger record of a partition.

    Raises:
        UsageError: The partition is not loaded.
    """
    return require_loaded(run.store.entry(partition), partition, run)


def require_loaded(entry: LedgerEntry | None, partition: Partition, run: Run) -> LedgerEntry:
    """Return the record of a partition.

    Raises:
        UsageError: There is none: the partition is not loaded.
    """
    if entry is None:
        raise UsageError(
            f"{partition} is not loaded",
            where=run.store.location,
            hint=f"`pipeline ingest --source {partition.source} --resource {partition.resource}"
            f" --start-date {partition.day} --end-date {partition.day}`",
        )
    return entry


def main(arguments: Sequence[str] | None = None) -> int:
    """Run validation as a script (see `--help`), and return the exit code."""

    def work(run: Run, source: Source, name: str, day: dt.date) -> str:
        return run.store.report_place(validate_partition(source, name, day, run))

    return run_script("Check loaded days against the rules of their contract.", work, arguments)


if __name__ == "__main__":
    sys.exit(main())
