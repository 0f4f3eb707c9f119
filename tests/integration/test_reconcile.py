"""The reconciling run on a real source: it does what is due, says what stays, and never twice what others do."""

import concurrent.futures
import datetime as dt
import json

import pytest

from scripts.bronze import attempts
from scripts.bronze.ledger import Partition
from scripts.bronze.run import Run
from scripts.contracts import catalog
from scripts.loading.partitions import load, partitions
from scripts.planning.reconcile import done_since, examine, load_due, plan_request
from scripts.sample_api.server import Fault

RESOURCES = ("posts", "users", "comments", "todos")


@pytest.fixture
def yesterday():
    """The day before, as it is when the test begins: a test may run over midnight."""
    return dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)


def days(day, resources=None):
    return partitions([day], ["jsonplaceholder"], resources)


def states(store, day):
    return {item.partition.resource: item.state for item in plan_request(store, days(day))}


def test_a_fresh_installation_loads_yesterday(api, run, yesterday):
    outcomes = load_due(run, examine(run.store))

    assert {(outcome.partition.resource, outcome.partition.day) for outcome in outcomes} == {
        (name, yesterday) for name in RESOURCES
    }
    assert examine(run.store).work == []


def test_a_range_that_includes_today_is_loaded_again_when_today_is_over(api, run):
    today = dt.datetime.now(dt.UTC).date()
    load(run, days(today))

    assert set(states(run.store, today).values()) == {"provisional"}
    tomorrow = dt.datetime.combine(today + dt.timedelta(days=1), dt.time(0, 1), dt.UTC)
    assert {item.partition.day for item in examine(run.store, tomorrow).ready} == {today}


def test_what_was_ingested_only_is_validated(api, run, yesterday):
    load(run, days(yesterday), steps=("ingest",))
    asked = sum(api.requests_by_path.values())

    load_due(run, examine(run.store))
    assert set(states(run.store, yesterday).values()) == {"loaded"}
    assert sum(api.requests_by_path.values()) == asked, "nothing is fetched again"


def test_a_failure_is_noted_waits_and_is_forgotten_when_the_day_is_loaded(api, run, env, yesterday):
    env("API_RETRIES", 0)
    partition = Partition("jsonplaceholder", "comments", yesterday)
    api.faults.append(Fault("status", path="/comments", status=503, times=10_000))
    load_due(run, examine(run.store))
    load(run, [partition])
    path = attempts.document_of(run.store, partition).path
    # as tools make them that bring folders of two machines together
    copy = path.with_name(f"{yesterday} (1).json")
    copy.write_bytes(path.read_bytes())
    assert list(attempts.all_of(run.store)) == [partition]
    noted = attempts.all_of(run.store)[partition]
    assert (noted.error, noted.count, noted.is_final) == ("SourceUnavailableError", 2, False)

    found = examine(run.store)
    assert [item.partition for item in found.problems] == [partition]
    assert "503" in found.problems[0].waits_for
    api.faults.clear()
    assert load_due(run, found) == [], "it waits for its time"
    load_due(run, examine(run.store, noted.retry_at))
    assert attempts.all_of(run.store) == {}
    assert examine(run.store).work == []


def test_a_final_error_is_not_repeated(api, run, yesterday):
    api.faults.append(Fault("status", path="/users", status=404, times=10_000))
    load_due(run, examine(run.store))
    much_later = examine(run.store, dt.datetime.now(dt.UTC) + dt.timedelta(days=3))
    waits_for = {item.partition: item.waits_for for item in much_later.work}

    assert "a person: " in waits_for[Partition("jsonplaceholder", "users", yesterday)]
    assert "HTTP 404" in waits_for[Partition("jsonplaceholder", "users", yesterday)]


def test_a_request_plans_after_it_completed_what_a_killed_process_left(api, run, killed_at_commit):
    day = dt.date(2024, 1, 2)
    load(run, days(day, ["posts"]))
    with killed_at_commit():
        load(run, days(day, ["posts"]), steps=("ingest",))

    assert states(run.store, day)["posts"] == "not validated"


def test_six_equal_ranges_at_once_load_once(api):
    day = dt.date(2024, 1, 2)
    asked_at = dt.datetime.now(dt.UTC)

    def ask(number):
        run = Run.create(triggered_by=f"test {number}")
        due = [item.partition for item in plan_request(run.store, days(day)) if item.state != "loaded"]
        return load(run, due, is_done=done_since(asked_at, again=False))

    with concurrent.futures.ThreadPoolExecutor(6) as executor:
        outcomes = [outcome for done in executor.map(ask, range(6)) for outcome in done]
    assert all(outcome.entry and outcome.entry.status == "validated" for outcome in outcomes)
    assert {path: count for path, count in api.requests_by_path.items() if count > 1} == {}


def test_a_wish_to_load_again_is_granted(api, run):
    day = dt.date(2024, 1, 2)
    load(run, days(day, ["posts"]))
    asked = api.requests_by_path["/posts"]
    load(run, days(day, ["posts"]), is_done=done_since(dt.datetime.now(dt.UTC), again=True))

    assert api.requests_by_path["/posts"] == 2 * asked


def test_a_load_that_a_clock_dated_in_the_future_fulfills_no_request(api, run):
    day = dt.date(2024, 1, 2)
    load(run, days(day, ["posts"]))
    record = next((run.store.root / "_ledger").rglob(f"{day}.json"))
    year = f'"{dt.datetime.now(dt.UTC):%Y}-'
    record.write_text(record.read_text().replace(year, '"9000-'))
    asked = api.requests_by_path["/posts"]

    for again in (True, False):
        load(run, days(day, ["posts"]), is_done=done_since(dt.datetime.now(dt.UTC), again=again))
        assert api.requests_by_path["/posts"] > asked
        asked = api.requests_by_path["/posts"]
        record.write_text(record.read_text().replace(year, '"9000-'))


def test_a_broken_contract_stops_only_its_own_source(api, run, tmp_path, monkeypatch, yesterday):
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "jsonplaceholder.yml").write_bytes((catalog.SOURCES_DIR / "jsonplaceholder.yml").read_bytes())
    (folder / "bank.yml").write_text("source: bank\n")
    monkeypatch.setattr(catalog, "SOURCES_DIR", folder)
    found = examine(run.store)

    assert list(found.broken) == ["bank"]
    assert len(load_due(run, found)) == len(RESOURCES)
    assert set(states(run.store, yesterday).values()) == {"loaded"}


@pytest.mark.slow
def test_the_command_brings_what_is_due_to_gold_and_then_has_nothing_to_do(api, start):
    assert json.loads(start("due", "--json").stdout)["build"]["due"] is False
    done = start("reconcile")
    assert done.returncode == 0, done.stderr
    assert "published version 000001" in done.stdout

    again = start("reconcile")
    assert (again.returncode, again.stdout) == (0, "nothing is due\n")


def test_the_exit_code_says_that_something_stays(api, start, yesterday):
    api.faults.append(Fault("status", path="/", status=404, times=10_000))
    done = start("reconcile")
    assert done.returncode == 6
    assert "HTTP 404" in done.stderr

    again = start("reconcile")
    assert again.returncode == 7
    assert "a person:" in again.stdout
