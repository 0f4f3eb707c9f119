"""The macro that reads a renamed column under its new name, from files with either name or both."""

from types import SimpleNamespace

import duckdb
import jinja2
import pytest
import yaml

from scripts.config import PROJECT_DIR
from scripts.contracts import catalog, source_yaml
from scripts.contracts.source import Source

MACROS = (PROJECT_DIR / "dbt" / "macros" / "renamed_columns.sql").read_text()


class ReturnedError(Exception):
    """How dbt's `return` leaves a macro."""


def render(renamed, rows):
    found = {}

    def leave(value):
        found["value"] = value
        raise ReturnedError

    node = SimpleNamespace(
        source_name="s", name="r", config=SimpleNamespace(meta=SimpleNamespace(renamed=renamed)), meta=None
    )
    environment = jinja2.Environment(extensions=["jinja2.ext.do"], autoescape=False)
    graph = SimpleNamespace(sources={"x": node})
    inner = environment.from_string(MACROS, globals={"graph": graph, "return": leave}).module

    def renamed_columns(source_name, table_name):
        try:
            inner.renamed_columns(source_name, table_name)
        except ReturnedError:
            return found["value"]

    template = MACROS.partition("{% macro renamed_columns")[0]
    module = environment.from_string(template, globals={"renamed_columns": renamed_columns}).module
    return module.with_new_names("s", "r", rows)


@pytest.mark.parametrize(
    "files",
    [
        ["select 1 as id, 'x' as v"],
        ["select 1 as id, 'x' as w"],
        ["select 1 as id, 'x' as v", "select 2 as id, 'y' as w"],
        ["select 2 as id, 'y' as w", "select 1 as id, 'x' as v"],
    ],
)
def test_a_renamed_column_is_read_from_both_names(files, tmp_path):
    for number, query in enumerate(files):
        duckdb.execute(f"copy ({query}) to '{tmp_path}/{number}.parquet'")
    rows = render({"w": "v"}, f"read_parquet('{tmp_path}/*.parquet', union_by_name = true)")

    found = duckdb.sql(f"select id, w from {rows} order by id")

    assert found.columns == ["id", "w"]
    assert found.fetchall() == [(1, "x"), (2, "y")][: len(files)]


def test_without_renamed_columns_the_rows_are_read_as_they_are():
    assert render({}, "t").strip() == "t"


def test_the_generated_sources_name_renamed_columns(mocker):
    document = catalog.pick("coin_prices").model_dump(mode="json", exclude_defaults=True)
    document["resources"]["prices"]["columns"][1]["was"] = "dollars"
    mocker.patch.object(catalog, "load", return_value={"coin_prices": Source.model_validate(document)})

    (content,) = source_yaml.source_files().values()

    (table,) = yaml.safe_load(content)["sources"][0]["tables"]
    assert table["config"]["meta"]["renamed"] == {"usd": "dollars"}
