"""The artifacts of a run, for a person who reads it in Prefect. Each has at most 10 KB, and says where the rest is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from scripts.monitoring.results import results_url
from scripts.security import outside_text
from scripts.warehouse import data_docs
from scripts.warehouse.build import warehouse
from scripts.warehouse.runner import BAD_STATUSES, target_dir

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.bronze.ledger import LedgerEntry
    from scripts.warehouse.runner import NodeResult

Row = TypeVar("Row")
MOST_BYTES = 10_000
_LONGEST_CELL = 300


def show_ledger(entries: Sequence[LedgerEntry]) -> None:
    """Create the artifacts about the partitions of a run: their rows, and the rows in quarantine."""
    columns = ("source", "resource", "day", "status", "declared", "fetched", "bronze", "quarantined")
    # what needs a person comes first
    ordered = sorted(entries, key=lambda entry: (entry.status == "validated", -entry.quarantined))
    ledger, rest = fitting(
        [{name: str(getattr(entry, name)) for name in columns} for entry in ordered], "`pipeline status --json`"
    )
    create_table_artifact(
        key="ledger", table=ledger, description=f"Every partition of the run: fetched = Bronze + quarantined.{rest}"
    )
    rules = [
        _quarantined(entry, note.rule, note.rows, note.example)
        for entry in ordered
        for note in entry.rules
        if note.severity == "quarantine"
    ]
    drift = [
        _quarantined(entry, f"{note.kind} {note.field}", note.rows, note.example)
        for entry in ordered
        for note in entry.drift
        if note.action == "quarantine"
    ]
    quarantine, rest = fitting([*rules, *drift], "`pipeline quarantine list`")
    create_table_artifact(
        key="quarantine", table=quarantine, description=f"Rows that were received and not admitted, by rule.{rest}"
    )


def show_results(headline: str, results: Sequence[NodeResult]) -> None:
    """Create the artifact about a build: the result of each model, and the failed tests; failures first."""
    shown = [result for result in results if result.kind == "model" or result.status in BAD_STATUSES]
    rows, rest = fitting(
        [
            f"| [{result.name}]({_page_of(result)}) | {result.kind} | {result.status} |"
            f" {result.seconds:.2f} | {_cell(result.message) if result.status in BAD_STATUSES else ''} |"
            for result in sorted(shown, key=lambda result: result.status not in BAD_STATUSES)
        ],
        f"`{target_dir(warehouse()) / 'run_results.json'}`",
    )
    tests = [result.status for result in results if "test" in result.kind]
    table = "\n".join(["| node | kind | status | seconds | error |", "|---|---|---|---|---|", *rows])
    counts = f"{tests.count('pass')} tests passed, {tests.count('warn')} warned.{rest}"
    create_markdown_artifact(
        key="summary",
        markdown=f"# {headline}\n\n{counts}\n\n{table}\n",
        description="The result of each model and the failed tests, with links to the documentation.",
    )


def fitting(rows: Sequence[Row], whole: str) -> tuple[list[Row], str]:
    """Return the first rows that fit into an artifact, and a sentence about the others; empty if there are none.

    Args:
        rows: Rows that JSON can hold.
        whole: Where a person finds all rows.
    """
    left = MOST_BYTES
    for number, row in enumerate(rows):
        left -= len(json.dumps(row).encode())
        if left < 0:
            return list(rows[:number]), f" These are the first {number} of {len(rows)} rows; all: {whole}."
    return list(rows), ""


def _quarantined(entry: LedgerEntry, rule: str, rows: int, example: str) -> dict[str, str | int]:
    return {"partition": str(entry.partition), "rule": rule, "rows": rows, "example": _cell(example)}


def _page_of(result: NodeResult) -> str:
    """Return the page of a node: of a failed one on the results page, since dbt's site has only published ones."""
    return f"{results_url()}#{result.id}" if result.status in BAD_STATUSES else data_docs.node_url(result.id)


def _cell(text: str) -> str:
    return outside_text.one_line(text, longest=_LONGEST_CELL).replace("|", "\\|")
