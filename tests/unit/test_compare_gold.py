"""The comment that says what a change does to Gold."""

import json

import duckdb
import pytest
from compare_gold import main

NODES = {"fct": ("gold", "id"), "dim": ("gold", ["a", "b"]), "stg": ("silver", "id")}


def side(folder, *, changed=(), statements=(), tables=("fct", "dim")):
    """Write what a demo leaves behind: a manifest and a warehouse."""
    key = "model.data_pipeline.{}".format
    manifest = {
        "nodes": {
            key(name): {
                "name": name,
                "schema": schema,
                "resource_type": "model",
                "checksum": {"checksum": f"{name}{name in changed}"},
                "config": {"unique_key": unique},
            }
            for name, (schema, unique) in NODES.items()
        },
        "child_map": {key("stg"): [key("fct")], key("fct"): ["exposure.page"]},
        "exposures": {"exposure.page": {"name": "page", "label": "The page", "depends_on": {"nodes": [key("fct")]}}},
        "macros": {},
    }
    (folder / "warehouse/dbt").mkdir(parents=True)
    (folder / "warehouse/dbt/manifest.json").write_text(json.dumps(manifest))
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute("create schema gold")
        if "fct" in tables:
            connection.execute("create table gold.fct as select i as id, i * 2 as amount from range(5) as r(i)")
        connection.execute("create table gold.dim as select 1 as a, null::int as b, 'x' as name")
        for statement in statements:
            connection.execute(statement)
    return folder


def test_nothing_changed(tmp_path):
    text = main(side(tmp_path / "base"), side(tmp_path / "head"))
    assert "touches: none. Exposures: none." in text
    assert "no row of Gold differs" in text


def test_a_changed_model_touches_what_is_made_from_it(tmp_path):
    text = main(side(tmp_path / "base"), side(tmp_path / "head", changed=["stg"]))
    assert "touches: `fct`. Exposures: `The page`." in text
    assert "no row of Gold differs" in text


@pytest.mark.parametrize(
    ("statements", "row"),
    [
        (["insert into gold.fct values (9, 1)"], "| `fct` | 1 | 0 | 0 | the same |"),
        (["delete from gold.fct where id < 2"], "| `fct` | 0 | 2 | 0 | the same |"),
        (["update gold.fct set amount = null where id = 3"], "| `fct` | 0 | 0 | 1 | the same |"),
        (["update gold.dim set name = 'y'"], "| `dim` | 0 | 0 | 1 | the same |"),
        (["alter table gold.fct add column more int"], "| `fct` | 0 | 0 | 0 | + `more` |"),
        (["alter table gold.fct drop column amount"], "| `fct` | 0 | 0 | 0 | - `amount` |"),
        (["alter table gold.fct alter amount type varchar"], "| `fct` | 0 | 0 | 0 | `amount` BIGINT → VARCHAR |"),
        (["create table gold.new as select 1 as x"], "| `new` | 1 | 0 | 0 | a new table |"),
        (["drop table gold.fct"], "| `fct` | 0 | 5 | 0 | the table is gone |"),
    ],
)
def test_each_kind_of_difference(tmp_path, statements, row):
    text = main(side(tmp_path / "base"), side(tmp_path / "head", statements=statements))
    assert row in text.splitlines()
    assert len([line for line in text.splitlines() if line.startswith("| `")]) == 1


def test_an_example_says_what_changed_where(tmp_path):
    change = ["update gold.fct set amount = 7 where id = 3"]
    text = main(side(tmp_path / "base"), side(tmp_path / "head", statements=change))
    assert "- `fct` 3: amount: 6 → 7" in text
