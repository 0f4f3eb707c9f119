"""The steps in which a table is made: what it reads, up to the sources, and what reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.warehouse.lineage import Table


class Steps(NamedTuple):
    """A table with everything that it is made from, and everything that is made from it."""

    layers: Mapping[str, Sequence[str]]
    """The names in each step, in order: `bronze/source/resource`, `silver/table`, `gold/table` or `exposure/label`."""
    edges: Sequence[tuple[str, str]]
    """Pairs of names: what is read, and what reads it."""
    resources: Sequence[tuple[str, str]]
    """The resources that its rows come from: source and name."""


def steps_of(tables: Sequence[Table], name: str, manifest: Mapping[str, Any]) -> Steps:
    """Return the steps of a table `layer/name`, from the lineage of all tables and the exposures of dbt's manifest."""
    known = {table.name: table for table in tables}
    reads = {table.name: list(table.reads) for table in known.values()}
    names = {table.id: table.name for table in known.values() if table.id}
    for item in manifest.get("exposures", {}).values():
        label = f"exposure/{item.get('label') or item['name']}"
        reads[label] = [names[node] for node in item["depends_on"]["nodes"] if node in names]
    readers: dict[str, list[str]] = {}
    for reader, parents in reads.items():
        for parent in parents:
            readers.setdefault(parent, []).append(reader)
    above, below = _distances(name, reads), _distances(name, readers)
    place = {item: -distance for item, distance in above.items()} | below
    layers: dict[str, list[str]] = {}
    for item in sorted(place, key=lambda item: (place[item], item)):
        layers.setdefault(str(place[item]), []).append(item)
    edges = [(parent, reader) for reader in reads for parent in reads[reader] if {parent, reader} <= place.keys()]
    resources = sorted(known[name].bronze) if name in known else []
    return Steps(
        layers, edges, [(source, resource) for source, _, resource in (text.partition("/") for text in resources)]
    )


def _distances(start: str, following: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return what can be reached from `start`, with the number of steps of the longest way."""
    found = {start: 0}
    waiting = [start]
    while waiting:
        item = waiting.pop()
        for after in following.get(item, ()):
            if found.get(after, -1) < found[item] + 1:
                found[after] = found[item] + 1
                waiting.append(after)
    return found
