"""Staging models generated from contracts: they rename and cast columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scripts.contracts.deletes import DELETED
from scripts.contracts.safe_text import plain_text, python_list, yaml_text
from scripts.contracts.silver_columns import GROUPS, key_tests, silver_columns, silver_key, singular

if TYPE_CHECKING:
    from scripts.contracts.source import Resource


def staging_name(source_name: str, resource_name: str) -> str:
    """Return the name of the staging model of a resource."""
    return f"stg_{source_name}__{resource_name}"


def staging_sql(source_name: str, name: str, resource: Resource) -> str:
    """Return the SQL of a resource's staging model."""
    key = silver_key(name, resource)
    unique = f"'{key[0]}'" if len(key) == 1 else python_list(key)
    groups: dict[str, list[str]] = {group: [] for group in GROUPS}
    for column in silver_columns(name, resource):
        groups[column.group].append(column.expression)
    groups["strings"].append("_extra as extra_fields_json")
    if "dt" in resource.primary_key:
        groups["dates"].append("last_seen_date as loaded_date")
    groups["dates"] += ["first_seen_date", "last_seen_date", *([DELETED] if resource.deletes else [])]
    blocks = [
        f"        ---------- {group}\n" + "\n".join(f"        {line}," for line in lines)
        for group, lines in groups.items()
        if lines
    ]
    selected = "\n\n".join(blocks).removesuffix(",")
    return (
        f"{{{{ config(unique_key={unique}) }}}}\n\nwith\n\nsource as (\n\n"  # noqa: S608 — names of the contract
        f"    select * from {{{{ latest_row_per_key('{source_name}', '{name}') }}}}\n\n),\n\nrenamed as (\n\n"
        f"    select\n{selected}\n    from source\n\n)\n\nselect * from renamed\n"
    )


def staging_yaml(source_name: str, name: str, resource: Resource) -> str:
    """Return the YAML of a resource's staging model."""
    key = silver_key(name, resource)
    tests, of_key = key_tests(key)
    columns: list[dict[str, Any]] = [
        _described(column.name, plain_text(column.description), column.is_required, of_key.get(column.name, []))
        for column in silver_columns(name, resource)
    ]
    columns.append(_described("extra_fields_json", "Fields that the contract does not name, as JSON.", False, []))
    if "dt" in resource.primary_key:
        day = "Day (UTC) that the row was loaded for."
        columns.append(_described("loaded_date", day, True, of_key.get("loaded_date", [])))
    columns.append(_described("first_seen_date", "First day (UTC) whose load held the row.", True, []))
    last = "Last day (UTC) whose load held the row; the version is of this day."
    columns.append(_described("last_seen_date", last, True, []))
    if resource.deletes:
        columns.append(_described(DELETED, "Day (UTC) since which the source no longer has the row.", False, []))
    grain = f"One row per {singular(name)}"
    covers = {"covers_bronze": {"arguments": {"source_name": source_name, "resource": name}}}
    model = {
        "name": staging_name(source_name, name),
        "description": f"{grain}: the version of the latest day. {plain_text(resource.description)}",
        "data_tests": [covers, *tests],
        "columns": columns,
    }
    return yaml_text({"models": [model]})


def _described(name: str, description: str, is_required: bool, tests: list[str]) -> dict[str, Any]:  # noqa: FBT001
    all_tests = [*tests, *(["not_null"] if is_required else [])]
    return {"name": name, "description": description, **({"data_tests": all_tests} if all_tests else {})}
