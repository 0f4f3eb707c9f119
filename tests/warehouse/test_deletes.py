"""Deleted rows: found by what a snapshot lacks or by a column, kept in Silver, left out of marts; in any order."""

import datetime as dt
import json
import sys
from pathlib import Path

import duckdb
import pytest
import yaml

from scripts.admin import generated_files, new_source
from scripts.bronze.ledger import Partition
from scripts.bronze.run import Run
from scripts.contracts import source_yaml
from scripts.errors import WarehouseError
from scripts.loading.partitions import load, partitions
from scripts.utils.days import day_range
from scripts.warehouse.build import build_warehouse, warehouse
from tests.support.answering import answering
from tests.support.project import empty_project
from tests.support.tables import tables

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
ID = {"name": "id", "type": "integer", "nullable": False, "description": "Key."}
SNAPSHOT = {"description": "x", "primary_key": ["id"], "params": {"day": "{day}"}}
RESOURCES = {
    "orders": {**SNAPSHOT, "path": "/orders", "columns": [ID], "deletes": "detect"},
    "users": {
        **SNAPSHOT,
        "path": "/users",
        "columns": [ID, {"name": "state", "type": "string", "description": "State."}],
        "deletes": {"column": "state", "values": ["it's gone", "archived"]},
    },
    "shops": {
        **SNAPSHOT,
        "path": "/shops",
        "columns": [ID, {"name": "deletedAt", "type": "timestamp", "description": "When."}],
        "deletes": {"column": "deletedAt"},
    },
}
BAD = "no number"
ANSWERS = {
    "orders": {1: [1, 2, 3, 4, 5], 2: [1, 3, 4], 3: [1, 4, BAD], 4: [1, 5], 5: [1, 4]},
    "users": {1: [[1, "new"], [2, "it's gone"]], 2: [[1, "archived"]], 3: [[2, "new"], [3, "archived"]], 4: [], 5: []},
    "shops": {1: [[1, None], [2, None]], 2: [[1, "2024-01-01T23:30:00-01:00"]], 3: [], 4: [], 5: []},
}


def answer(ask):
    name, day = ask.path.strip("/"), int(ask.query["day"][-2:])
    rows = [row if isinstance(row, list) else [row] for row in ANSWERS[name][day]]
    fields = [column["name"] for column in RESOURCES[name]["columns"]]
    body = json.dumps([dict(zip(fields, row, strict=True)) for row in rows]).encode()
    return 200, {"Content-Type": "application/json"}, body


@pytest.fixture
def shop(tmp_path, monkeypatch, env):
    """A source with its generated models, and a function that loads days."""
    project = empty_project(tmp_path / "project", monkeypatch)
    with answering(answer) as (base, _):
        text = {"source": "shop", "description": "x", "owner": "me@example.com", "base_url": base}
        document = {**text, "default_resource": "orders", "resources": RESOURCES}
        new_source.write_source("shop", yaml.safe_dump(document))
        generated_files.write_files(source_yaml.source_files())

        def load_days(*days):
            for day in days:
                text = f"2024-01-{day:02}"
                outcomes = load(Run.create(triggered_by="test"), partitions(day_range(text, text), ["shop"]))
                assert [outcome.error for outcome in outcomes if outcome.error] == []

        yield project, load_days


def build(**options):
    return build_warehouse(Run.create(triggered_by="test"), **options)


def deleted(resource):
    key = f"{resource[:-1]}_id"
    with duckdb.connect(str(warehouse().path), read_only=True) as connection:
        rows = connection.execute(
            f"select {key}, deleted_date from silver.stg_shop__{resource} order by all"
        ).fetchall()
        kept = connection.execute(f"select {key} from gold.fct_shop__{resource} order by all").fetchall()
    assert [key for key, day in rows if day is None] == [row[0] for row in kept]
    return {key: day.day for key, day in rows if day}


def test_deleted_rows_are_known_in_any_order_and_left_out_of_marts(shop, monkeypatch, start):
    """Each state is the one of a build from nothing, also after late days, and after a row left the quarantine."""
    project, load_days = shop
    load_days(1, 2)
    build()
    assert deleted("orders") == {"2": 2, "5": 2}
    assert deleted("users") == {"1": 2, "2": 1}
    assert deleted("shops") == {"1": 2}

    # the third day has a row in quarantine: it does not say that 3 is gone
    load_days(3)
    build()
    assert deleted("orders") == {"2": 2, "5": 2}
    assert deleted("users") == {"1": 2, "3": 3}

    load_days(5)
    build()
    assert deleted("orders") == {"2": 2, "5": 2, "3": 5}

    # a late day has 5 again, and lacks 3; the third day is loaded again, without the row that was in quarantine
    monkeypatch.setitem(ANSWERS["orders"], 3, [1, 4])
    load_days(4, 3)
    build()
    assert deleted("orders") == {"2": 2, "3": 3, "5": 5}
    as_built = tables(warehouse().path)

    # the last day has one row less, and a day is taken away
    monkeypatch.setitem(ANSWERS["orders"], 5, [1])
    load_days(5)
    store, second = Run.create(triggered_by="test").store, Partition("shop", "orders", dt.date(2024, 1, 2))
    store.entry_path(second).unlink()
    store.data_path(second).unlink()
    build()
    assert deleted("orders") == {"2": 3, "3": 3, "4": 4, "5": 5}
    by_days = tables(warehouse().path)

    build(full_refresh=True)
    assert tables(warehouse().path) == by_days
    assert by_days != as_built

    by_hand = project.parent / "by_hand.duckdb"
    dbt = [Path(sys.executable).with_name("dbt"), "run", "--profiles-dir", "."]
    environ = {"BRONZE_DIR": str(store.root), "WAREHOUSE_BUILD": str(by_hand)}
    done = start(program=dbt, cwd=project / "dbt", **environ)
    assert done.returncode == 0, done.stdout
    assert tables(by_hand) == by_days


def test_a_staging_model_that_leaves_deletes_out_is_refused(shop):
    project, load_days = shop
    load_days(1)
    (path,) = project.rglob("stg_shop__orders.sql")
    path.write_text("-- mine\n" + path.read_text().partition("\n")[2].replace("deleted_date", "null as gone"))

    with pytest.raises(WarehouseError, match="whose contract has `deletes`, and does not select `deleted_date`"):
        build()
