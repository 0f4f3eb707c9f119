"""Validation and replay: rows move between Bronze and quarantine, and none is lost."""

import datetime as dt
import json

import msgspec
import pytest

from scripts.bronze.parquet import PartitionWriter
from scripts.errors import BronzeError, DataError, UsageError
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from scripts.loading.replay import replay_partition
from scripts.validate_data import validate_partition
from tests.support.bronze import aside, report_of, table_of

pytestmark = pytest.mark.usefixtures("bronze")
DAY = dt.date(2024, 1, 3)


def with_posts(source, **changes):
    document = source.model_dump(mode="json", exclude_defaults=True)
    document["resources"]["posts"] |= changes
    return type(source).model_validate(document)


@pytest.fixture
def load(api, run, blog):
    def load_posts(source=blog, **options):
        with Client(source) as connection:
            return ingest_partition(source, "posts", DAY, run, connection, **options)

    return load_posts


def test_rows_that_break_a_rule_move_to_quarantine(load, run, blog):
    before = load()

    after = validate_partition(blog, "posts", DAY, run)

    assert (before.fetched, before.bronze, before.quarantined) == (121, 120, 1)
    assert (after.fetched, after.bronze, after.quarantined, after.status) == (121, 119, 2, "validated")
    rows = aside(run.store, after)
    assert {row["rule"] for row in rows} == {"mistyped", "title_length"}
    assert json.loads(next(row for row in rows if row["rule"] == "title_length")["raw"])["title"] == ""


def test_every_row_that_was_sent_is_in_bronze_or_in_quarantine(load, run, blog):
    load()
    entry = validate_partition(blog, "posts", DAY, run)

    kept = table_of(run.store, entry).column("_row").to_pylist()
    moved = [row["row"] for row in aside(run.store, entry)]
    assert sorted(kept + moved) == list(range(entry.fetched))


def test_validating_again_changes_nothing(load, run, blog):
    load()
    first = validate_partition(blog, "posts", DAY, run)
    second = validate_partition(blog, "posts", DAY, run)

    assert (first.content_hash, first.quarantined) == (second.content_hash, second.quarantined)


def test_one_pass_gives_the_partition_that_two_steps_give(load, run, blog):
    load()
    apart = validate_partition(blog, "posts", DAY, run)
    files = run.store.attached(apart).quarantine, report_of(run.store, apart)

    together = load(validate=True)

    times = dict.fromkeys(("started_at", "loaded_at", "validated_at"), apart.loaded_at)
    named = {"path": apart.path, "objects": apart.objects}
    assert msgspec.structs.replace(together, **times, **named) == msgspec.structs.replace(apart, **times)
    assert (run.store.attached(together).quarantine, report_of(run.store, together)) == files


def test_one_pass_with_a_broken_rule_of_severity_fail_keeps_the_partition_out_of_builds(load, run, blog):
    strict = with_posts(blog, rules=[{"name": "titled", "severity": "fail", "column": "title", "length": {"min": 1}}])

    with pytest.raises(DataError, match="rule `titled` is broken by 1 of 120 rows"):
        load(strict, validate=True)

    entry = next(run.store.entries())
    assert (entry.status, entry.bronze, entry.quarantined) == ("failed", 120, 1)


def test_validating_reads_nothing_where_neither_rows_nor_rules_changed(load, run, blog, mocker):
    clean = with_posts(blog, rules=[{"name": "short", "severity": "warn", "column": "title", "length": {"max": 3}}])
    first = load(clean, validate=True)
    load(clean)
    check = mocker.patch("scripts.validate_data.check_file", side_effect=AssertionError)

    again = validate_partition(clean, "posts", DAY, run)

    assert (again.status, again.rules, again.content_hash) == ("validated", first.rules, first.content_hash)
    assert validate_partition(clean, "posts", DAY, run) == again
    with pytest.raises(AssertionError):
        validate_partition(blog, "posts", DAY, run)
    assert check.call_count == 1


def test_a_report_says_what_each_rule_found(load, run, blog):
    load()
    entry = validate_partition(blog, "posts", DAY, run)

    report = report_of(run.store, entry)
    found = {rule["rule"]: rule["rows"] for rule in report["rules"]}
    assert found == {"title_length": 1, "body_length": 0, "user_id_positive": 0, "posts_present": 0}
    assert (report["outcome"], report["fetched"]) == ("validated", report["bronze"] + report["quarantined"])


def test_a_rule_of_severity_warn_moves_nothing(load, run, blog):
    load()
    mild = with_posts(blog, rules=[{"name": "short", "severity": "warn", "column": "title", "length": {"max": 3}}])

    entry = validate_partition(mild, "posts", DAY, run)

    assert (entry.status, entry.quarantined) == ("validated", 1)
    assert entry.rules[0].rows == 119


def test_a_rule_of_severity_fail_fails_the_partition_and_says_which_rows(load, run, blog):
    load()
    strict = with_posts(blog, rules=[{"name": "titled", "severity": "fail", "column": "title", "length": {"min": 1}}])

    with pytest.raises(DataError, match=r"rule `titled` is broken by 1 of 120 rows, for example ''.*length of title"):
        validate_partition(strict, "posts", DAY, run)

    entry = next(run.store.entries())
    assert (entry.status, entry.bronze, entry.quarantined) == ("failed", 120, 1)


def test_a_day_that_is_not_loaded_is_refused_with_the_command_that_loads_it(run, blog):
    with pytest.raises(UsageError, match=r"is not loaded .*pipeline ingest --source jsonplaceholder --resource posts"):
        validate_partition(blog, "posts", DAY, run)


@pytest.mark.parametrize("harm", ["truncate", "replace", "remove"])
def test_a_file_that_is_not_the_ledgers_is_refused(harm, load, run, blog):
    entry = load()
    with run.store.data_file(entry) as path:
        data = bytearray(path.read_bytes())
    document = run.store.document(entry.path)
    if harm == "truncate":
        document.write(bytes(data[:-100]))
    elif harm == "replace":
        data[200] ^= 1
        document.write(bytes(data))
    else:
        document.remove()

    with pytest.raises(BronzeError, match="pipeline run"):
        validate_partition(blog, "posts", DAY, run)


def test_replay_admits_what_a_mended_contract_accepts(load, run, blog):
    load()
    validate_partition(blog, "posts", DAY, run)
    corrected = with_posts(blog, rules=[], on_mistyped="evolve")

    replayed = replay_partition(corrected, next(run.store.entries()).partition, run)

    assert (replayed.admitted, replayed.remaining) == (2, 0)
    entry = next(run.store.entries())
    assert (entry.fetched, entry.bronze, entry.quarantined, entry.status) == (121, 121, 0, "validated")


def test_replay_gives_the_partition_that_loading_with_the_mended_contract_gives(load, run, blog):
    load()
    validate_partition(blog, "posts", DAY, run)
    corrected = with_posts(blog, rules=[], on_mistyped="evolve")

    replay_partition(corrected, next(run.store.entries()).partition, run)
    replayed = next(run.store.entries()).content_hash
    load(corrected)
    validate_partition(corrected, "posts", DAY, run)

    assert next(run.store.entries()).content_hash == replayed


def test_a_replay_that_was_killed_at_its_commit_is_completed_by_the_next(load, run, blog, killed_at_commit):
    load()
    partition = validate_partition(blog, "posts", DAY, run).partition
    corrected = with_posts(blog, rules=[], on_mistyped="evolve")
    with killed_at_commit():
        replay_partition(corrected, partition, run)

    replay_partition(corrected, partition, run)

    entry = run.store.entry(partition)
    assert (entry.bronze, entry.quarantined, entry.status) == (121, 0, "validated")


def test_replay_without_a_mend_changes_nothing(load, run, blog):
    load()
    before = validate_partition(blog, "posts", DAY, run)

    replayed = replay_partition(blog, before.partition, run)

    after = run.store.entry(before.partition)
    assert (replayed.admitted, replayed.remaining) == (0, 2)
    assert (after.content_hash, after.bronze, after.quarantined) == (before.content_hash, 119, 2)


def test_accounting_goes_red_if_one_row_were_lost(load, run, blog, mocker):
    """The check itself: a writer that drops one row does not get past it."""
    real = PartitionWriter.append
    mocker.patch.object(PartitionWriter, "append", lambda self, batch: real(self, batch.slice(1)))

    with pytest.raises(DataError, match="row accounting: fetched 121, but Bronze 1"):
        load()
    assert list(run.store.entries()) == []
