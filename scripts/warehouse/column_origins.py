"""What columns are computed from, as plain data; `column_lineage` reads it from SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind = Literal["same", "computed", "aggregated", "rows"]
"""How an input becomes a column: its value unchanged or cast to another type, a value computed from it, a value
computed from many of its rows, or the number of its rows."""
_ORDER: Sequence[Kind] = ("same", "computed", "aggregated", "rows")


class Input(msgspec.Struct, frozen=True):
    """A column that another column is computed from."""

    node: str
    """dbt's `unique_id` of the model, seed, snapshot or source."""
    column: str | None
    """None if only its rows are counted."""
    kind: Kind

    def place(self) -> tuple[str, str]:
        """Return what inputs are sorted by."""
        return self.node, self.column or ""


class Step(msgspec.Struct, frozen=True):
    """One expression on the way to a column."""

    name: str
    """The column, with the name of the query that computes it: `comments_per_event.comment_count`."""
    expression: str


class ColumnOrigin(msgspec.Struct, frozen=True):
    """What one column is computed from."""

    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    """The expressions from the last to the first, without those that only hand a column on."""
    is_whole: bool = True
    """Whether every input is known."""


class ModelColumns(msgspec.Struct, frozen=True):
    """The columns of one model, in their order."""

    columns: dict[str, ColumnOrigin]
    filters: tuple[str, ...] = ()
    """The conditions by which its SQL leaves rows out: `where`, `having`, `qualify` and joins that need a partner."""
    reads: tuple[str, ...] = ()
    """The nodes and sources that its rows come from."""
    problem: str = ""
    """Why the columns are not known; empty if they are."""


def sources_of(lineage: Mapping[str, ModelColumns], node: str, column: str) -> Sequence[Input]:
    """Return the columns of sources and seeds that a column is computed from, through all models."""
    found: dict[tuple[str, str | None], Kind] = {}
    waiting: list[Input] = [Input(node, column, "same")]
    seen: set[Input] = set()
    while waiting:
        item = waiting.pop()
        if item in seen:
            continue
        seen.add(item)
        model = lineage.get(item.node)
        if model is None or not model.reads:
            place = (item.node, item.column)
            found[place] = stronger(found.get(place, "same"), item.kind)
        elif item.column is None:
            waiting += [Input(read, None, "rows") for read in model.reads]
        else:
            below = model.columns.get(item.column)
            waiting += [
                Input(origin.node, origin.column, stronger(item.kind, origin.kind))
                for origin in (below.inputs if below else ())
            ]
    found.pop((node, column), None)
    return sorted((Input(*place, kind) for place, kind in found.items()), key=Input.place)


def is_known(lineage: Mapping[str, ModelColumns], node: str, column: str) -> bool:
    """Return whether everything that a column is computed from is known, through all models."""
    waiting, seen = [(node, column)], set()
    while waiting:
        place = waiting.pop()
        model = lineage.get(place[0])
        # a source or a seed has no columns below it
        if model is None or place in seen or not model.reads:
            continue
        seen.add(place)
        origin = model.columns.get(place[1])
        if model.problem or origin is None or not origin.is_whole:
            return False
        waiting += [(item.node, item.column) for item in origin.inputs if item.column is not None]
    return True


def stronger(one: Kind, other: Kind) -> Kind:
    """Return how a value becomes a column by two steps, one after the other."""
    return max(one, other, key=_ORDER.index)
