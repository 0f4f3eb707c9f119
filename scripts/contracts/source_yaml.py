"""The sources of the dbt project, generated from the contracts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.config import settings
from scripts.contracts import catalog
from scripts.contracts.deletes import Tombstone
from scripts.contracts.model_files import generated_models
from scripts.contracts.safe_text import plain_text, yaml_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scripts.contracts.source import Resource, Source

_HEAD = "# Made by `pipeline sources generate` from scripts/sources/{name}.yml: change that file instead.\n"


_DATA_TYPES = {
    "string": "varchar",
    "integer": "bigint",
    "number": "double",
    "timestamp": "timestamp with time zone",
    "json": "varchar",
}


def sql_type(kind: str) -> str:
    """Return DuckDB's name for a type of the contract."""
    return _DATA_TYPES.get(kind, kind)


def source_files() -> Mapping[Path, str]:
    """Return the content of dbt's source file and of the generated staging models of every contract, by path."""
    files: dict[Path, str] = {}
    for source in catalog.load().values():
        files[_path(source)] = _dbt_source(source)
        files |= generated_models(source)
    return files


def _path(source: Source) -> Path:
    return settings().dbt_dir / "models" / "staging" / source.source / f"__{source.source}__sources.yml"


def _dbt_source(source: Source) -> str:
    document = {
        "sources": [
            {
                "name": source.source,
                "description": plain_text(source.description),
                "config": {"meta": {"owner": plain_text(source.owner)}},
                "tables": [_table(source, name, resource) for name, resource in source.resources.items()],
            }
        ]
    }
    return _HEAD.format(name=source.source) + yaml_text(document)


def _table(source: Source, name: str, resource: Resource) -> dict[str, object]:
    pipeline_columns = [
        _column("_extra", "varchar", "Fields that the contract does not name, as JSON."),
        _column("_row", "bigint", "Position of the row among all that the source sent for the day."),
        _column("dt", "date", "Day (UTC) that the row was loaded for."),
    ]
    hashed, dropped = resource.treated_columns("hash"), resource.treated_columns("drop")
    renamed = {column.name: column.was for column in resource.columns if column.was is not None}
    return {
        "name": name,
        "description": plain_text(resource.description),
        "config": {
            "meta": {
                "primary_key": list(resource.primary_key),
                "load_mode": resource.load.mode,
                **({"renamed": renamed} if renamed else {}),
                **({"deletes": _deletes(resource)} if resource.deletes else {}),
                **({"hashed": list(hashed)} if hashed else {}),
                **({"dropped": list(dropped)} if dropped else {}),
            },
            "loaded_at_query": (
                "select max(dt) + interval 1 day from _pipeline.partitions"  # noqa: S608 — checked names
                f" where source = '{source.source}' and resource = '{name}' and status = 'validated'"
                " and dt <= current_date"
            ),
            "freshness": {
                "warn_after": {"count": resource.freshness.warn_after_hours, "period": "hour"},
                "error_after": {"count": resource.freshness.error_after_hours, "period": "hour"},
            },
        },
        "columns": [
            *(
                _column(
                    column.name,
                    "varchar" if column.sensitive == "hash" else sql_type(column.type),
                    plain_text(column.description),
                )
                for column in resource.columns
                if column.sensitive != "drop"
            ),
            *pipeline_columns,
        ],
    }


def _deletes(resource: Resource) -> str | dict[str, object]:
    deletes = resource.deletes
    if not isinstance(deletes, Tombstone):
        return "detect"
    is_moment = resource.column(deletes.column).type in {"date", "timestamp"}
    return {"column": deletes.column, "values": list(deletes.values), "is_moment": is_moment}


def _column(name: str, data_type: str, description: str) -> dict[str, object]:
    return {"name": name, "data_type": data_type, "description": description}
