"""Where the columns of a table come from: the fields of contracts, and whether one of these is sensitive."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scripts.contracts import catalog
from scripts.warehouse import kept_manifest
from scripts.warehouse.column_origins import Input, is_known, sources_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.warehouse.versions import Warehouse

_OTHER_FIELDS = "_extra"
"""The column of Bronze with the fields that the contract does not name; one of them may be a sensitive one."""


class Field(NamedTuple):
    """A field of a resource that a column is computed from."""

    source: str
    resource: str
    name: str
    """Empty if only the rows of the resource are counted."""
    is_sensitive: bool


class Origins:
    """The origins of columns, as the version keeps them."""

    def __init__(self, target: Warehouse, version: str) -> None:
        """Read what the version keeps; a version of an earlier release keeps nothing."""
        self._kept = kept_manifest.read(target, version) or kept_manifest.KeptManifest()
        self._sources = catalog.read_all().sources

    def fields(self, node: str, column: str) -> Sequence[Field] | None:
        """Return the fields that a column is computed from; None if they are not known."""
        if node not in self._kept.columns or not is_known(self._kept.columns, node, column):
            return None
        found = [self._field(item) for item in sources_of(self._kept.columns, node, column)]
        return [field for field in found if field is not None] if None not in found else None

    def _field(self, item: Input) -> Field | None:
        about = self._kept.sources.get(item.node, {})
        source, resource = str(about.get("source_name", "")), str(about.get("name", ""))
        contract = self._sources.get(source)
        known = contract.resources.get(resource) if contract else None
        if known is None:
            return None
        column = item.column or ""
        sensitive = known.sensitive_columns
        is_sensitive = item.kind != "rows" and (column in sensitive or (column == _OTHER_FIELDS and bool(sensitive)))
        return Field(source, resource, column, is_sensitive)
