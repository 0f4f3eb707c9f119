"""Each invariant of the end-to-end tests has a bad input that turns it red."""

import datetime as dt
import json
import shutil

import duckdb
import pytest

from scripts.bronze.folder_store import FolderStore
from scripts.bronze.ledger import Partition
from scripts.bronze.run import Run
from scripts.config import settings
from scripts.contracts import catalog
from scripts.loading.partitions import load, partitions
from scripts.planning import reconcile
from scripts.sample_api.server import Fault
from scripts.utils.files import locked
from scripts.warehouse import build as builds
from tests.e2e import invariants

pytestmark = [pytest.mark.slow]
YESTERDAY = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the first test keeps a copy of its data folder for the others."""
    return tmp_path_factory.mktemp("well") / "data"


@pytest.fixture
def well(load_days, build, kept):
    """A data folder where all is well: the last day of the default source, published."""
    folder = settings().data_dir
    if kept.exists():
        return shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)
    load_days(YESTERDAY, sources=["jsonplaceholder"])
    build()
    shutil.copytree(folder, kept, symlinks=True)
    return folder


def whole():
    """Return everything that does not hold."""
    found = invariants.counted(), invariants.told(), invariants.published(), invariants.left_in_the_core()
    return [text for texts in found for text in texts]


def entry():
    return FolderStore(settings().data_dir / "bronze").entry(Partition("jsonplaceholder", "users", YESTERDAY))


def change_published(statement):
    """Change the published file, as nobody should."""
    path = settings().warehouse_path.resolve()
    path.chmod(0o644)
    with duckdb.connect(str(path)) as connection:
        connection.execute(statement)


def test_where_all_is_well_nothing_is_said(well):
    assert whole() == []


def test_a_published_table_that_lacks_rows_or_has_others_is_seen(well):
    change_published("delete from gold.fct_events where event_id = (select min(event_id) from gold.fct_events)")
    (text,) = invariants.published()
    assert text.startswith('"gold"."fct_events" has ')
    assert "only fresh [(" in text
    change_published("drop table gold.fct_events cascade")
    assert any(text == '"gold"."fct_events" is not published' for text in invariants.published())


def test_a_validated_day_that_is_not_published_is_seen(well, load_days):
    load_days(YESTERDAY - dt.timedelta(days=1), sources=["jsonplaceholder"], resources=["users"])
    day = YESTERDAY - dt.timedelta(days=1)
    assert f"jsonplaceholder/users/{day} is validated and not published" in invariants.published()
    assert any("a build is due" in text for text in invariants.told())


def test_a_published_day_that_is_gone_from_the_ledger_is_seen(well):
    store = FolderStore(settings().data_dir / "bronze")
    partition = entry().partition
    store.entry_path(partition).unlink()
    shutil.rmtree(store.data_path(partition).parent)
    assert f"{entry_of_users()} is published and not validated" in invariants.published()
    assert f"{entry_of_users()} is due, missing, and nothing keeps it" in invariants.told()


def entry_of_users():
    return f"jsonplaceholder/users/{YESTERDAY}"


def test_rows_that_are_lost_in_bronze_or_quarantine_are_seen(well):
    store = FolderStore(settings().data_dir / "bronze")
    path = store.quarantine_path(entry().partition)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    (text,) = invariants.counted()
    assert text.startswith(f"{entry_of_users()}: fetched ")
    record = store.entry_path(entry().partition)
    record.write_text(json.dumps(json.loads(record.read_text()) | {"fetched": 1}))
    assert invariants.counted()[0].startswith(f"{entry_of_users()}: fetched 1, ")


def test_what_waits_is_no_fault_where_health_names_it_and_one_where_health_is_silent(well, api, monkeypatch):
    before = YESTERDAY - dt.timedelta(days=3)
    api.faults.append(Fault("status", path="/users", status=404, times=100, day=str(before)))
    load(Run.create(triggered_by="test"), partitions([before], ["jsonplaceholder"]))
    builds.build_warehouse(Run.create(triggered_by="test"))
    assert invariants.told() == [], "two days are missing, one has failed, and health names all three"

    problems = invariants.health(invariants.store())["problems"]
    for left_out, day in (("users", before), ("posts", before + dt.timedelta(days=1))):
        silent = {"problems": [text for text in problems if f"/{left_out}" not in text]}
        monkeypatch.setattr(invariants, "health", lambda _, silent=silent: silent)
        assert any(text.startswith(f"jsonplaceholder/{left_out}/{day} is ") for text in invariants.told())


def test_a_build_that_failed_is_named_or_seen(well, load_days, project, monkeypatch):
    (project / "models/marts/dim_users.sql").write_text("this is no sql")
    done = reconcile.reconcile(Run.create(triggered_by="test"))
    assert done.error is not None
    assert not any("a build" in text for text in invariants.told())
    monkeypatch.setattr(invariants, "health", lambda _: {"problems": []})
    assert any("a build waits for" in text for text in invariants.told())


def test_a_broken_contract_is_named_or_seen(well, tmp_path, monkeypatch):
    sources = shutil.copytree(catalog.SOURCES_DIR, tmp_path / "sources")
    monkeypatch.setattr(catalog, "SOURCES_DIR", sources)
    (sources / "coin_prices.yml").write_text("source: coin_prices\n")
    assert not any("coin_prices" in text for text in invariants.told())
    monkeypatch.setattr(invariants, "health", lambda _: {"problems": []})
    assert "contract coin_prices is broken, and health is silent" in invariants.told()


def test_locks_and_loads_that_nobody_ends_are_seen(well):
    with locked(builds.warehouse().lock, purpose="a test", timeout=0):
        assert [text for text in invariants.left_in_the_core() if "is held" in text]
    (settings().data_dir / "bronze" / "_staging" / "jsonplaceholder" / "users" / str(YESTERDAY)).mkdir(parents=True)
    assert invariants.left_in_the_core() == [
        f"a load of jsonplaceholder/users/{YESTERDAY} is neither completed nor removed"
    ]


def test_a_folder_is_checked_whole(well, monkeypatch):
    invariants.assert_invariants(well)
    change_published("delete from gold.dim_users")
    with pytest.raises(AssertionError, match="dim_users"):
        invariants.assert_invariants(well)
