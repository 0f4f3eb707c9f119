"""Versions of a warehouse without dbt: publish, rollback, readers, kills at every instruction of a publish."""

import json
import subprocess
import sys
import threading

import duckdb
import pytest

from scripts.errors import LockedError, UsageError, WarehouseError
from scripts.warehouse.versions import Warehouse, reading, writing


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path / "warehouse.duckdb")


def publish(warehouse, number, keep=3):
    with warehouse.building(purpose="a test", timeout=0):
        path = warehouse.clone()
        with writing(path) as connection:
            connection.execute("create table if not exists numbers (number integer)")
            connection.execute("insert into numbers values (?)", [number])
        return warehouse.publish(keep=keep)


def numbers(warehouse):
    with reading(warehouse.path) as connection:
        return [row[0] for row in connection.execute("select number from numbers order by all").fetchall()]


def test_a_version_builds_on_the_one_before(warehouse):
    assert [publish(warehouse, number) for number in (1, 2)] == ["000001", "000002"]
    assert numbers(warehouse) == [1, 2]


def test_what_is_published_is_read_only(warehouse):
    publish(warehouse, 1)

    assert warehouse.path.stat().st_mode & 0o222 == 0


def test_only_the_last_versions_are_kept(warehouse):
    for number in range(6):
        publish(warehouse, number, keep=3)

    assert warehouse.versions() == ["000004", "000005", "000006"]


def test_rollback_goes_back_and_the_next_build_starts_there(warehouse):
    for number in (1, 2, 3):
        publish(warehouse, number)

    assert warehouse.rollback() == "000002"
    assert numbers(warehouse) == [1, 2]
    assert publish(warehouse, 9) == "000004"
    assert numbers(warehouse) == [1, 2, 9]


@pytest.mark.parametrize("version", [None, "000009"])
def test_there_is_no_rollback_to_a_version_that_is_not_there(warehouse, version):
    publish(warehouse, 1)

    with pytest.raises(UsageError, match="000001"):
        warehouse.rollback(version)


def test_a_build_with_a_write_ahead_log_is_not_published(warehouse):
    publish(warehouse, 1)
    with warehouse.building(purpose="a test", timeout=0):
        path = warehouse.clone()
        path.with_name(path.name + ".wal").write_bytes(b"x")
        with pytest.raises(WarehouseError, match="write-ahead log"):
            warehouse.publish(keep=3)

    assert numbers(warehouse) == [1]


def test_one_builder_at_a_time(warehouse):
    with (
        warehouse.building(purpose="build one", timeout=0),
        pytest.raises(LockedError, match="build two waited 0 s for build one"),
        warehouse.building(purpose="build two", timeout=0),
    ):
        pass


def test_a_file_in_the_place_of_the_link_is_not_overwritten(warehouse):
    warehouse.path.write_text("mine")

    with pytest.raises(WarehouseError, match="is a file, not the link"):
        publish(warehouse, 1)
    assert warehouse.path.read_text() == "mine"


def test_a_warehouse_that_is_not_there_says_what_to_do(warehouse):
    with pytest.raises(WarehouseError, match="pipeline build"), reading(warehouse.path):
        pass


def test_a_corrupt_warehouse_says_what_to_do(warehouse):
    publish(warehouse, 1)
    path = warehouse.path.resolve()
    path.chmod(0o644)
    path.write_bytes(b"not a database" * 1000)

    with pytest.raises(WarehouseError, match=r"cannot be opened.*pipeline rollback"), reading(warehouse.path):
        pass


def test_readers_never_meet_an_error_and_see_whole_versions(warehouse):
    """Readers in other processes, each opening the link again and again, while 30 versions are published."""
    publish(warehouse, 0)
    code = (
        "import duckdb, select, sys, json\n"
        "seen = []\n"
        # the end of stdin is the end of the test, however it ended
        "while not select.select([sys.stdin], [], [], 0)[0]:\n"
        "    with duckdb.connect(sys.argv[1], read_only=True) as connection:\n"
        "        row = connection.execute('select count(*), max(number) from numbers').fetchone()\n"
        "        again = connection.execute('select count(*), max(number) from numbers').fetchone()\n"
        "    assert row == again and row[0] == row[1] + 1, (row, again)\n"
        "    seen.append(row[0])\n"
        "    if row[0] == 31: break\n"
        "assert seen == sorted(seen)\n"
        "print(json.dumps([len(seen), len(set(seen))]))\n"
    )
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(warehouse.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    with duckdb.connect(str(warehouse.path), read_only=True) as held:
        for number in range(1, 31):
            publish(warehouse, number)
        assert held.execute("select count(*) from numbers").fetchone() == (1,)
    results = [reader.communicate(timeout=1200)[0] for reader in readers]

    assert [reader.returncode for reader in readers] == [0, 0]
    assert all(json.loads(result)[0] > 5 for result in results)


def test_a_publish_killed_at_any_instruction_leaves_a_whole_version(tmp_path, start):
    done = start(tmp_path / "warehouse.duckdb", program=[sys.executable, "tests/support/kill_publishes.py"])

    assert done.returncode == 0, done.stderr[-2000:]
    states = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(states) >= 15
    for state in states:
        # each round publishes its number; a killed round is published whole or not at all
        assert state["numbers"] in (state["before"], [*state["before"], state["round"]]), state
    assert {len(state["numbers"]) - len(state["before"]) for state in states} == {0, 1}


def test_builders_in_threads_wait_for_each_other(warehouse):
    publish(warehouse, 0)

    def work(number):
        with warehouse.building(purpose="a test", timeout=600):
            with writing(warehouse.clone()) as connection:
                connection.execute("insert into numbers values (?)", [number])
            warehouse.publish(keep=3)

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert numbers(warehouse) == [0, 1, 2, 3]
