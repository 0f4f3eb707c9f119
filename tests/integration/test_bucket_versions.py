"""The published warehouse in a bucket, with versions that are made without dbt."""

import datetime as dt
import json

import duckdb
import msgspec
import pytest

from scripts.config import settings
from scripts.errors import LockedError, StorageUnavailableError, UsageError, WarehouseError
from scripts.utils import buckets
from scripts.utils.buckets import Bucket
from scripts.warehouse import gold_files, remote
from scripts.warehouse.gold_files import GoldFile, GoldFiles
from scripts.warehouse.versions import Warehouse, writing
from tests.support.object_server import Fault

pytestmark = pytest.mark.scale


@pytest.fixture
def url(proxied, bucket, env):
    env("WAREHOUSE_URL", bucket.new_prefix())
    return settings().warehouse_url


@pytest.fixture
def there(bucket, url):
    return Bucket(url, bucket.variables())


@pytest.fixture
def warehouse():
    return Warehouse(settings().warehouse_path)


def publish(warehouse, number):
    """Publish a version whose only table holds a number, in Gold too."""
    with warehouse.building(purpose="a test", timeout=0):
        with writing(warehouse.clone()) as connection:
            connection.execute("create or replace table numbers as select ? as number", [number])
            folder = warehouse.workspace / gold_files.GOLD
            folder.mkdir(exist_ok=True)
            connection.execute(f"copy numbers to '{folder}/numbers.parquet'")
        tables = (GoldFile("large", "1", 10, "it has too many rows"), GoldFile("numbers", str(number), 1))
        (folder / gold_files.LIST).write_bytes(msgspec.json.encode(GoldFiles(warehouse.next_version(), tables)))
        warehouse.publish(keep=3)


def number_in(path):
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute("select number from numbers").fetchone()[0]


def test_a_version_is_published_once_and_fetched_once(url, there, warehouse, tmp_path, proxied):
    copy = tmp_path / "elsewhere" / "warehouse.duckdb"
    with pytest.raises(WarehouseError, match="no version is published there"):
        remote.fetch(copy)
    remote.publish_to_bucket(warehouse)
    assert list(there.list()) == [], "there is no version yet"

    publish(warehouse, 1)
    remote.publish_to_bucket(warehouse)
    assert remote.fetch(copy).version == "000001"
    assert number_in(copy) == 1
    proxied.requests.clear()
    assert remote.fetch(copy) is None
    remote.publish_to_bucket(warehouse)
    assert {method for method, _ in proxied.requests} == {"GET"}, "nothing is written or downloaded again"
    assert len(proxied.requests) == 2

    publish(warehouse, 2)
    remote.publish_to_bucket(warehouse)
    assert remote.fetch(copy).version == "000002"
    assert number_in(copy) == 2
    warehouse.rollback()
    remote.publish_to_bucket(warehouse)
    assert remote.fetch(copy).version == "000001"
    assert number_in(copy) == 1


def test_the_tables_of_gold_are_there_as_parquet(url, there, warehouse, tmp_path):
    publish(warehouse, 7)
    remote.publish_to_bucket(warehouse)

    gold = json.loads(there.get(remote.POINTER).content)["gold"]
    assert list(gold) == ["numbers"]
    assert there.download(gold["numbers"], tmp_path / "numbers.parquet")
    assert duckdb.read_parquet(str(tmp_path / "numbers.parquet")).fetchall() == [(7,)]


def test_a_bucket_that_does_not_answer_leaves_the_pointer_and_the_next_publish_writes_it(
    url, there, warehouse, tmp_path, proxied, monkeypatch
):
    waits = {"init_backoff": dt.timedelta(milliseconds=5), "max_backoff": dt.timedelta(milliseconds=10), "base": 2}
    monkeypatch.setattr(buckets, "_RETRIES", buckets._RETRIES | {"max_retries": 1, "backoff": waits})
    publish(warehouse, 1)
    remote.publish_to_bucket(warehouse)
    publish(warehouse, 2)
    proxied.faults.append(Fault("status", "PUT|POST", "versions/000002", times=-1))

    with pytest.raises(StorageUnavailableError):
        remote.publish_to_bucket(warehouse)
    assert remote.fetch(tmp_path / "w.duckdb").version == "000001"
    proxied.faults.clear()
    remote.publish_to_bucket(warehouse)
    assert remote.fetch(tmp_path / "w.duckdb").version == "000002"


def test_of_two_machines_that_publish_the_second_one_is_told(url, there, warehouse, monkeypatch):
    publish(warehouse, 1)
    put = Bucket.put

    def meanwhile(bucket, name, content):
        put(bucket, name, content)
        put(bucket, remote.POINTER, b"{}")

    monkeypatch.setattr(Bucket, "put", meanwhile)
    with pytest.raises(LockedError):
        remote.publish_to_bucket(warehouse)


def test_old_versions_go_when_they_are_a_day_old(url, there, warehouse, env, monkeypatch):
    env("WAREHOUSE_KEEP_VERSIONS", 2)
    for number in range(1, 5):
        publish(warehouse, number)
        remote.publish_to_bucket(warehouse)
    names = {found.name.split("/")[1][:6] for found in there.list("versions")}
    assert names == {"000001", "000002", "000003", "000004"}, "readers have a day"

    monkeypatch.setattr(remote, "_AGE", dt.timedelta(seconds=-1))
    publish(warehouse, 5)
    remote.publish_to_bucket(warehouse)
    names = {found.name.split("/")[1][:6] for found in there.list("versions")}
    assert names == {"000004", "000005"}


def test_a_file_that_was_changed_is_refused_and_the_old_copy_stays(url, there, warehouse, tmp_path):
    copy = tmp_path / "w.duckdb"
    publish(warehouse, 1)
    remote.publish_to_bucket(warehouse)
    remote.fetch(copy)
    publish(warehouse, 2)
    remote.publish_to_bucket(warehouse)
    there.put(json.loads(there.get(remote.POINTER).content)["path"], b"of somebody")

    with pytest.raises(WarehouseError, match="is not there as it was published"):
        remote.fetch(copy)
    assert number_in(copy) == 1
    assert [path.name for path in tmp_path.glob("*w.duckdb*")] == ["w.duckdb"]


def test_without_the_setting_nothing_is_published_or_fetched(bucket, warehouse, tmp_path):
    publish(warehouse, 1)
    remote.publish_to_bucket(warehouse)
    with pytest.raises(UsageError, match="WAREHOUSE_URL is not set"):
        remote.fetch(tmp_path / "w.duckdb")
