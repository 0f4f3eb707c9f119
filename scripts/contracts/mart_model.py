"""Starting marts generated from contracts: a table with the rows of Silver and its own dbt contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from scripts.contracts.safe_text import plain_text, python_list, yaml_text
from scripts.contracts.silver_columns import key_tests, silver_columns, silver_key, singular
from scripts.contracts.staging_model import staging_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.contracts.source import Resource


class _Column(NamedTuple):
    name: str
    data_type: str
    description: str
    is_required: bool


def mart_name(source_name: str, resource_name: str) -> str:
    """Return the name of the starting mart of a resource."""
    return f"fct_{source_name}__{resource_name}"


def mart_sql(source_name: str, name: str, resource: Resource) -> str:
    """Return the SQL of a resource's starting mart."""
    staging, key = staging_name(source_name, name), silver_key(name, resource)
    keys = python_list(key)
    unique = keys if len(key) > 1 else f"'{key[0]}'"
    condition, is_counted, words = "", "", ""
    if resource.deletes:
        condition, is_counted = "\n    where {{ not_deleted() }}", " where deleted_date is null"
        words = " that is not deleted"
    selected = ",\n".join(f"        {column.name}" for column in _columns(name, resource))
    return f"""\
{{{{
    config(
        unique_key={unique},
        meta={{
            'affected_by': {{'{staging}': {keys}}},
            'expected_rows_sql': 'select count(*) from silver.{staging}{is_counted}',
            'expected_rows_reason': 'one row per {singular(name)} in Silver{words}',
        }},
    )
}}}}

with

staged as (

    select * from {{{{ ref('{staging}') }}}}{condition}
    {{% if is_incremental() %}}
    {"and" if condition else "where"} {{{{ in_affected_keys({keys}) }}}}
    {{% endif %}}

),

final as (

    select
{selected}
    from staged

)

select * from final
"""  # noqa: S608 — names of the contract


def mart_yaml(source_name: str, name: str, resource: Resource) -> str:
    """Return the YAML of a resource's starting mart."""
    tests, of_key = key_tests(silver_key(name, resource))
    columns: list[dict[str, Any]] = []
    for column in _columns(name, resource):
        own = [*of_key.get(column.name, []), *(["not_null"] if column.is_required else [])]
        about = {"name": column.name, "data_type": column.data_type, "description": column.description}
        columns.append({**about, **({"data_tests": own} if own else {})})
    model = {
        "name": mart_name(source_name, name),
        "description": f"One row per {singular(name)}. {plain_text(resource.description)}",
        **({"data_tests": tests} if tests else {}),
        "columns": columns,
    }
    return yaml_text({"models": [model]})


def _columns(name: str, resource: Resource) -> Sequence[_Column]:
    """Return the columns of the mart, without `last_seen_date`: it changes at every load, so every row would change."""
    own = [
        _Column(column.name, column.data_type, plain_text(column.description), column.is_required)
        for column in silver_columns(name, resource)
    ]
    if "dt" in resource.primary_key:
        own.append(_Column("loaded_date", "date", "Day (UTC) that the row was loaded for.", True))
    return [*own, _Column("first_seen_date", "date", "First day (UTC) whose load held the row.", True)]
