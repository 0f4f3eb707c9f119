"""Copies of the warehouse: equal to the published file, written block by block where an old copy is at hand."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from scripts.warehouse import cloning
from scripts.warehouse.versions import Warehouse, reading, writing


@pytest.fixture
def warehouse(tmp_path, monkeypatch):
    # as on a file system without reflinks
    monkeypatch.setattr(cloning, "share", lambda *_: False)
    return Warehouse(tmp_path / "warehouse.duckdb")


def build(warehouse, *statements, keep=2):
    with warehouse.building(purpose="a test", timeout=0):
        path = warehouse.clone()
        before = path.read_bytes() if path.exists() else b""
        with writing(path) as connection:
            for statement in statements:
                connection.execute(statement)
        return warehouse.publish(keep=keep), before


@pytest.mark.parametrize("seed", range(20))
def test_a_copy_is_equal_whatever_the_old_file_holds(tmp_path, seed):
    dice = random.Random(seed)
    wanted = dice.randbytes(dice.choice([0, 1, 4096, 262_144, 1_048_576 + 7, 3_000_000]))
    old = bytearray(wanted[: dice.randrange(len(wanted) + 1)] + dice.randbytes(dice.choice([0, 5, 400_000])))
    for _ in range(dice.randrange(5)):
        if old:
            old[dice.randrange(len(old))] ^= 1 << dice.randrange(8)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(wanted)
    target.write_bytes(old)

    written = cloning.copy(source, target)

    assert target.read_bytes() == wanted
    assert written <= len(wanted)
    assert cloning.copy(source, target) == 0


def test_two_values_that_change_places_are_copied_although_duckdbs_checksum_stays(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    with duckdb.connect(str(source), config={"storage_compatibility_version": "v1.5.0"}) as connection:
        connection.execute("pragma force_compression='uncompressed'")
        connection.execute("create table numbers as select (i * 7919 % 65521)::bigint as n from range(30000) as t (i)")
    content = source.read_bytes()
    at = content.index((7919).to_bytes(8, "little") + (7919 * 2).to_bytes(8, "little"))
    swapped = content[:at] + content[at + 8 : at + 16] + content[at : at + 8] + content[at + 16 :]
    target.write_bytes(swapped)
    with duckdb.connect(str(target), read_only=True) as connection:
        # DuckDB does not notice: this is why contents are compared
        assert connection.execute("select sum(n) from numbers").fetchone()

    cloning.copy(source, target)

    assert target.read_bytes() == content


def test_each_build_starts_from_an_equal_copy_of_what_is_published(warehouse):
    build(warehouse, "create table t as select i, hash(i) as h from range(200000) as r (i)")
    for number in range(8):
        published = warehouse.path.read_bytes()
        _, before = build(
            warehouse,
            f"delete from t where i % 97 = {number}",
            f"insert into t select i, hash(i + {number}) from range(1000) as r (i)",
        )
        assert before == published
    with reading(warehouse.path) as connection:
        assert connection.execute("select count(*) from t").fetchone()[0] > 150_000


def test_a_small_change_in_a_large_warehouse_writes_little(warehouse):
    build(warehouse, "create table t as select i, random() as r, uuid() as u from range(1500000) as r (i)")
    for number in range(3):
        build(warehouse, f"insert into t select i, random(), uuid() from range({100 + number}) as r (i)")
    size = warehouse.path.stat().st_size
    with warehouse.building(purpose="a test", timeout=0):
        counted = _bytes_written(warehouse.clone)

    assert size > 25_000_000
    assert counted < size / 10
    assert warehouse.build_path.read_bytes() == warehouse.path.read_bytes()


def test_the_copy_that_a_reader_holds_is_never_written_to(warehouse):
    build(warehouse, "create table t as select 1 as version")
    with duckdb.connect(str(warehouse.path), read_only=True) as held:
        for number in range(2, 8):
            build(warehouse, f"update t set version = {number}")
            assert held.execute("select version from t").fetchone() == (1,)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("handle = open(path, 'rb')", id="a copy being made"),
        pytest.param("import mmap, os; handle = mmap.mmap(os.open(path, 0), 0, prot=1)", id="a map"),
        pytest.param("import duckdb; handle = duckdb.connect(path, read_only=True)", id="DuckDB"),
    ],
)
def test_a_file_that_another_process_has_open_is_in_use(tmp_path, program):
    path = tmp_path / "file.duckdb"
    duckdb.connect(str(path)).close()
    code = f"path = {str(path)!r}; {program}; print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout.readline() == "open\n"
        assert not cloning.is_unused(path)
        reader.communicate("\n", timeout=600)


def test_a_file_with_a_second_name_is_in_use(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    os.link(path, tmp_path / "snapshot")

    assert not cloning.is_unused(path)


def test_what_a_failed_build_left_is_brought_up_to_date(warehouse):
    build(warehouse, "create table t as select i from range(100000) as r (i)")
    with warehouse.building(purpose="a test", timeout=0):
        with writing(warehouse.clone()) as connection:
            connection.execute("delete from t")
        warehouse.build_path.with_name(warehouse.path.name + ".wal").write_bytes(b"left")
        (warehouse.workspace / "notes").mkdir()

    with warehouse.building(purpose="a test", timeout=0):
        path = warehouse.clone()
        assert path.read_bytes() == warehouse.path.read_bytes()
        assert [file.name for file in warehouse.workspace.iterdir()] == [warehouse.path.name]


def test_a_file_system_with_reflinks_needs_no_spare(warehouse, monkeypatch):
    for _ in range(4):
        build(warehouse, "create or replace table t as select 1 as one")
    assert (warehouse.builds / ".spare").is_dir()
    monkeypatch.setattr(cloning, "share", lambda source, target: bool(shutil.copy(source, target)))
    shutil.rmtree(warehouse.builds / ".spare")

    build(warehouse, "create or replace table t as select 2 as two")

    with reading(warehouse.path) as connection:
        assert connection.execute("select * from t").fetchall() == [(2,)]


def _bytes_written(work):
    def count():
        with Path("/proc/self/io").open(encoding="ascii") as file:
            return int(next(line for line in file if line.startswith("wchar")).split()[1])

    before = count()
    work()
    return count() - before
