"""The sources of the dbt project, generated from the contracts."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import yaml

from scripts.config import settings
from scripts.contracts import catalog
from scripts.contracts.staging_model import staging_files

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


def source_files() -> Mapping[Path, str]:
    """Return the content of dbt's source file and of the generated staging models of every contract, by path."""
    files: dict[Path, str] = {}
    for source in catalog.load().values():
        files[_path(source)] = _dbt_source(source)
        files |= staging_files(source)
    return files


def plain_text(text: str) -> str:
    """Return a text of a contract that dbt and its site show as it is: no Jinja, no HTML, no links."""
    shown = re.sub(r"([\[\]])", r"\\\1", html.escape(text, quote=False))
    return re.sub(r"\{(?=[{%#])", "{{ '{' }}", shown)


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
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
    return _HEAD.format(name=source.source) + text


def _table(source: Source, name: str, resource: Resource) -> dict[str, object]:
    pipeline_columns = [
        _column("_extra", "varchar", "Fields that the contract does not name, as JSON."),
        _column("_row", "bigint", "Position of the row among all that the source sent for the day."),
        _column("dt", "date", "Day (UTC) that the row was loaded for."),
    ]
    renamed = {column.name: column.was for column in resource.columns if column.was is not None}
    return {
        "name": name,
        "description": plain_text(resource.description),
        "config": {
            "meta": {
                "primary_key": list(resource.primary_key),
                "load_mode": resource.load.mode,
                **({"renamed": renamed} if renamed else {}),
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
                _column(column.name, _DATA_TYPES.get(column.type, column.type), plain_text(column.description))
                for column in resource.columns
            ),
            *pipeline_columns,
        ],
    }


def _column(name: str, data_type: str, description: str) -> dict[str, object]:
    return {"name": name, "data_type": data_type, "description": description}
