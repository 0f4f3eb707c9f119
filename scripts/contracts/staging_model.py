"""Staging models made from contracts: they rename and cast, and stay generated until a person makes them their own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from scripts.config import settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scripts.contracts.column import Column
    from scripts.contracts.source import Resource, Source

MARK = (
    "Made by `pipeline sources generate` from scripts/sources/{name}.yml; delete this line to make the file your own."
)
_GROUPS = {
    "ids": "ids",
    "string": "strings",
    "json": "strings",
    "boolean": "booleans",
    "timestamp": "timestamps",
    "date": "dates",
}
_ADDED = ("extra_fields_json", "loaded_date", "first_seen_date", "last_seen_date")
"""Columns that each staging model has beside those of the contract."""
_ORDER = ("ids", "strings", "numerics", "booleans", "timestamps", "dates")


def staging_files(source: Source, *, every: bool = False) -> Mapping[Path, str]:
    """Return the staging models of a source that are generated, by their paths; with `every`, all of them."""
    folder = settings().dbt_dir / "models" / "staging" / source.source
    mark = MARK.format(name=source.source)
    files = {}
    for name, resource in source.resources.items():
        model = folder / f"stg_{source.source}__{name}"
        texts = {
            ".sql": f"-- {mark}\n{_sql(source, name, resource)}",
            ".yml": f"# {mark}\n{_yaml(source, name, resource)}",
        }
        for suffix, text in texts.items():
            path = model.with_name(model.name + suffix)
            if every or (path.exists() and mark in path.read_text(encoding="utf-8").partition("\n")[0]):
                files[path] = text
    return files


def _sql(source: Source, name: str, resource: Resource) -> str:
    names = _names(name, resource)
    key = [names.get(column, "loaded_date") for column in resource.primary_key]
    unique = f"'{key[0]}'" if len(key) == 1 else "[" + ", ".join(f"'{column}'" for column in key) + "]"
    groups: dict[str, list[str]] = {group: [] for group in _ORDER}
    for column in resource.columns:
        groups[_group(column, resource)].append(_expression(column, names[column.name], resource))
    groups["strings"].append("_extra as extra_fields_json")
    if "dt" in resource.primary_key:
        groups["dates"].append("last_seen_date as loaded_date")
    groups["dates"] += ["first_seen_date", "last_seen_date"]
    blocks = [
        f"        ---------- {group}\n" + "\n".join(f"        {line}," for line in lines)
        for group, lines in groups.items()
        if lines
    ]
    selected = "\n\n".join(blocks).removesuffix(",")
    return (
        f"{{{{ config(unique_key={unique}) }}}}\n\nwith\n\nsource as (\n\n"  # noqa: S608 — names of the contract
        f"    select * from {{{{ latest_row_per_key('{source.source}', '{name}') }}}}\n\n),\n\nrenamed as (\n\n"
        f"    select\n{selected}\n    from source\n\n)\n\nselect * from renamed\n"
    )


def _yaml(source: Source, name: str, resource: Resource) -> str:
    names = _names(name, resource)
    is_key = len(resource.primary_key) == 1
    columns: list[dict[str, Any]] = []
    for column in resource.columns:
        tests = ["not_null"] if column.name in resource.required else []
        tests = ["unique", *tests] if is_key and column.name in resource.primary_key else tests
        columns.append(_described(names[column.name], column.description, tests))
    columns.append(_described("extra_fields_json", "Fields that the contract does not name, as JSON.", []))
    if "dt" in resource.primary_key:
        columns.append(_described("loaded_date", "Day (UTC) that the row was loaded for.", ["not_null"]))
    columns.append(_described("first_seen_date", "First day (UTC) whose load held the row.", ["not_null"]))
    last = "Last day (UTC) whose load held the row; the version is of this day."
    columns.append(_described("last_seen_date", last, ["not_null"]))
    covers = {"covers_bronze": {"arguments": {"source_name": source.source, "resource": name}}}
    model = {
        "name": f"stg_{source.source}__{name}",
        "description": f"{resource.description} One row per key: the version of the latest day.",
        "data_tests": [covers],
        "columns": columns,
    }
    text: str = yaml.safe_dump({"models": [model]}, sort_keys=False, allow_unicode=True, width=110)
    return text


def _described(name: str, description: str, tests: list[str]) -> dict[str, Any]:
    # a name may be a word of SQL such as `order`
    return {"name": name, "description": description, "quote": True, **({"data_tests": tests} if tests else {})}


def _names(resource_name: str, resource: Resource) -> dict[str, str]:
    """Return the name of each column in Silver: in snake case, `id` with what it identifies."""
    names: dict[str, str] = {}
    taken = set(_ADDED)
    for column in resource.columns:
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column.name).lower()
        name = f"{_singular(resource_name)}_id" if name == "id" else name
        while name in taken:
            name += "_as_sent"
        names[column.name] = name
        taken.add(name)
    return names


def _singular(name: str) -> str:
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name


def _group(column: Column, resource: Resource) -> str:
    if column.name in resource.primary_key or column.name.lower().endswith("id"):
        return "ids" if column.type in {"string", "integer"} else _GROUPS.get(column.type, "numerics")
    return _GROUPS.get(column.type, "numerics")


def _expression(column: Column, name: str, resource: Resource) -> str:
    quoted = f'"{column.name}"'
    if column.type == "integer" and _group(column, resource) == "ids":
        return f'cast({quoted} as varchar) as "{name}"'
    return f'{quoted} as "{name}"' if quoted.strip('"') != name else f'"{name}"'
