"""Admission: the result of the rules for a partition, and the move of rows from Bronze to quarantine."""

from __future__ import annotations

import datetime as dt
import heapq
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from scripts.bronze import parquet, quarantine
from scripts.bronze.ledger import LedgerEntry, RuleNote
from scripts.bronze.quarantine import QuarantinedRow
from scripts.contracts.types import ROW, arrow_schema, to_record
from scripts.errors import DataError
from scripts.loading.rule_checks import RuleViolations, expectation, rules_version
from scripts.utils.files import hash_file
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from scripts.bronze.run import Run
    from scripts.bronze.store import Staged
    from scripts.contracts.source import Resource
    from scripts.loading.rule_checks import RuleChecker

_log = get_logger("validate")


class Verdict(NamedTuple):
    """The result of the rules for a partition."""

    entry: LedgerEntry
    """The record, with the counts after rows moved to quarantine."""
    rows: int
    """Rows that were checked."""
    findings: Sequence[RuleViolations]
    """The rules that rows break, in contract order."""


def stage_verdict(
    entry: LedgerEntry, data: Path, staged: Staged, resource: Resource, checker: RuleChecker, run: Run
) -> Verdict:
    """Stage the result of the rules: the files after rows moved to quarantine, and the report.

    Args:
        entry: The record as loaded.
        data: The file with the rows that were checked.
        staged: The new files of the partition.
        resource: The contract.
        checker: A checker that has checked all rows of the file.
        run: The run that asks for it.
    """
    findings = checker.finish(data, staged.folder)
    failed = any(finding.rule.severity == "fail" for finding in findings)
    if not failed and any(finding.positions for finding in findings):
        entry = _move_rows(entry, data, staged, resource, findings, run)
    entry = msgspec.structs.replace(
        entry,
        status="failed" if failed else "validated",
        validated_at=dt.datetime.now(dt.UTC),
        rules=tuple(_note(finding) for finding in findings),
        rules_version=rules_version(resource),
    )
    staged.report.write_text(json.dumps(_report(entry, checker.rows, resource, findings), indent=2) + "\n")
    return Verdict(entry, checker.rows, findings)


def keep_verdict(entry: LedgerEntry, before: LedgerEntry | None, data: Path) -> LedgerEntry:
    """Return the record of rows that were loaded again, with the previous verdict if the rows are the same.

    Validation then reads no rows. A partition with rows that moved to quarantine is checked again.
    """
    same = (
        before is not None
        and before.status == "validated"
        and (before.fetched, before.bronze, before.quarantined) == (entry.fetched, entry.bronze, entry.quarantined)
        and before.content_hash == hash_file(data)
    )
    if before is None or not same:
        return entry
    return msgspec.structs.replace(entry, rules=before.rules, rules_version=before.rules_version)


def tell_verdict(verdict: Verdict) -> None:
    """Log the result of the rules.

    Raises:
        DataError: Rows break a rule of severity `fail`.
    """
    entry, rows, findings = verdict
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
    for finding in findings:
        if finding.rule.severity == "fail":
            raise DataError(
                f"rule `{finding.rule.name}` is broken by {finding.rows} of {rows} rows,"
                f" for example {', '.join(finding.examples)}",
                where=str(entry.partition),
                expected=finding.expectation,
                hint="correct the source or the rule, then load or validate the day again; builds leave the day out",
            )


def _move_rows(
    entry: LedgerEntry, data: Path, staged: Staged, resource: Resource, findings: Sequence[RuleViolations], run: Run
) -> LedgerEntry:
    """Stage the files without the rows that break a rule of severity `quarantine`."""
    kept, moved = staged.data.with_suffix(".kept"), staged.quarantine.with_suffix(".kept")
    earlier = staged.quarantine if staged.quarantine.exists() else staged.current_quarantine
    schema = arrow_schema(resource)
    with parquet.PartitionWriter(kept, schema) as writer, moved.open("wb") as file:
        rows = _split(entry, data, writer, resource, findings, run)
        count = 0
        # both are in the order of the source
        for row in heapq.merge(quarantine.read(earlier), rows, key=lambda row: row.row):
            file.write(quarantine.encode([row]))
            count += 1
    kept.replace(staged.data)
    moved.replace(staged.quarantine)
    return msgspec.structs.replace(entry, bronze=writer.rows, quarantined=count)


def _split(
    entry: LedgerEntry,
    data: Path,
    writer: parquet.PartitionWriter,
    resource: Resource,
    findings: Sequence[RuleViolations],
    run: Run,
) -> Iterator[QuarantinedRow]:
    """Write the rows that stay, and yield those that move."""
    by_rule = [
        (finding, np.unique(np.frombuffer(finding.positions, np.int64))) for finding in findings if finding.positions
    ]
    leaving = np.unique(np.concatenate([positions for _, positions in by_rule]))
    first = 0
    for batch in parquet.read_batches(data):
        start, end = np.searchsorted(leaving, [first, first + batch.num_rows])
        here = leaving[start:end]
        stays = np.ones(batch.num_rows, dtype=bool)
        stays[here - first] = False
        writer.append(batch if len(here) == 0 else batch.filter(pa.array(stays)))
        for position, row in zip(here, batch.take(pa.array(here - first)).to_pylist(), strict=True):
            broken = [finding for finding, positions in by_rule if _contains(positions, position)]
            yield _quarantined(entry, row, broken, resource, run)
        first += batch.num_rows


def _contains(positions: np.ndarray, position: int) -> bool:
    place = int(np.searchsorted(positions, position))
    return place < len(positions) and positions[place] == position


def _quarantined(
    entry: LedgerEntry, row: Mapping[str, Any], broken: Sequence[RuleViolations], resource: Resource, run: Run
) -> QuarantinedRow:
    return QuarantinedRow(
        source=entry.source,
        resource=entry.resource,
        day=entry.day.isoformat(),
        row=int(row[ROW]),
        stage="rule",
        rule=broken[0].rule.name,
        reason="; ".join(
            f"{finding.rule.name}: {finding.shown(row)}, expected {finding.expectation}" for finding in broken
        ),
        raw=to_record(dict(row), resource),
        contract_version=resource.version,
        run_id=run.run_id,
    )


def _note(finding: RuleViolations) -> RuleNote:
    return RuleNote(finding.rule.name, finding.rule.severity, finding.rows, ", ".join(finding.examples))


def _report(entry: LedgerEntry, rows: int, resource: Resource, findings: Sequence[RuleViolations]) -> dict[str, Any]:
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
                "expectation": expectation(rule),
                "rows": broken[rule.name].rows if rule.name in broken else 0,
                "examples": broken[rule.name].examples if rule.name in broken else [],
            }
            for rule in resource.rules
        ],
        "drift": [msgspec.structs.asdict(note) for note in entry.drift],
    }
