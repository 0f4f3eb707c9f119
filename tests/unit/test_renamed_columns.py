"""The macro that reads a renamed column under its new name, from files with either name or both."""

import duckdb
import pytest
import yaml

from scripts.contracts import catalog, source_yaml
from scripts.contracts.source import Source
from tests.support.macros import render


def written(renamed, rows):
    known = {"bronze_meta": lambda *_: {"renamed": renamed} if renamed else {}}
    return render("renamed_columns.sql", "with_new_names", "s", "r", rows, known=known)


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
    rows = written({"w": "v"}, f"read_parquet('{tmp_path}/*.parquet', union_by_name = true)")

    found = duckdb.sql(f"select id, w from {rows} order by id")

    assert found.columns == ["id", "w"]
    assert found.fetchall() == [(1, "x"), (2, "y")][: len(files)]


def test_without_renamed_columns_the_rows_are_read_as_they_are():
    assert written({}, "t").strip() == "t"


def test_the_generated_sources_name_renamed_columns(mocker):
    document = catalog.pick("coin_prices").model_dump(mode="json", exclude_defaults=True)
    document["resources"]["prices"]["columns"][1]["was"] = "dollars"
    mocker.patch.object(catalog, "load", return_value={"coin_prices": Source.model_validate(document)})

    (content,) = source_yaml.source_files().values()

    (table,) = yaml.safe_load(content)["sources"][0]["tables"]
    assert table["config"]["meta"]["renamed"] == {"usd": "dollars"}
