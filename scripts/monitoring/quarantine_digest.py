"""The message about quarantined rows: one for all loads of a run or backfill, and one when the rows are gone."""

from __future__ import annotations

import collections
import hashlib
from types import MappingProxyType
from typing import TYPE_CHECKING

from scripts.bronze.ledger import Partition
from scripts.monitoring import alerts, told_before
from scripts.planning.calendar import in_words
from scripts.utils.days import parse_day

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence

    from scripts.bronze.ledger import LedgerEntry
    from scripts.bronze.store import Store
    from scripts.monitoring.advice import Place


def tell_quarantine(
    store: Store, *, place: Place = "terminal", links: Mapping[str, str] = MappingProxyType({})
) -> alerts.Alert | None:
    """Send one message about quarantined rows of which no message has told, and about days that have none any more.

    The ledger says which rows are in quarantine, and `alerts/quarantine.json` which of them were told. So it makes no
    difference which run loaded them, and how many builds they took. Call it when the loads of a request are over. If no
    sink takes the message, the next call sends it again.

    Returns:
        The message; None if there is nothing to tell, or if no sink took it.
    """
    with store.index(trust_folders=True) as index:
        present = index.quarantined_hashes()
    known = {_partition(name): content for name, content in told_before.read("quarantine", str).items()}
    new = [partition for partition, content in present.items() if known.get(partition) != content]
    over = [partition for partition in known if partition not in present and not _may_come_back(store, partition)]
    if not new and not over:
        return None
    entries = [entry for partition in new if (entry := store.entry(partition)) is not None]
    told = {**{partition: content for partition, content in known.items() if partition not in over}, **present}
    message = about_quarantine(entries, over, place=place, links=links, still=len(told))
    if not alerts.notify(message) and alerts.has_sink():
        return None
    told_before.keep("quarantine", {str(partition): content for partition, content in told.items()})
    return message


def about_quarantine(
    entries: Sequence[LedgerEntry],
    over: Sequence[Partition] = (),
    *,
    place: Place = "terminal",
    links: Mapping[str, str] = MappingProxyType({}),
    still: int = 0,
) -> alerts.Alert:
    """Return the message about the quarantined rows of partitions, with the ledger's counts.

    Args:
        entries: The records of partitions with quarantined rows.
        over: Partitions that have none any more.
        place: Where the message is read.
        links: Addresses of pages, by name.
        still: The number of partitions that have quarantined rows after this message.
    """
    by_resource: dict[tuple[str, str], list[LedgerEntry]] = collections.defaultdict(list)
    days_over: dict[tuple[str, str], list[dt.date]] = collections.defaultdict(list)
    for entry in sorted(entries, key=lambda entry: entry.partition):
        by_resource[entry.source, entry.resource].append(entry)
    for partition in sorted(over):
        days_over[partition.source, partition.resource].append(partition.day)
    lines = []
    for (source, resource), loaded in by_resource.items():
        rows, fetched = sum(entry.quarantined for entry in loaded), sum(entry.fetched for entry in loaded)
        lines.append(f"{source}/{resource}, {in_words(entry.day for entry in loaded)}: {rows} of {fetched} rows")
        lines += [f"  {name}: {count} rows, for example {example}" for name, count, example in _reasons(loaded)]
    lines += [f"over: {'/'.join(resource)}, {in_words(days)}: no row any more" for resource, days in days_over.items()]
    rows, fetched = sum(entry.quarantined for entry in entries), sum(entry.fetched for entry in entries)
    end = f"{len(over)} partitions have none any more" if still else "all is well again"
    title = f"{rows} of {fetched} rows of {len(entries)} partitions" if entries else end
    told = hashlib.sha256("\n".join([title, *lines]).encode()).hexdigest()
    return alerts.Alert("rows quarantined", title, "\n".join(lines), links, f"quarantine {told}", place)


def _may_come_back(store: Store, partition: Partition) -> bool:
    """Return whether a partition is being loaded again, so that it is not known yet whether it has such rows."""
    entry = store.entry(partition)
    return entry is not None and entry.status != "validated"


def _reasons(entries: Iterable[LedgerEntry]) -> Sequence[tuple[str, int, str]]:
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


def _partition(name: str) -> Partition:
    source, resource, day = name.split("/")
    return Partition(source, resource, parse_day(day))
