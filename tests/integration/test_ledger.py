"""The ledger under harm: unreadable records, foreign files, loads that are being committed, and its index."""

import datetime as dt
import json
import os
import pathlib
import shutil
import threading

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scripts.bronze import folder_store as store_module
from scripts.bronze import ledger
from scripts.bronze.foreign_files import foreign_files, foreign_files_hint
from scripts.bronze.ledger import LedgerEntry, Partition
from scripts.bronze.store import verify
from scripts.bronze.verification import verify_part
from scripts.errors import BronzeError
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from scripts.utils.files import locked
from scripts.validate_data import validate_partition
from tests.support.flip import flip

DAY = dt.date(2024, 1, 2)
POSTS = Partition("jsonplaceholder", "posts", DAY)


@pytest.fixture
def load(api, run, blog):
    def load_day(name="posts", day=DAY):
        with Client(blog) as connection:
            return ingest_partition(blog, name, day, run, connection, validate=True)

    return load_day


def records(run, number, source="shop"):
    """Write records as loads do: by a rename."""
    for place in range(number):
        partition = Partition(source, "orders", dt.date(2024, 1, 1) + dt.timedelta(days=place))
        moment = dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=place)
        entry = LedgerEntry(
            *partition,
            status="validated",
            declared=2,
            fetched=2,
            bronze=1,
            quarantined=1,
            pages=1,
            retries=0,
            path=f"shop/orders/dt={partition.day}/part-0.parquet",
            bytes=1,
            content_hash=str(place),
            contract_version="1",
            run_id="r",
            triggered_by="test",
            started_at=moment,
            loaded_at=moment,
        )
        put(run.store, entry)
    return [entry for entry in run.store.entries() if entry.source == source]


def put(store, entry):
    path = store.entry_path(entry.partition)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = store.root / f"record-{threading.get_ident()}"
    staged.write_bytes(ledger.encode(entry))
    staged.replace(path)


def index_file(run):
    return run.store.root / "_index" / "ledger.sqlite"


def test_a_record_that_vanishes_before_it_is_read_counts_as_removed(run, mocker):
    records(run, 1)
    run.store.entry_path(POSTS).parent.mkdir(parents=True)
    # as seen by a process that looks just before another one removes it
    mocker.patch.object(pathlib.Path, "exists", return_value=True)

    assert run.store.entry(POSTS) is None


def test_the_doctor_says_that_nothing_is_loaded_before_there_is_a_folder(run, start):
    assert not run.store.root.exists()
    found = {row["check"]: row for row in json.loads(start("doctor", "--json").stdout)}

    assert found["ledger"]["ok"]
    assert found["ledger"]["found"] == "nothing is loaded yet"


@pytest.mark.parametrize("harm", [b"\x80", b"", b"{", b"[1]"])
def test_an_unreadable_record_is_named_with_its_repair_and_the_others_go_on(harm, load, run, start):
    load()
    other = load("users")
    path = run.store.entry_path(POSTS)
    content = path.read_bytes()
    path.write_bytes(content[:50] + harm + content[51:] if harm == b"\x80" else harm)

    assert [entry.partition for entry in run.store.entries()] == [other.partition]
    status, doctor = start("status"), start("doctor", "--json")
    assert status.returncode == 7
    assert f"{path}: ledger record cannot be read" in status.stderr
    assert "--resource posts --start-date 2024-01-02 --end-date 2024-01-02" in status.stderr
    assert str(path) in next(row["found"] for row in json.loads(doctor.stdout) if row["check"] == "ledger")
    assert "Traceback" not in status.stderr + doctor.stderr

    load()

    assert start("status").returncode == 0


def test_an_unreadable_quarantine_is_named_and_the_others_go_on(load, run, start):
    load()
    load("posts", dt.date(2024, 1, 3))
    path = run.store.quarantine_path(POSTS)
    path.write_bytes(path.read_bytes().replace(b"mistyped", b"mist\x80ped", 1))

    listed, shown = start("quarantine", "list", "--json"), start("quarantine", "show")
    replayed = start("quarantine", "replay", "--json")

    assert {row["day"] for row in json.loads(listed.stdout)} == {"2024-01-03"}
    assert "2024-01-03" in shown.stdout
    assert [row["day"] for row in json.loads(replayed.stdout)] == ["2024-01-03"]
    for done in (listed, shown, replayed):
        assert done.returncode == 8
        assert done.stderr.count("error: ") == 1
        assert str(path) in done.stderr
    load()
    assert start("quarantine", "list").returncode == 0


@pytest.mark.parametrize("name", ["2024-01-02 (1).json", "2024-01-02.json.bak", "2024-02-30.json", "notes.txt"])
def test_a_file_in_the_ledger_that_is_not_ours_is_named(name, load, run, start):
    entry = load()
    shutil.copy(run.store.entry_path(POSTS), run.store.entry_path(POSTS).with_name(name))

    assert list(run.store.entries()) == [entry]
    assert list(ledger.signatures(run.store.entry_path(POSTS).parent)) == [str(POSTS.day)]
    done = start("status")
    assert done.returncode == 7
    assert f"{name}: a file that the pipeline did not write" in done.stderr


def test_a_load_and_a_build_name_a_file_in_the_ledger_that_is_not_ours(load, run, caplog):
    """Both begin with `recover`."""
    load()
    run.store.recover()
    assert "did not write" not in caplog.text
    copy = run.store.entry_path(POSTS).with_name("2024-01-02 (1).json")
    shutil.copy(run.store.entry_path(POSTS), copy)

    run.store.recover()

    assert f"1, the first: {copy}: a file that the pipeline did not write" in caplog.text
    assert copy.exists()


def test_a_foreign_folder_in_the_staging_folder_stops_nothing(load, run):
    (run.store.root / "_staging" / "jsonplaceholder" / "posts" / "new folder").mkdir(parents=True)

    run.store.recover()

    assert load().status == "validated"


@pytest.mark.parametrize("kind", ["quarantine_path", "report_path", "data_path"])
def test_a_flipped_bit_in_any_file_of_a_partition_is_found(kind, load, run):
    entry = load()
    flip(getattr(run.store, kind)(POSTS), mask=1)

    with pytest.raises(BronzeError, match="torn or changed") as error:
        verify(run.store, entry)
    assert "pipeline run" in error.value.hint


def test_the_file_of_a_lost_record_is_named_with_the_command_that_loads_its_day_again(load, run):
    entry = load()
    run.store.entry_path(POSTS).unlink()

    strangers = foreign_files(run.store, known=set())

    assert strangers == [entry.path]
    assert "`pipeline run --source jsonplaceholder --resource posts --start-date 2024-01-02" in foreign_files_hint(
        run.store, strangers
    )


@pytest.mark.parametrize("harm", [lambda content: content[:-9], lambda _: b"", lambda content: content[:-1] + b"x"])
def test_a_damaged_schema_file_is_written_again(harm, run):
    schema = pa.schema([pa.field("id", pa.int64())])
    run.store.write_schema("shop", "orders", schema)
    path = run.store.schema_path("shop", "orders")
    path.write_bytes(harm(path.read_bytes()))

    run.store.write_schema("shop", "orders", schema)

    assert pq.read_schema(path).equals(schema)


@pytest.fixture
def stopped_commit(load, run, mocker):
    """Load a day and stop between the rename of its data file and that of its record; call it to go on."""
    real = store_module.sync_dir
    reached, go_on = threading.Event(), threading.Event()

    def stop(path):
        real(path)
        if path == run.store.data_path(POSTS).parent:
            reached.set()
            assert go_on.wait(60)

    mocker.patch.object(store_module, "sync_dir", stop)
    thread = threading.Thread(target=load)
    thread.start()
    assert reached.wait(60)

    def finish():
        go_on.set()
        thread.join()

    yield finish
    finish()


def soon(work):
    thread = threading.Timer(0.2, work)
    thread.start()
    return thread


def test_a_load_that_is_being_committed_is_no_foreign_file(stopped_commit, run):
    thread = soon(stopped_commit)

    assert foreign_files(run.store, set()) == []
    thread.join()


def test_a_reload_that_is_being_committed_is_not_torn(load, run, mocker, request):
    before = load()
    put(run.store, msgspec.structs.replace(before, content_hash="0" * 64))
    stopped = request.getfixturevalue("stopped_commit")
    thread = soon(stopped)

    after = verify(run.store, run.store.entry(POSTS))

    assert after.content_hash == before.content_hash
    thread.join()


def test_a_file_that_no_record_names_is_still_foreign(load, run):
    load()
    run.store.entry_path(POSTS).unlink()

    assert foreign_files(run.store, set()) == [f"jsonplaceholder/posts/dt={DAY}/part-0.parquet"]


@pytest.mark.parametrize("harm", ["data", "record"])
def test_a_decided_load_whose_files_are_not_its_own_is_dropped(harm, load, run, mocker):
    before = load()
    mocker.patch.object(store_module, "_finish", side_effect=[None, RuntimeError])
    with pytest.raises(RuntimeError):
        load()
    mocker.stopall()
    folder = run.store.staging_path(POSTS)
    path = folder / ("data.staged" if harm == "data" else "record.json")
    path.write_bytes(b"\x80" + path.read_bytes()[1:])

    run.store.recover()

    assert run.store.entry(POSTS) == before
    assert verify(run.store, before) == before
    assert not folder.exists()


def test_recovery_leaves_a_partition_at_which_somebody_works(load, run):
    folder = run.store.staging_path(POSTS)
    folder.mkdir(parents=True)
    with locked(folder.with_suffix(".lock"), purpose="a load", timeout=0):
        run.store.recover()

        assert folder.exists()


def test_files_are_for_owner_and_group_only(load, run):
    load()
    list(run.store.entries())
    modes = {path: path.stat().st_mode & 0o777 for path in run.store.root.rglob("*")}

    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o750}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o640}


def test_the_index_says_what_the_records_say(run):
    entries = records(run, 40)

    with run.store.index() as index:
        assert list(index.entries()) == entries
        (total,) = index.totals()
        assert (total.partitions, total.fetched, total.quarantined) == (40, 80, 40)
        assert index.last_valid_days() == {("shop", "orders"): dt.date(2024, 2, 9)}
        assert [entry.day for entry in index.last_loads()] == [dt.date(2024, 2, 9)]
        assert list(index.quarantined()) == entries


@pytest.mark.parametrize("trust_folders", [False, True])
def test_the_index_follows_each_change(trust_folders, run):
    def read():
        with run.store.index(trust_folders=trust_folders) as index:
            return list(index.entries())

    first, second, third = records(run, 3)
    assert read() == [first, second, third]
    put(run.store, changed := msgspec.structs.replace(second, status="failed"))
    assert read() == [first, changed, third]
    run.store.entry_path(first.partition).unlink()
    assert read() == [changed, third]
    shutil.rmtree(run.store.entry_path(first.partition).parent)
    assert read() == []


def test_only_what_changed_is_read(run, mocker):
    entries = records(run, 10)
    read = mocker.spy(ledger, "read_entry")

    assert list(run.store.entries()) == entries
    put(run.store, entries[3])
    assert list(run.store.entries()) == entries

    assert read.call_count == 1


def test_a_settled_folder_is_not_looked_into(run, mocker):
    entries = records(run, 10)
    folder = run.store.entry_path(entries[0].partition).parent
    os.utime(folder, (1_000_000_000, 1_000_000_000))
    list(run.store.entries())
    look = mocker.spy(ledger, "signatures")

    with run.store.index(trust_folders=True) as index:
        assert list(index.entries()) == entries
    assert look.call_count == 0


@pytest.mark.parametrize("harm", ["garbage", "truncated", "removed", "other version", "folder"])
def test_a_damaged_index_is_made_anew(harm, run):
    entries = records(run, 5)
    path = index_file(run)
    for file in path.parent.glob("*-*"):
        file.unlink()
    if harm == "garbage":
        path.write_bytes(b"x" * 8192)
    elif harm == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif harm == "other version":
        path.write_bytes(path.read_bytes()[:60] + (99).to_bytes(4, "big") + path.read_bytes()[64:])
    else:
        path.unlink()
        if harm == "folder":
            path.mkdir()

    assert list(run.store.entries()) == entries


def test_many_readers_and_writers_of_the_index_agree(run):
    entries = records(run, 20)
    wrong = []

    def work():
        for _ in range(20):
            put(run.store, entries[5])
            if list(run.store.entries()) != entries:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_validation_repairs_nothing_and_says_which_file_is_torn(load, run, blog):
    entry = load()
    run.store.quarantine_path(entry.partition).unlink()

    with pytest.raises(BronzeError, match="the quarantine of a loaded partition is missing"):
        validate_partition(blog, "posts", DAY, run)


def test_all_of_bronze_is_read_within_a_month(run, mocker):
    records(run, 60)
    read = mocker.patch("scripts.bronze.verification.verify", side_effect=lambda _, entry: entry)
    first = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)

    found = [verify_part(run.store, first + dt.timedelta(days=day)) for day in range(28)]

    assert {call.args[1].day for call in read.call_args_list} == {entry.day for entry in run.store.entries()}
    assert max(part.partitions for part in found) == 3
    assert found[-1].oldest >= first
    read.reset_mock()
    assert verify_part(run.store, first - dt.timedelta(days=80)).partitions == 60, "dated by a clock that was ahead"
    late = verify_part(run.store, first + dt.timedelta(days=80))
    assert (late.partitions, late.oldest) == (60, first + dt.timedelta(days=80))


def test_a_verification_names_what_is_wrong_until_it_is_repaired(load, run):
    load()
    path = run.store.report_path(POSTS)
    path.write_bytes(path.read_bytes().replace(b"posts", b"post5", 1))

    for _ in range(2):
        (problem,) = verify_part(run.store).problems
        assert "torn or changed validation report" in problem
    load()
    assert verify_part(run.store).problems == []
