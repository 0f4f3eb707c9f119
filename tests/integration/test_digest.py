"""Messages for all of a build, and about what no run could tell."""

import datetime as dt
import json
import os

import msgspec
import pytest

from scripts.bronze.ledger import DriftNote, RuleNote, decode
from scripts.bronze.run import Run
from scripts.loading.partitions import load, partitions
from scripts.monitoring import airflow_findings
from scripts.monitoring.digest import tell_health
from scripts.monitoring.quarantine_digest import about_quarantine, tell_quarantine
from scripts.sample_api.server import Fault
from tests.support.shop import entry, shop


def test_one_message_tells_of_all_quarantined_rows_and_of_no_others():
    source = shop()
    broken = [
        msgspec.structs.replace(
            entry(source, f"2024-01-0{day}", quarantined=3),
            rules=(RuleNote("email_form", "quarantine", 2, "'x'"), RuleNote("seen", "warn", 9, "1")),
            drift=(DriftNote("mistyped", "age", "quarantine", 1, "'old'"), DriftNote("unknown", "b", "evolve", 7, "1")),
        )
        for day in (1, 2)
    ]
    message = about_quarantine(broken)

    assert message.title == "6 of 200 rows of 2 partitions"
    assert message.text == (
        "shop/orders, 2024-01-01 to 2024-01-02: 6 of 200 rows\n"
        "  email_form: 4 rows, for example 'x'\n"
        "  mistyped field age: 2 rows, for example 'old'"
    )


def test_one_message_tells_of_all_loads_with_the_counts_of_the_ledger_and_one_when_they_are_well(api, run, sink):
    days = partitions([dt.date(2024, 1, 2), dt.date(2024, 1, 3)], ["jsonplaceholder"])
    load(run, days)
    # some have no such rows; a day that was loaded again with the same rows is no news
    load(Run.create(triggered_by="test"), days[:4])
    bad = [entry for entry in run.store.entries() if entry.quarantined]
    assert 0 < len(bad) < len(days)
    for _ in range(2):
        tell_quarantine(run.store)
    rows, fetched = sum(entry.quarantined for entry in bad), sum(entry.fetched for entry in bad)
    assert [text.splitlines()[0] for text in sink.texts] == [
        f"ROWS QUARANTINED: {rows} of {fetched} rows of {len(bad)} partitions"
    ]

    first, *others = bad
    _forget(run.store, first.partition)
    tell_quarantine(run.store)
    for other in others:
        _forget(run.store, other.partition)
    for _ in range(2):
        tell_quarantine(run.store)
    assert [text.splitlines()[0] for text in sink.texts[1:]] == [
        "ROWS QUARANTINED: 1 partitions have none any more",
        "ROWS QUARANTINED: all is well again",
    ]
    assert f"over: {first.source}/{first.resource}, {first.day}: no row any more" in sink.texts[1]


def _forget(store, partition):
    """Make a partition one without quarantined rows, as a replay after a corrected rule does."""
    record = next((store.root / "_ledger").glob(f"{partition}.json"))
    known = decode(record)
    record.write_bytes(msgspec.json.encode(msgspec.structs.replace(known, quarantined=0, bronze=known.fetched)))
    os.utime(record.parent)


def test_rows_of_a_day_that_is_loaded_again_are_not_over_until_it_is_validated(api, run, sink):
    day = partitions([dt.date(2024, 1, 2)], ["jsonplaceholder"])
    load(run, day)
    assert tell_quarantine(run.store)
    load(run, day, steps=("ingest",))
    assert tell_quarantine(run.store) is None


def test_quarantined_rows_that_no_sink_took_are_told_by_the_next_call(api, run, sink):
    load(run, partitions([dt.date(2024, 1, 2)], ["jsonplaceholder"]))
    sink.status = 503
    assert tell_quarantine(run.store) is None
    sink.status = 200
    assert tell_quarantine(run.store)
    assert len(sink.texts) == 1


def test_a_run_that_could_not_tell_is_told_of_once_and_again_when_all_is_well(api, run, sink, env):
    """Days in the middle are missing, for a run was killed or deleted."""
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    before = [yesterday - dt.timedelta(days=days) for days in (3, 0)]
    load(run, partitions(before, ["jsonplaceholder"], ["users"]))
    tell_health(run.store)
    tell_health(run.store)
    assert len(sink.texts) == 1
    assert sink.texts[0].startswith("DATA OVERDUE: ")
    assert f"jsonplaceholder/users: {before[0] + dt.timedelta(days=1)} to" in sink.texts[0]

    gap = [yesterday - dt.timedelta(days=days) for days in (2, 1)]
    load(run, partitions(gap, ["jsonplaceholder"], ["users"]))
    load(run, partitions([yesterday], ["jsonplaceholder"]))
    tell_health(run.store)
    tell_health(run.store)
    assert [text.splitlines()[0] for text in sink.texts[1:]] == ["DATA OVERDUE: all is well again"]
    assert "over: jsonplaceholder/users: " in sink.texts[1]
    assert json.loads((run.store.root.parent / "alerts" / "overdue.json").read_text()) == {}


def test_a_gap_that_shrinks_is_no_news_and_one_that_grows_is(api, run, sink):
    """As while a backfill repairs it day by day, with a reconciling run every few minutes."""
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    days = [yesterday - dt.timedelta(days=number) for number in range(7)]
    load(run, partitions([days[0], days[4]], ["jsonplaceholder"], ["users"]))
    load(run, partitions([days[0]], ["jsonplaceholder"]))
    tell_health(run.store)
    for day in (days[3], days[2]):
        load(run, partitions([day], ["jsonplaceholder"], ["users"]))
        assert tell_health(run.store) is None
    # an earlier day is loaded: those between are missing, too
    load(run, partitions([days[6]], ["jsonplaceholder"], ["users"]))
    assert tell_health(run.store).title == "1 problem"
    load(run, partitions([days[5], days[1]], ["jsonplaceholder"], ["users"]))
    tell_health(run.store)
    assert [text.splitlines()[0] for text in sink.texts] == [
        "DATA OVERDUE: 1 problem",
        "DATA OVERDUE: 1 problem",
        "DATA OVERDUE: all is well again",
    ]


def test_a_problem_is_not_over_while_one_of_its_days_fails(api, run, sink):
    """Each day fails by its own run, which tells it; the first stays."""
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    first, second, third = (yesterday - dt.timedelta(days=number) for number in (2, 1, 0))

    def load_users(day):
        load(Run.create(triggered_by="test"), partitions([day], ["jsonplaceholder"], ["users"]))

    load_users(first)
    load(run, partitions([third], ["jsonplaceholder"], ["posts", "comments", "todos"]))
    api.faults.append(Fault("status", path="/users", status=404, times=10_000))
    load_users(second)
    load_users(third)
    assert tell_health(run.store) is None
    api.faults.clear()
    load_users(second)
    assert tell_health(run.store) is None
    load_users(third)
    assert tell_health(run.store).title == "all is well again"


def test_a_problem_that_is_over_is_told_although_another_stays(api, run, sink, env):
    env("API_RETRIES", 0)
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    days = [yesterday - dt.timedelta(days=number) for number in range(5)]
    load(run, partitions([days[0], days[2]], ["jsonplaceholder"], ["users"]))
    api.faults.append(Fault("status", path="/posts", status=503, times=10_000))
    load(run, partitions(days, ["jsonplaceholder"], ["posts"]))
    tell_health(run.store)
    assert sink.texts[-1].startswith("DATA OVERDUE: ")
    assert "source `jsonplaceholder` does not answer" in sink.texts[-1]

    api.faults.clear()
    load(Run.create(triggered_by="test"), partitions(days, ["jsonplaceholder"], ["posts"]))
    tell_health(run.store)
    assert sink.texts[-1].splitlines()[0] == "DATA OVERDUE: problems that are over: 1"
    assert "over: source `jsonplaceholder` does not answer" in sink.texts[-1]


def test_a_message_that_no_sink_took_is_sent_by_the_next_call(api, run, sink):
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    load(run, partitions([yesterday - dt.timedelta(days=2), yesterday], ["jsonplaceholder"], ["users"]))
    sink.status = 503
    assert tell_health(run.store) is None

    sink.status = 200
    sink.texts.clear()
    tell_health(run.store)
    tell_health(run.store)
    assert [text.partition(":")[0] for text in sink.texts] == ["DATA OVERDUE"]


@pytest.mark.long
def test_what_a_reconciling_run_cannot_load_is_told_once_and_its_end_too(api, run, sink, start):
    api.faults.append(Fault("status", path="/posts", status=404, times=10_000))
    assert start("reconcile").returncode == 6
    assert start("reconcile").returncode == 7, "it waits for a person"
    (text,) = [text for text in sink.texts if text.startswith("DATA OVERDUE")]
    assert "jsonplaceholder/posts/" in text
    assert "404" in text
    assert not [text for text in sink.texts if text.startswith("TASK FAILED")]

    sink.texts.clear()
    api.faults.clear()
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    assert start("run", "--start-date", yesterday, "--end-date", yesterday).returncode == 0
    start("reconcile")
    assert [text.splitlines()[0] for text in sink.texts if "OVERDUE" in text] == ["DATA OVERDUE: all is well again"]


def test_a_command_that_fails_sends_one_alert_and_a_wrong_request_none(api, sink, start):
    api.faults.append(Fault("status", path="/posts", status=404, times=10_000))
    day = ("--start-date", "2024-01-02", "--end-date", "2024-01-02")
    assert start("ingest", *day, "--resource", "nosuch").returncode == 2
    assert sink.texts == []

    assert start("run", *day).returncode == 6
    assert [text.splitlines()[0] for text in sink.texts if "QUARANTINED" not in text] == [
        "TASK FAILED: `pipeline run`",
    ]
    # the failure is seen by every command that says how the pipeline is
    assert "overdue: jsonplaceholder/posts/2024-01-02: missing, waits for a person" in start("status").stdout
    assert "problems, which `pipeline health` lists" in start("doctor").stdout


def test_what_airflow_found_wrong_with_its_installation_is_told_once_and_when_it_is_over(api, run, sink):
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    load(run, partitions([yesterday], ["jsonplaceholder"]))
    for _ in range(2):
        airflow_findings.note({"DAG files": "dags/x.py: SyntaxError (next: correct the file)"})
        tell_health(run.store)
    (text,) = sink.texts
    assert "Airflow, DAG files: dags/x.py: SyntaxError" in text
    airflow_findings.note({})
    tell_health(run.store)
    assert "all is well again" in sink.texts[1]
