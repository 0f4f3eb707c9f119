"""Gold as Parquet: what each version has beside its file, and that both change together."""

import duckdb
import pyarrow.parquet as pq
import pytest

from scripts.bronze.run import Run
from scripts.errors import StorageFullError
from scripts.utils.days import parse_day
from scripts.warehouse import build as builds
from scripts.warehouse import gold_files, versions
from scripts.warehouse.gold_files import GoldTable
from scripts.warehouse.versions import Warehouse, reading, writing
from tests.support import toy_warehouse

TABLES = {"dim_users", "fct_events", "fct_user_activity_daily", "fct_coin_prices_daily"}
DAYS = [parse_day(f"2024-01-0{day}") for day in (2, 3)]


def rows_of(path):
    return sorted(duckdb.sql(f"from '{path}'").fetchall(), key=repr)


def files(folder):
    return {path.stem: path for path in folder.glob("*.parquet")}


def write(warehouse, setup, *tables, limit=None):
    """Write the files of a build without publishing it."""
    with warehouse.building(purpose="a test", timeout=0), writing(warehouse.clone()) as connection:
        connection.execute(setup)
        gold_files.write(warehouse, connection, tables)
    return warehouse.workspace / "gold"


def test_each_table_is_a_file_with_the_same_rows_and_types_that_follows_the_published_version(load_days, build):
    load_days(DAYS[0])
    build()
    gold = builds.warehouse().gold
    assert set(files(gold / "current")) == TABLES
    load_days(DAYS[1], resources=["posts"], sources=["jsonplaceholder"])
    build()

    assert (gold / "current").resolve() == (gold / "000002").resolve() != (gold / "000001").resolve()
    with reading(builds.warehouse().path) as connection:
        for name, path in files(gold / "current").items():
            table = connection.execute(f"from gold.{name}")
            assert rows_of(path) == sorted(table.fetchall(), key=repr), name
            assert [column[:2] for column in duckdb.sql(f"describe from '{path}'").fetchall()] == [
                column[:2] for column in connection.execute(f"describe gold.{name}").fetchall()
            ]
    # only what the posts of a day change was written again
    old, new = files(gold / "000001"), files(gold / "000002")
    assert {name for name in TABLES if old[name].samefile(new[name])} == {"fct_coin_prices_daily", "dim_users"}
    builds.roll_back(Run.create(triggered_by="test"))
    assert rows_of(gold / "current/fct_events.parquet") == rows_of(old["fct_events"]) != rows_of(new["fct_events"])


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path / "warehouse.duckdb")


def test_a_table_above_the_limit_has_no_file_and_the_list_says_why(warehouse, env):
    env("GOLD_PARQUET_MAX_ROWS", "2")
    setup = "create table big as from range(3) as r (n); create table small as from range(2) as r (n)"
    folder = write(warehouse, setup, GoldTable("big", "big", "1", 3), GoldTable("small", "small", "1", 2))

    assert set(files(folder)) == {"small"}
    assert {item.table: item.why_missing for item in gold_files.read(folder).tables} == {
        "big": "it has 3 rows, more than GOLD_PARQUET_MAX_ROWS (2)",
        "small": "",
    }


def test_with_a_limit_of_0_there_are_no_files(warehouse, env):
    env("GOLD_PARQUET_MAX_ROWS", "0")
    folder = write(warehouse, "create table nothing (n integer)", GoldTable("nothing", "nothing", "1", 0))

    assert files(folder) == {}


def test_a_name_that_leads_to_another_folder_is_no_name_of_a_file(warehouse):
    table = GoldTable("../../outside", '"../../outside"', "1", 1)
    folder = write(warehouse, 'create table "../../outside" as select 1 as n', table)

    assert [item.why_missing for item in gold_files.read(folder).tables] == ["its name cannot be the name of a file"]
    assert list(folder.parent.parent.parent.glob("*.parquet")) == []


def test_a_type_that_parquet_does_not_have_costs_only_this_file(warehouse):
    setup = "create view odd as select struct_pack() as nothing; create table good as select 1 as n"
    folder = write(warehouse, setup, GoldTable("odd", "odd", "1", 1), GoldTable("good", "good", "1", 1))

    assert set(files(folder)) == {"good"}
    assert "Empty STRUCT" in {item.table: item for item in gold_files.read(folder).tables}["odd"].why_missing


def test_a_table_whose_file_was_deleted_is_written_again(warehouse):
    toy_warehouse.build(warehouse, 1)
    (warehouse.gold / "current/letters.parquet").unlink()
    toy_warehouse.build(warehouse, 2)

    assert rows_of(warehouse.gold / "current/letters.parquet") == [("a",)]
    assert pq.read_table(warehouse.gold / "current/numbers.parquet").to_pydict() == {"n": [1, 2]}


def test_the_links_are_those_of_the_kept_versions(warehouse):
    for number in range(1, 6):
        toy_warehouse.build(warehouse, number, keep=2)

    assert {path.name for path in warehouse.gold.iterdir()} == {"current", *warehouse.versions()}
    assert rows_of(warehouse.gold / "000004/numbers.parquet") == [(1,), (2,), (3,), (4,)]
    warehouse.rollback()
    assert rows_of(warehouse.gold / "current/numbers.parquet") == [(1,), (2,), (3,), (4,)]


def test_a_full_disk_publishes_nothing(warehouse, monkeypatch):
    toy_warehouse.build(warehouse, 1)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gold_files, "write_atomically", full)
    with pytest.raises(StorageFullError):
        toy_warehouse.build(warehouse, 2)
    assert rows_of(warehouse.gold / "current/numbers.parquet") == [(1,)]
    assert toy_warehouse.numbers(warehouse.path) == [1]


def test_gold_is_published_by_the_same_flip_as_the_file_also_the_first_time(warehouse, monkeypatch):
    flips, real = [], versions._flip

    def flip(link, target):
        flips.append(link.relative_to(warehouse.path.parent).as_posix())
        real(link, target)

    monkeypatch.setattr(versions, "_flip", flip)
    toy_warehouse.build(warehouse, 1)
    toy_warehouse.build(warehouse, 2)

    first = ["gold/current", "warehouse/current", "warehouse.duckdb", "gold/000001"]
    assert flips == [*first, "warehouse/current", "gold/000002"]
