"""Builds from Bronze in a bucket: the same tables as from a folder, and the published version in the bucket too."""

import datetime as dt
import json

import pytest

from scripts.bronze.copying import copy_bronze
from scripts.bronze.run import Run
from scripts.bronze.stores import open_store
from scripts.errors import WarehouseError
from scripts.loading.partitions import load, partitions
from scripts.monitoring.status import read_status
from scripts.utils.buckets import Bucket
from scripts.warehouse import remote
from scripts.warehouse.build import build_warehouse, roll_back, warehouse
from tests.support.tables import tables

pytestmark = [pytest.mark.scale, pytest.mark.slow]
DAYS = [dt.date(2024, 1, 1), dt.date(2024, 1, 2)]
SOURCES = ("jsonplaceholder", "coin_prices")


def load_days(run, days):
    outcomes = load(run, partitions(days, SOURCES))
    assert [outcome.error for outcome in outcomes if outcome.error] == []


def test_a_bucket_gives_the_tables_of_a_folder_also_where_days_change(bucket, run, api, env, tmp_path):
    load_days(run, DAYS)
    first = build_warehouse(run)
    assert first.version == "000001"
    build_warehouse(run)
    load_days(run, [DAYS[1], DAYS[1] + dt.timedelta(days=1)])
    second = build_warehouse(run)
    assert {partition.day for partition in second.partitions} == {DAYS[1] + dt.timedelta(days=1)}, (
        "same rows, same hash"
    )
    assert read_status(run.store, content=True).problems == []
    assert read_status(run.store).problems == []
    from_bucket = tables(warehouse().path)
    location = run.store.location

    env("BRONZE_DIR", tmp_path / "copy")
    env("DATA_DIR", tmp_path / "other")
    folder = open_store()
    copy_bronze(open_store(location), folder, timeout=0)
    build_warehouse(Run.create(triggered_by="test"))
    assert tables(warehouse().path) == from_bucket
    assert len(from_bucket) > 5


def test_each_version_is_published_to_the_bucket_and_can_be_fetched(bucket, run, api, env, tmp_path):
    url = bucket.new_prefix()
    env("WAREHOUSE_URL", url)
    there = Bucket(url, bucket.variables())
    copy = tmp_path / "elsewhere" / "warehouse.duckdb"
    with pytest.raises(WarehouseError, match="no version is published there"):
        remote.fetch(copy)

    load_days(run, DAYS[:1])
    build_warehouse(run)
    assert remote.fetch(copy).version == "000001"
    assert remote.fetch(copy) is None
    assert tables(copy) == tables(warehouse().path)
    pointer = json.loads(there.get(remote.POINTER).content)
    build_warehouse(run)
    named = {pointer["path"], *pointer["gold"].values()}
    assert pointer["gold"].keys() >= {"dim_users", "fct_events"}
    assert {found.name for found in there.list("versions")} == named, "a build without work uploads nothing"

    load_days(run, DAYS[1:])
    build_warehouse(run)
    assert json.loads(there.get(remote.POINTER).content)["version"] == "000002"
    assert remote.fetch(copy).version == "000002"
    roll_back(run)
    assert remote.fetch(copy).version == "000001"
    assert tables(copy) == tables(warehouse().path)

    path = json.loads(there.get(remote.POINTER).content)["path"]
    there.put(path, b"of somebody")
    copy.unlink()
    with pytest.raises(WarehouseError, match="is not there as it was published"):
        remote.fetch(copy)
    assert list(copy.parent.iterdir()) == []


@pytest.mark.long
def test_the_demo_gives_the_same_tables_with_bronze_in_a_bucket_and_leaves_that_of_env_alone(bucket, start, tmp_path):
    mine, places = bucket.new_prefix(), {"bucket": bucket.new_prefix(), "folder": ""}
    # what a user's own settings name
    of_user = {
        "BRONZE_DIR": mine,
        "WAREHOUSE_URL": f"{mine}/warehouse",
        "DB_CONNECTION_STRING": "duckdb:///mine.duckdb",
    }
    found = {}
    for name, place in places.items():
        done = start("demo", DEMO_DIR=tmp_path / name, DEMO_BRONZE_DIR=place, **of_user)
        assert done.returncode == 0, done.stderr
        found[name] = tables(tmp_path / name / "warehouse.duckdb")
    assert found["bucket"] == found["folder"]
    assert len(found["bucket"]["gold.fct_events"]) > 100
    assert not (tmp_path / "bucket" / "bronze").exists()
    assert (tmp_path / "folder" / "bronze").exists()
    assert list(Bucket(mine, bucket.variables()).list()) == []
