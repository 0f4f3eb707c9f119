"""The summary messages after a build and a reconciling run: one message each, the same from every entry point."""

from __future__ import annotations

import collections
import dataclasses
import json
from types import MappingProxyType
from typing import TYPE_CHECKING

from scripts.config import settings
from scripts.contracts import catalog
from scripts.monitoring import airflow_findings, alerts, overdue
from scripts.monitoring.report import refresh
from scripts.planning.calendar import in_words
from scripts.planning.reconcile import examine
from scripts.utils.files import make_dir, write_atomically
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from scripts.bronze.ledger import LedgerEntry, Partition
    from scripts.bronze.store import Store

_log = get_logger("digest")
_NO_LINKS: Mapping[str, str] = MappingProxyType({})


def tell_quarantine(
    store: Store, partitions: Iterable[Partition], *, run_id: str, links: Mapping[str, str] = _NO_LINKS
) -> alerts.Alert | None:
    """Send one message about the quarantined rows of the partitions that a build processed; return it, or None."""
    entries = [entry for partition in partitions if (entry := store.entry(partition)) is not None]
    message = about_quarantine(entries, run_id=run_id)
    if message is not None:
        alerts.notify(dataclasses.replace(message, links=links))
    return message


def about_quarantine(entries: Sequence[LedgerEntry], *, run_id: str) -> alerts.Alert | None:
    """Return the message about the quarantined rows of partitions, with the ledger's counts; None if there are none."""
    found = [entry for entry in entries if entry.quarantined]
    if not found:
        return None
    by_resource: dict[tuple[str, str], list[LedgerEntry]] = collections.defaultdict(list)
    for entry in found:
        by_resource[entry.source, entry.resource].append(entry)
    lines = []
    for (source, resource), loaded in sorted(by_resource.items()):
        rows, fetched = sum(entry.quarantined for entry in loaded), sum(entry.fetched for entry in loaded)
        lines.append(f"{source}/{resource}, {in_words(entry.day for entry in loaded)}: {rows} of {fetched} rows")
        lines += [f"  {name}: {count} rows, for example {example}" for name, count, example in _reasons(loaded)]
    rows, fetched = sum(entry.quarantined for entry in found), sum(entry.fetched for entry in entries)
    title = f"{rows} of {fetched} rows of {len(entries)} partitions"
    return alerts.Alert("rows quarantined", title, "\n".join(lines), key=f"quarantine {run_id}")


def tell_health(store: Store, *, links: Mapping[str, str] = _NO_LINKS) -> alerts.Alert | None:
    """Send one message about problems of which no run has told, and about problems that are over; refresh the page.

    A run that fails sends its own alert. A run that was killed, deleted, or never started does not: the partitions that
    it left are due, and a reconciling run finds them. Each problem is sent once when it begins and once when it ends;
    if no sink takes the message, the next call sends it again.
    """
    found, path = examine(store), settings().data_dir / "alerts" / "overdue.json"
    named = [*airflow_findings.problems(), *overdue.problems(catalog.read_all(), found)]
    problems = {problem.name: problem for problem in named}
    known = _read(path)
    new = [problem.text for name, problem in problems.items() if problem.told == "never" and name not in known]
    present = {name: problem.text for name, problem in problems.items() if problem.told != "later"}
    # while a retry may succeed, a known problem is not over
    stays = {name: text for name, text in known.items() if name in problems} | present
    over = [text for name, text in known.items() if name not in stays]
    if stays != known:
        refresh(store)
    message = None
    if new or over:
        end = f"problems that are over: {len(over)}" if stays else "all is well again"
        title = f"{len(new)} problems" if new else end
        body = [*new, *(f"over: {text}" for text in over)]
        key = f"overdue {sorted(stays)} {found.at}"
        message = alerts.Alert("data overdue", title, "\n".join(body), links, key=key)
        if not alerts.notify(message) and alerts.has_sink():
            return None
    if stays != known:
        _write(path, stays)
    return message


def _reasons(entries: Sequence[LedgerEntry]) -> Sequence[tuple[str, int, str]]:
    """Return the reasons why rows were quarantined, each with the number of rows and an example, most rows first."""
    counts: collections.Counter[str] = collections.Counter()
    examples: dict[str, str] = {}
    for entry in entries:
        notes = [(note.rule, note.rows, note.example) for note in entry.rules if note.severity == "quarantine"]
        notes += [
            (f"{note.kind} field {note.field}", note.rows, note.example)
            for note in entry.drift
            if note.action == "quarantine"
        ]
        for name, rows, example in notes:
            counts[name] += rows
            examples[name] = example
    return [(name, count, examples[name]) for name, count in counts.most_common()]


def _read(path: Path) -> Mapping[str, str]:
    try:
        found: Mapping[str, str] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found


def _write(path: Path, problems: Mapping[str, str]) -> None:
    try:
        make_dir(path.parent)
        write_atomically(path, json.dumps(problems, indent=2).encode())
    except OSError as error:
        _log.warning("the problems may be sent twice: %s", error)
