"""Versions that are damaged, half deleted or never published: none is chosen, and a full refresh replaces them."""

import os
import shutil
import sys

import pytest

from scripts.errors import UsageError, WarehouseError
from scripts.warehouse import folders, history
from scripts.warehouse.database import find_damage
from scripts.warehouse.versions import Warehouse, reading, writing
from tests.support import toy_warehouse
from tests.support.flip import flip
from tests.support.toy_warehouse import numbers


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path / "warehouse.duckdb")


def build(warehouse, number, **options):
    """A version of 50,000 rows, so that damage hits one of their blocks."""
    return toy_warehouse.build(warehouse, number, rows=50_000, **options)


def published_versions(warehouse):
    return [publication.version for publication in history.read(warehouse)]


DAMAGES = {
    "removed": lambda path: path.unlink(),
    "zero": lambda path: (path.chmod(0o644), os.truncate(path, 0)),
    "cut": lambda path: (path.chmod(0o644), os.truncate(path, path.stat().st_size // 2)),
    "header": lambda path: flip(path, 9),
    "block": flip,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_full_refresh_replaces_a_damaged_version_and_keeps_it_aside(warehouse, damage):
    build(warehouse, 1)
    build(warehouse, 2)
    path = warehouse.path.resolve()
    damage(path)

    assert find_damage(path, deep=True)
    assert build(warehouse, 3, empty=True) == "000003"

    with reading(warehouse.path) as connection:
        assert connection.execute("select count(*), max(n) from numbers").fetchone() == (50_001, 3)
    assert find_damage(warehouse.path.resolve(), deep=True) is None
    assert warehouse.versions() == ["000001", "000003"]
    assert (warehouse.builds / "damaged-000002").is_dir()
    assert warehouse.rollback() == "000001"


@pytest.mark.parametrize("damage", [DAMAGES["removed"], DAMAGES["zero"], DAMAGES["header"]])
def test_a_build_leaves_out_a_base_that_cannot_be_opened(warehouse, damage):
    build(warehouse, 1)
    damage(warehouse.path.resolve())

    assert build(warehouse, 2) == "000002"
    assert numbers(warehouse.path) == [2]


def test_a_base_that_another_program_has_open_for_writing_is_not_damaged(warehouse, start):
    build(warehouse, 1)
    path = warehouse.path.resolve()
    path.chmod(0o644)
    with writing(path):
        code = (
            "import sys; from pathlib import Path; from scripts.warehouse.versions import Warehouse;"
            "Warehouse(Path(sys.argv[1])).clone()"
        )
        done = start("-c", code, warehouse.path, program=[sys.executable])
    assert "Could not set lock" in done.stderr
    assert "close the program that has it open" in done.stderr
    assert warehouse.versions() == ["000001"]


def test_a_rollback_refuses_a_version_that_cannot_be_opened(warehouse):
    for number in (1, 2, 3):
        build(warehouse, number)
    flip(warehouse.file("000002"), 9)

    with pytest.raises(WarehouseError, match="version 000002 cannot be read"):
        warehouse.rollback()
    assert warehouse.current() == "000003"
    assert warehouse.rollback("000001") == "000001"


def test_a_version_without_its_file_is_no_version(warehouse):
    for number in (1, 2, 3):
        build(warehouse, number)
    warehouse.file("000002").unlink()

    assert warehouse.versions() == ["000001", "000003"]
    assert warehouse.rollback() == "000001"


def test_a_version_that_was_never_published_is_neither_chosen_nor_listed(warehouse):
    for number in (1, 2):
        build(warehouse, number)
    build(warehouse, 3, publish=False)
    # as after a kill between the rename of the folder and the flip of the link
    folders.mark(warehouse.workspace, folders.UNPUBLISHED)
    warehouse.workspace.rename(warehouse.builds / "000003")

    assert warehouse.versions() == ["000001", "000002"]
    with pytest.raises(UsageError):
        warehouse.rollback("000003")
    assert build(warehouse, 4) in {"000003", "000004"}
    assert numbers(warehouse.path) == [1, 2, 4]


def test_a_version_whose_publish_was_killed_after_the_flip_is_published(warehouse):
    for number in (1, 2):
        build(warehouse, number)
    folders.mark(warehouse.builds / "000002", folders.UNPUBLISHED)
    (warehouse.root / "history.jsonl").unlink()

    assert warehouse.versions() == ["000001", "000002"]
    warehouse.rollback()
    assert warehouse.versions() == ["000001", "000002"]
    assert build(warehouse, 3) == "000003"
    assert published_versions(warehouse) == ["000001", "000002", "000003"]


def test_the_history_writes_a_line_again_that_was_torn_or_damaged(warehouse):
    for number in (1, 2):
        build(warehouse, number)
    path = warehouse.root / "history.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    assert published_versions(warehouse) == ["000001"]
    history.complete(warehouse)
    assert published_versions(warehouse) == ["000001", "000002"]

    flip(path, 5)
    assert history.damaged_lines(warehouse) == [1, 2]
    history.complete(warehouse)
    assert sorted(published_versions(warehouse)) == ["000001", "000002"]


def test_a_build_record_that_cannot_be_read_stops_nothing(warehouse):
    build(warehouse, 1)
    flip(warehouse.builds / "000001" / "build.json")
    (warehouse.root / "history.jsonl").unlink()

    assert history.about(warehouse, "000001") is None
    assert build(warehouse, 2) == "000002"
    assert published_versions(warehouse) == ["000002"]


def test_what_a_killed_deletion_left_is_no_version_and_goes(warehouse, monkeypatch):
    build(warehouse, 1)
    build(warehouse, 2)

    def killed(path, **_):
        if path.exists():
            next(item for item in path.iterdir() if item.is_file()).unlink()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            folders.remove(warehouse.builds / "000001")

    assert warehouse.versions() == ["000002"]
    build(warehouse, 3)
    assert list(warehouse.builds.glob(".trash*")) == []
