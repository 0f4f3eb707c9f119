"""The rows of each model, kept in the warehouse file: how many there are, and how many follow from the layer below."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb


class ModelRows(NamedTuple):
    """The rows of one node, and where their number comes from."""

    node: str
    model: str
    layer: str
    """Its schema."""
    relation: str
    row_count: int
    expected_row_count: int | None
    expected_rows_reason: str | None
    source: str | None
    """The source and resource of a staging model with one row per key of Bronze; None for other nodes."""
    resource: str | None


def put_models(connection: duckdb.DuckDBPyConnection, models: Sequence[ModelRows]) -> None:
    """Replace the row counts of the nodes."""
    connection.execute("delete from _pipeline.models")
    if models:
        connection.executemany(f"insert into _pipeline.models values ({', '.join('?' * 9)})", [list(r) for r in models])  # noqa: S608 — placeholders


def counted_models(connection: duckdb.DuckDBPyConnection) -> Mapping[str, ModelRows]:
    """Return the row counts of the nodes, as the last build counted them."""
    return {row[0]: ModelRows(*row) for row in connection.execute("from _pipeline.models").fetchall()}
