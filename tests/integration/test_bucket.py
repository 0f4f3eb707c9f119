"""Bronze in a bucket of a real S3 server: races, kills, faults of the network, debris, copies, the doctor."""

import datetime as dt
import itertools
import os
import signal
import threading

import duckdb
import msgspec
import pytest
from click.testing import CliRunner

from scripts.admin.bucket_checks import examine_bucket
from scripts.admin.prune import prune_bronze
from scripts.bronze import bucket_store, debris
from scripts.bronze.copying import copy_bronze
from scripts.bronze.ledger import Partition
from scripts.bronze.run import Run
from scripts.bronze.store import verify
from scripts.bronze.stores import open_store
from scripts.cli.main import cli
from scripts.errors import (
    BronzeError,
    LockedError,
    PipelineError,
    StorageError,
    StorageUnavailableError,
    TransientError,
    UsageError,
)
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from scripts.utils import buckets
from scripts.utils.buckets import Bucket
from scripts.validate_data import validate_partition
from scripts.warehouse.bucket_access import register_bucket
from scripts.warehouse.file_access import confine
from tests.support.bronze import aside, files_of, table_of
from tests.support.object_server import Fault

pytestmark = pytest.mark.scale
DAY = dt.date(2024, 1, 2)
POSTS = Partition("jsonplaceholder", "posts", DAY)
RECORD = r"/_ledger/.*\.json"
DATA = r"\.parquet"


@pytest.fixture
def load(api, blog):
    def load_posts(**options):
        with Client(blog) as connection:
            return ingest_partition(blog, "posts", DAY, Run.create(triggered_by="test"), connection, **options)

    return load_posts


@pytest.fixture
def quick(monkeypatch):
    """Few retries, without waiting."""
    waits = {"init_backoff": dt.timedelta(milliseconds=5), "max_backoff": dt.timedelta(milliseconds=10), "base": 2}
    monkeypatch.setattr(buckets, "_RETRIES", buckets._RETRIES | {"max_retries": 2, "backoff": waits})


def content(entry):
    """What a record says about the rows."""
    return (entry.status, entry.fetched, entry.bronze, entry.quarantined, entry.content_hash)


def check(server, url):
    """Check that each partition is what its record says; return the records."""
    store = open_store(url)
    entries = list(store.entries())
    for entry in entries:
        entry.check()
        verify(store, entry)
        assert table_of(store, entry).num_rows == entry.bronze
        assert len(aside(store, entry)) == entry.quarantined
    return entries


def test_of_two_loads_at_the_same_time_one_wins_and_the_other_is_told_to_try_again(bucket, run, load, blog):
    meet = threading.Barrier(2, timeout=600)
    commit, ends = bucket_store._BucketStaged.commit, []

    def together(staged, entry):
        meet.wait()
        return commit(staged, entry)

    def work():
        try:
            ends.append(load(validate=True))
        except PipelineError as error:
            ends.append(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket_store._BucketStaged, "commit", together)
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    (lost,) = [end for end in ends if isinstance(end, PipelineError)]
    (won,) = [end for end in ends if not isinstance(end, PipelineError)]
    assert isinstance(lost, LockedError)
    assert isinstance(lost, TransientError)
    assert "another process has written it in the meantime" in str(lost)
    assert check(bucket, run.store.location) == [won]
    again = load(validate=True)
    assert content(again) == content(won)


def test_a_reload_that_lost_keeps_what_the_winner_wrote(bucket, run, load, blog):
    first = load()
    with run.store.replacing(POSTS, purpose="test", timeout=0) as slow:
        with run.store.data_file(first) as path:
            slow.data.write_bytes(path.read_bytes())
        winner = validate_partition(blog, "posts", DAY, run)
        with pytest.raises(LockedError):
            slow.commit(first)
    assert check(bucket, run.store.location) == [winner]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("had", ["nothing", "a load"])
def test_a_cut_at_any_change_leaves_the_old_partition_or_the_new_one(moment, had, proxied, bucket, env, quick, load):
    """The client is cut off from the n-th change on, as if its process were killed or its power cut, for each n."""
    new = [content(load(validate=True))]
    was_written = []
    for number in itertools.count():
        url = bucket.new_prefix()
        env("BRONZE_DIR", url)
        old = [content(load())] if had == "a load" else []
        cut = Fault("before", times=-1, then=lambda: None)
        fault = Fault(moment, "PUT|DELETE|POST", skip=number, then=lambda cut=cut: proxied.faults.insert(0, cut))
        proxied.faults[:] = [fault]
        try:
            load(validate=True)
        except StorageUnavailableError:
            is_cut = True
        else:
            is_cut = fault.times == 0
        proxied.faults.clear()
        found = [content(entry) for entry in check(bucket, url)]
        assert found in (old, new)
        was_written.append(found == new)
        if not is_cut:
            break
        assert content(load(validate=True)) == new[0]
        check(bucket, url)
    assert was_written == sorted(was_written), "what comes after the commit undoes nothing"
    assert was_written.count(False) >= (3 if moment == "after" else 4), "the objects come before the record"
    assert was_written[-1]


def test_a_process_that_is_killed_before_its_commit_leaves_objects_that_no_reader_sees(
    proxied, bucket, run, start, api
):
    ids = []

    def kill():
        os.kill(ids[0], signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        import subprocess  # noqa: PLC0415 — only here

        popen = subprocess.Popen.__init__

        def remember(process, *arguments, **options):
            popen(process, *arguments, **options)
            ids.append(process.pid)

        patch.setattr(subprocess.Popen, "__init__", remember)
        proxied.faults.append(Fault("before", "PUT", RECORD, times=1, then=kill))
        day = ("--start-date", DAY, "--end-date", DAY)
        done = start("ingest", "--source", "jsonplaceholder", "--resource", "posts", *day)

    assert done.returncode == -signal.SIGKILL
    assert list(run.store.entries()) == []
    assert any(name.endswith(".parquet") for name in files_of(run.store))


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", path=DATA, status=503, code="SlowDown", times=2),
        Fault("status", path=RECORD, status=503, code="SlowDown", times=2),
        Fault("status", "GET", status=500, code="InternalError", times=2),
        Fault("reset", "PUT", DATA),
        Fault("reset", "PUT", RECORD),
        Fault("lost", "PUT", DATA),
        Fault("lost", "PUT", RECORD),
        Fault("lost", "GET"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.method}-{fault.path}-{fault.status}",
)
@pytest.mark.parametrize("had", ["nothing", "a load"])
def test_a_passing_fault_costs_a_retry_and_no_row(fault, had, proxied, bucket, run, load):
    if had == "a load":
        load()
    proxied.faults.append(Fault(**{name: getattr(fault, name) for name in fault.__dataclass_fields__}))

    entry = load(validate=True)

    assert proxied.faults[0].times == 0, "the fault happened"
    assert check(bucket, run.store.location) == [entry]
    assert entry.status == "validated"


def test_an_answer_that_is_lost_each_time_still_counts_as_written(proxied, bucket, run, load, quick):
    proxied.faults.append(Fault("lost", "PUT", RECORD, times=-1))

    entry = load(validate=True)

    assert check(bucket, run.store.location) == [entry]


def test_a_bucket_that_does_not_answer_is_transient_and_says_so_in_one_line(proxied, run, load, quick):
    proxied.faults.append(Fault("status", times=-1))

    with pytest.raises(StorageUnavailableError, match=r"s3://bronze/.*the bucket gives no usable answer") as raised:
        load()
    assert isinstance(raised.value, TransientError)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, "ExpiredToken", "the credentials of the bucket have expired"),
        (403, "AccessDenied", "the bucket refuses access"),
        (403, "InvalidAccessKeyId", "the bucket refuses access"),
        (403, "RequestTimeTooSkewed", "the clock of this machine differs too much"),
        (404, "NoSuchBucket", "there is no such bucket"),
    ],
)
def test_what_only_a_person_can_correct_is_terminal_and_says_what_to_do(status, code, words, proxied, load):
    proxied.faults.append(Fault("status", status=status, code=code, times=-1))

    with pytest.raises(StorageError, match=words) as raised:
        load()
    assert "next: " in str(raised.value)
    assert len({path for _, path in proxied.requests}) <= 2, "it is not tried again and again"


def test_wrong_credentials_are_told_without_the_secret(bucket, env, load):
    env("AWS_SECRET_ACCESS_KEY", "another-secret-of-somebody")

    with pytest.raises(StorageError, match="refuses access") as raised:
        load()
    assert "another-secret" not in str(raised.value)


def test_debris_goes_after_a_day_and_replaced_rows_after_the_days_of_the_setting(bucket, run, load, monkeypatch, quick):
    first = load(validate=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket_store.Bucket, "commit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            load(validate=True)
    second = load(validate=True)
    run.store.document("jsonplaceholder/posts/dt=2024-01-02/of-somebody.parquet").write(b"x")
    everything = files_of(run.store)
    kept = {first.path, second.path}
    killed = [
        name for name in everything if name.endswith(".parquet") and "of-somebody" not in name and name not in kept
    ]
    assert len(killed) == 1
    assert prune_bronze(run, dry_run=False) == [], "nothing is a day old"

    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=2)
    monkeypatch.setattr(buckets.Bucket, "now", lambda _: later)
    would = prune_bronze(run, dry_run=True)
    assert run.store.bucket.place(killed[0]) in would
    assert files_of(run.store) == everything
    assert prune_bronze(run, dry_run=False) == would
    left = files_of(run.store)
    assert killed[0] not in left
    assert kept < set(left)

    monkeypatch.setattr(buckets.Bucket, "now", lambda _: later + dt.timedelta(days=8))
    prune_bronze(run, dry_run=False)
    left = files_of(run.store)
    assert first.path not in left
    assert "jsonplaceholder/posts/dt=2024-01-02/of-somebody.parquet" in left
    assert check(bucket, run.store.location) == [second]


def test_objects_of_a_partition_with_a_damaged_record_are_kept(bucket, run, load, monkeypatch):
    entry = load()
    run.store.document(f"_ledger/jsonplaceholder/posts/{DAY}.json").write(b"{")
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=30)
    monkeypatch.setattr(buckets.Bucket, "now", lambda _: later)

    assert list(debris.find_debris(run.store, keep_days=7)) == []
    assert run.store.bucket.size(entry.path) == entry.bytes


def test_a_copy_to_a_bucket_and_back_is_the_same_and_can_be_repeated(bucket, run, load, api, blog, env, tmp_path):
    load(validate=True)
    with Client(blog) as connection:
        ingest_partition(blog, "users", DAY, run, connection)
    folder = open_store(tmp_path / "copy")

    assert tuple(copy_bronze(run.store, folder, timeout=0)) == (2, 0)
    assert tuple(copy_bronze(run.store, folder, timeout=0)) == (0, 2)
    back = open_store(bucket.new_prefix())
    assert tuple(copy_bronze(folder, back, timeout=0)) == (2, 0)

    def told(store):
        return [msgspec.structs.replace(entry, path="", objects=msgspec.UNSET) for entry in store.entries()]

    assert told(folder) == told(back) == told(run.store)
    for store in (folder, back):
        for entry in store.entries():
            verify(store, entry)
        assert store.documents("_contracts") == run.store.documents("_contracts")


def test_a_copy_of_a_changed_file_is_refused(bucket, run, load, tmp_path):
    entry = load()
    run.store.bucket.put(entry.path, b"PAR1 of somebody")

    with pytest.raises(BronzeError, match="torn or changed data file"):
        copy_bronze(run.store, open_store(tmp_path / "copy"), timeout=0)
    assert list(open_store(tmp_path / "copy").entries()) == []


def test_a_listing_costs_one_request_and_only_changed_records_are_read(proxied, run, load, blog):
    load()
    with Client(blog) as connection:
        ingest_partition(blog, "users", DAY, run, connection)
    list(run.store.entries())
    proxied.requests.clear()

    assert len(list(run.store.entries())) == 2
    assert [method for method, _ in proxied.requests] == ["GET"], "one listing"
    load()
    proxied.requests.clear()
    assert len(list(run.store.entries())) == 2
    assert len(proxied.requests) == 2, "the listing and the record that changed"


def test_the_doctor_checks_access_clock_and_conditions(proxied, run, quick):
    assert [(found.check, found.ok) for found in examine_bucket()] == [
        ("bucket", True),
        ("bucket clock", True),
        ("bucket conditions", True),
    ]
    assert list(run.store.bucket.list("_doctor")) == []


def test_the_doctor_finds_a_store_that_ignores_conditions_and_a_clock_that_is_wrong(bucket, run, monkeypatch):
    put = buckets.obstore.put
    monkeypatch.setattr(
        buckets.obstore, "put", lambda *given, **options: put(*given, **{**options, "mode": "overwrite"})
    )
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=20)
    monkeypatch.setattr(buckets.Bucket, "now", lambda _: later)

    found = {one.check: one for one in examine_bucket()}
    assert (found["bucket"].ok, found["bucket clock"].ok, found["bucket conditions"].ok) == (True, False, False)


def test_the_doctor_names_a_bucket_that_refuses(bucket, env):
    env("AWS_SECRET_ACCESS_KEY", "another-secret-of-somebody")

    (found,) = examine_bucket()
    assert not found.ok
    assert "refuses access" in found.found


def test_models_read_what_bronze_holds_and_nothing_else_of_the_bucket_and_write_nothing(bucket, run, load):
    entry = load()
    elsewhere = bucket.new_prefix()
    Bucket(elsewhere, bucket.variables()).put("of-somebody.json", b"{}")
    place = run.store.location
    with duckdb.connect() as connection:
        register_bucket(connection, place)
        confine(connection, [place])
        read = f"select count(*) from read_parquet('{run.store.data_place(entry)}')"
        assert connection.execute(read).fetchall() == [(entry.bronze,)]
        records = f"{place}/_ledger/jsonplaceholder/posts/[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].json"
        assert connection.execute(f"select path from read_json('{records}')").fetchall() == [(entry.path,)]
        other = f"{place}/_ledger/jsonplaceholder/users/*.json"
        assert connection.execute(f"select count(*) from glob('{other}')").fetchall() == [(0,)]
        for refused, words in (
            (f"select * from read_json('{elsewhere}/of-somebody.json')", "disabled by configuration"),
            (f"copy (select 1) to '{place}/new.parquet'", "models only read"),
            (f"copy (select 1) to '{run.store.data_place(entry)}'", "models only read"),
        ):
            with pytest.raises(duckdb.Error, match=words):
                connection.execute(refused)
    assert check(bucket, place) == [entry]


def test_a_record_that_somebody_removed_during_a_load_is_a_lost_race(bucket, run, load):
    first = load()
    with run.store.replacing(POSTS, purpose="test", timeout=0) as staged:
        with run.store.data_file(first) as path:
            staged.data.write_bytes(path.read_bytes())
        run.store.document(f"_ledger/jsonplaceholder/posts/{DAY}.json").remove()
        with pytest.raises(LockedError):
            staged.commit(first)
    assert list(run.store.entries()) == []


def test_the_commands_copy_and_prune(bucket, run, load, tmp_path):
    entry = load()
    call = CliRunner().invoke

    done = call(cli, ["bronze", "copy", run.store.location, str(tmp_path / "copy")], catch_exceptions=False)
    assert done.output == "1 partitions copied, 0 were there already\n"
    assert [one.content_hash for one in open_store(tmp_path / "copy").entries()] == [entry.content_hash]
    with pytest.raises(UsageError, match="no partition is loaded there"):
        call(cli, ["bronze", "copy", str(tmp_path / "nothing"), bucket.new_prefix()], catch_exceptions=False)
    done = call(cli, ["bronze", "prune", "--dry-run"], catch_exceptions=False)
    assert done.output == "0 objects would be removed\n"
