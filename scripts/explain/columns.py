"""Explains a column: the columns that it is computed from, down to the fields of the contracts."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from scripts.errors import UsageError
from scripts.explain.explanation import ColumnExplanation, ColumnStep
from scripts.explain.project import Resource
from scripts.explain.reader import opened
from scripts.warehouse.manifest import description_of

if TYPE_CHECKING:
    from scripts.explain.project import Table
    from scripts.explain.reader import Reader

_DAYS = {
    "first_seen_date": "the first day whose load held the row",
    "last_seen_date": "the last day whose load held the row",
    "deleted_date": "the day since which the source no longer has the row",
    "dt": "the day that the row was loaded for",
    "_row": "the position of the row among all that the source sent for the day",
    "_extra": "the fields that the contract does not name, as JSON",
}
"""Columns that the pipeline adds to those of the contract."""


def explain_column(name: str) -> ColumnExplanation:
    """Return what a column is computed from.

    Args:
        name: The column with its table, such as `fct_events.comment_count`, `gold.fct_events.comment_count` or
            `jsonplaceholder.posts.userId`.

    Raises:
        UsageError: There is no such table or column.
        WarehouseError: There is no published version.
    """
    place, _, column = name.rpartition(".")
    if not place:
        raise UsageError(f"--column `{name}` names no table", expected="TABLE.COLUMN, such as fct_events.comment_count")
    with opened() as reader:
        found = reader.tables.find(place)
        columns = list(found.types) if isinstance(found, Resource) else list(reader.columns(found))
        own = next((known for known in columns if known.lower() == column.lower()), None)
        if own is None:
            near = difflib.get_close_matches(column, columns, n=3) or columns
            raise UsageError(f"`{place}` has no column `{column}`", expected=f"one of {', '.join(near)}")
        return ColumnExplanation(reader.version, reader.built_at, _Walk(reader).step(found.id, own, "", set()))


class _Walk:
    """Follows a column down; a column that has been shown is not followed again."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def step(self, node: str, column: str | None, how: str, seen: set[tuple[str, str | None]]) -> ColumnStep:
        """Return a column with what it is computed from; without a column, the rows of a table."""
        reader = self._reader
        if (resource := reader.tables.resources.get(node)) is not None:
            return self._field(resource, column, how)
        if (table := reader.tables.tables.get(node)) is None:
            return ColumnStep(node, column or "", how=how, note="not a resource of a contract: not followed")
        shown = self._of_table(table, column, how)
        if (node, column) in seen:
            shown.note = "see above"
        else:
            seen.add((node, column))
            self._follow(shown, table, column, seen)
        return shown

    def _follow(self, shown: ColumnStep, table: Table, column: str | None, seen: set[tuple[str, str | None]]) -> None:
        model = self._reader.manifest.columns.get(table.id)
        if model is None or model.problem:
            shown.note = f"what it is computed from is not known: {model.problem if model else 'it is no model'}"
        elif column is None:
            shown.inputs = [self.step(read, None, "rows", seen) for read in model.reads]
        elif (origin := model.columns.get(column)) is not None:
            if any(item.kind in {"rows", "aggregated"} for item in origin.inputs):
                shown.filters = list(model.filters)
            shown.steps = [(step.name, step.expression) for step in origin.steps]
            shown.inputs = [self.step(item.node, item.column, item.kind, seen) for item in origin.inputs]
            if table.kind == "seed":
                shown.note = f"a column of the seed {table.path}"
            elif not origin.is_whole:
                shown.note = "computed from more than could be read from the SQL"
        else:
            shown.note = "added by dbt"

    def _of_table(self, table: Table, column: str | None, how: str) -> ColumnStep:
        node = self._reader.manifest.nodes[table.id]
        types = self._reader.columns(table)
        described = {name.lower(): found for name, found in (node.get("columns") or {}).items()}
        about = described.get((column or "").lower(), {})
        kind = types.get(column or "", "").lower()
        return ColumnStep(table.name, column or "", kind, description_of(about), how)

    def _field(self, resource: Resource, column: str | None, how: str) -> ColumnStep:
        name = f"Bronze {resource.full_name}"
        contract = self._reader.contracts.columns(resource).get(column or "")
        kind = resource.types.get(column or "", "")
        step = ColumnStep(name, column or "", kind, how=how)
        if contract is not None:
            step.description = description_of(contract)
            step.field = {
                "source": resource.source,
                "resource": resource.name,
                "path": contract.get("field") or contract["name"],
                "type": contract.get("type"),
                "nullable": contract.get("nullable", True) and contract["name"] not in resource.primary_key,
                "sensitive": contract.get("sensitive", False),
            }
        elif column is not None:
            step.note = _DAYS.get(column, "not a column of the present contract")
        return step
