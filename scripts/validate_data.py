"""Validation: a partition's rows against its contract's rules; rows that break them go to quarantine.

Runs as a script too: `python scripts/validate_data.py --start-date 2024-01-01 --end-date 2024-01-01`.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # the folder of the script must not hide modules that are named like its files
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import datetime as dt
import json
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from scripts.bronze import parquet, quarantine
from scripts.bronze.ledger import LedgerEntry, Partition, RuleNote
from scripts.bronze.quarantine import QuarantinedRow
from scripts.bronze.store import Staged, quarantined_rows, verify
from scripts.config import settings
from scripts.contracts.types import ROW, arrow_schema, to_record
from scripts.errors import DataError, UsageError, naming_partition
from scripts.loading.rule_checks import RuleViolations, evaluate
from scripts.loading.script_arguments import run_script
from scripts.utils.logging_config import get_logger, log_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.bronze.run import Run
    from scripts.contracts.source import Resource, Source

__all__ = ["main", "validate_partition"]

_log = get_logger("validate")


def validate_partition(source: Source, name: str, day: dt.date, run: Run) -> LedgerEntry:
    """Evaluate the contract's rules on a loaded partition, and return its ledger record.

    Rows that break a rule of severity `quarantine` move there, so that fetched = bronze + quarantined still holds;
    `warn` counts and logs. A report of what was found lies beside the ledger. Validating again gives the same.

    Raises:
        UsageError: The partition is not loaded.
        DataError: Rows break a rule of severity `fail`; the partition stays out of builds.
        BronzeError: The data file is not the one that the ledger describes.
    """
    partition = Partition(source.source, name, day)
    resource = source.resources[name]
    with naming_partition(partition), log_context(run_id=run.run_id, source=source.source, resource=name, day=day):
        purpose = f"validation of {partition} by {run.triggered_by}"
        with run.store.replacing(partition, purpose=purpose, timeout=settings().lock_timeout) as staged:
            entry = loaded_entry(run, partition)
            verify(run.store, entry)
            data = run.store.data_path(partition)
            rows, findings = evaluate(data, resource)
            failed = [finding for finding in findings if finding.rule.severity == "fail"]
            if not failed:
                entry = _quarantine_rows(entry, data, staged, resource, findings, run)
            entry = msgspec.structs.replace(
                entry,
                status="failed" if failed else "validated",
                validated_at=dt.datetime.now(dt.UTC),
                rules=tuple(_note(finding) for finding in findings),
            )
            staged.report.write_text(json.dumps(_report(entry, rows, resource, findings), indent=2) + "\n")
            entry = staged.commit(entry)
        _log_outcome(entry, rows, findings)
        if failed:
            finding = failed[0]
            raise DataError(
                f"rule `{finding.rule.name}` is broken by {finding.rows} of {rows} rows,"
                f" for example {', '.join(finding.examples)}",
                where=str(partition),
                expected=finding.expectation,
                hint="mend the source or the rule, then load or validate the day again; builds leave the day out",
            )
        return entry


def loaded_entry(run: Run, partition: Partition) -> LedgerEntry:
    """Return the ledger record of a partition.

    Raises:
        UsageError: The partition is not loaded.
    """
    entry = run.store.entry(partition)
    if entry is None:
        raise UsageError(
            f"{partition} is not loaded",
            where=str(run.store.root),
            hint=f"`pipeline ingest --source {partition.source} --resource {partition.resource}"
            f" --start-date {partition.day} --end-date {partition.day}`",
        )
    return entry


def _quarantine_rows(
    entry: LedgerEntry, data: Path, staged: Staged, resource: Resource, findings: Sequence[RuleViolations], run: Run
) -> LedgerEntry:
    """Stage the files without the rows that go to quarantine; nothing where there are none."""
    reasons: dict[int, list[tuple[str, str]]] = {}
    for finding in findings:
        for position, value in finding.positions.items():
            reason = f"{finding.rule.name}: {value}, expected {finding.expectation}"
            reasons.setdefault(position, []).append((finding.rule.name, reason))
    if not reasons:
        return entry
    moved: list[QuarantinedRow] = []
    first = 0
    schema = arrow_schema(resource)
    with parquet.PartitionWriter(staged.data, schema) as writer:
        for batch in parquet.read_batches(data):
            hit = [position - first for position in reasons if first <= position < first + batch.num_rows]
            for row, position in zip(batch.take(hit).to_pylist(), hit, strict=True):
                moved.append(_quarantined(entry, row, reasons[first + position], resource, run))
            keep = pa.array(sorted(set(range(batch.num_rows)) - set(hit)), type=pa.int64())
            writer.append(parquet.conform(batch.take(keep) if hit else batch, schema))
            first += batch.num_rows
    rows = sorted([*quarantined_rows(run.store, entry), *moved], key=lambda row: row.row)
    staged.quarantine.write_bytes(quarantine.encode(rows))
    return msgspec.structs.replace(entry, bronze=writer.rows, quarantined=len(rows))


def _quarantined(
    entry: LedgerEntry, row: dict[str, object], reasons: Sequence[tuple[str, str]], resource: Resource, run: Run
) -> QuarantinedRow:
    return QuarantinedRow(
        source=entry.source,
        resource=entry.resource,
        day=entry.day.isoformat(),
        row=int(str(row[ROW])),
        stage="rule",
        rule=reasons[0][0],
        reason="; ".join(reason for _, reason in reasons),
        raw=to_record(row, resource),
        contract_version=resource.version,
        run_id=run.run_id,
    )


def _note(finding: RuleViolations) -> RuleNote:
    return RuleNote(finding.rule.name, finding.rule.severity, finding.rows, ", ".join(finding.examples))


def _report(entry: LedgerEntry, rows: int, resource: Resource, findings: Sequence[RuleViolations]) -> dict[str, object]:
    broken = {finding.rule.name: finding for finding in findings}
    return {
        "source": entry.source,
        "resource": entry.resource,
        "day": entry.day.isoformat(),
        "run_id": entry.run_id,
        "contract_version": resource.version,
        "outcome": entry.status,
        "rows_evaluated": rows,
        "fetched": entry.fetched,
        "bronze": entry.bronze,
        "quarantined": entry.quarantined,
        "rules": [
            {
                "rule": rule.name,
                "severity": rule.severity,
                "expectation": RuleViolations(rule).expectation,
                "rows": broken[rule.name].rows if rule.name in broken else 0,
                "examples": broken[rule.name].examples if rule.name in broken else [],
            }
            for rule in resource.rules
        ],
        "drift": [msgspec.structs.asdict(note) for note in entry.drift],
    }


def _log_outcome(entry: LedgerEntry, rows: int, findings: Sequence[RuleViolations]) -> None:
    for finding in findings:
        _log.warning(
            "rule `%s` (%s) is broken by %d of %d rows, for example %s; expected %s",
            finding.rule.name,
            finding.rule.severity,
            finding.rows,
            rows,
            ", ".join(finding.examples),
            finding.expectation,
            extra={"rule": finding.rule.name, "severity": finding.rule.severity, "rows": finding.rows},
        )
    _log.info(
        "%s: fetched %d = Bronze %d + quarantined %d", entry.status, entry.fetched, entry.bronze, entry.quarantined
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Validate as a script; see `--help`. Returns the exit code."""

    def work(run: Run, source: Source, name: str, day: dt.date) -> str:
        return str(run.store.report_path(validate_partition(source, name, day, run).partition))

    return run_script("Check loaded days against the rules of their contract.", work, arguments)


if __name__ == "__main__":
    sys.exit(main())
