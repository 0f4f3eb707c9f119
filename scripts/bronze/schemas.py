"""The schemas of all resources in Bronze, for builds before the first load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.contracts import catalog
from scripts.contracts.types import arrow_schema

if TYPE_CHECKING:
    from scripts.bronze.store import Store


def write_schemas(store: Store) -> None:
    """Update the files that hold the columns of each resource and no rows."""
    for source in catalog.read_all().sources.values():
        for name, resource in source.resources.items():
            store.write_schema(source.source, name, arrow_schema(resource))
