"""The sources of the dbt project, generated from the contracts."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import yaml

from scripts.config import settings
from scripts.contracts import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scripts.contracts.source import Resource, Source

_HEAD = "# Made by `pipeline sources generate` from scripts/sources/{name}.yml: change that file instead.\n"


def source_files() -> Mapping[Path, str]:
    """Return the content of dbt's source file of every contract by its path."""
    return {_path(source): _dbt_source(source) for source in catalog.load().values()}


def plain_text(text: str) -> str:
    """Return a text of a contract that dbt and its site show as it is: no Jinja, no HTML, no links."""
    shown = re.sub(r"([\[\]])", r"\\\1", html.escape(text, quote=False))
    return re.sub(r"\{(?=[{%#])", "{{ '{' }}", shown)


def _path(source: Source) -> Path:
    return settings().dbt_dir / "models" / "staging" / source.source / f"__{source.source}__sources.yml"


def _dbt_source(source: Source) -> str:
    location = (
        'read_parquet(\'{{ env_var("BRONZE_DIR", "../data/bronze") }}/' + source.source + "/${name}/*/*.parquet',"
        " hive_partitioning = true, hive_types = {'dt': date}, union_by_name = true)"
    )
    document = {
        "sources": [
            {
                "name": source.source,
                "description": plain_text(source.description),
                "config": {
                    "meta": {"owner": plain_text(source.owner), "formatter": "template", "external_location": location}
                },
                "tables": [_table(source, name, resource) for name, resource in source.resources.items()],
            }
        ]
    }
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
    return _HEAD.format(name=source.source) + text


def _table(source: Source, name: str, resource: Resource) -> dict[str, object]:
    pipeline_columns = [
        {"name": "_extra", "description": "Fields that the contract does not name, as JSON."},
        {"name": "_row", "description": "Position of the row among all that the source sent for the day."},
        {"name": "dt", "description": "Day (UTC) that the row was loaded for."},
    ]
    return {
        "name": name,
        "description": plain_text(resource.description),
        "config": {
            "meta": {"primary_key": list(resource.primary_key), "load_mode": resource.load.mode},
            "loaded_at_query": (
                "select max(dt) + interval 1 day from meta.partitions"  # noqa: S608 — checked names
                f" where source = '{source.source}' and resource = '{name}' and status = 'validated'"
            ),
            "freshness": {
                "warn_after": {"count": resource.freshness.warn_after_hours, "period": "hour"},
                "error_after": {"count": resource.freshness.error_after_hours, "period": "hour"},
            },
        },
        "columns": [
            *({"name": column.name, "description": plain_text(column.description)} for column in resource.columns),
            *pipeline_columns,
        ],
    }
