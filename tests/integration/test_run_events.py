"""OpenLineage events of loads, over HTTP, checked against the classes that the standard's project makes."""

import datetime as dt
import json
import socket
import sys

import pytest

from scripts.config import PROJECT_DIR
from scripts.errors import SettingsError
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from scripts.loading.partitions import load, partitions
from scripts.run_events.run_event import request_task
from scripts.sample_api.data import collection
from scripts.sample_api.server import Fault
from scripts.validate_data import validate_partition
from tests.support.lineage_receiver import problems, receiving

DAY = dt.date(2024, 1, 2)


@pytest.fixture
def receiver(env):
    with receiving() as server:
        env("OPENLINEAGE_URL", server.url)
        yield server


def facet(event, side, kind, key):
    return event[side][0][kind][key]


def told_by_log(capsys):
    """Return what the log says about events."""
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [line["message"] for line in lines if line["logger"] == "pipeline.openlineage"]


def test_a_load_and_its_validation_are_two_runs_with_their_counts(api, run, receiver):
    """The counts are those of the ledger, and every event fits the standard."""
    load(run, partitions([DAY], ["jsonplaceholder"], ["posts"]))

    assert [problem for event in receiver.events for problem in problems(event)] == []
    (entry,) = run.store.entries()
    assert entry.quarantined, "the sample has rows that do not fit"
    order = [(event["eventType"], event["job"]["name"].partition(".")[0]) for event in receiver.events]
    assert order == [("START", "ingest"), ("COMPLETE", "ingest"), ("START", "validate"), ("COMPLETE", "validate")]
    assert len({event["run"]["runId"] for event in receiver.events}) == 2
    (done,) = receiver.of("ingest.jsonplaceholder.posts")
    assert (done["inputs"][0]["namespace"], done["inputs"][0]["name"]) == (api.url, "/posts")
    assert facet(done, "inputs", "inputFacets", "inputStatistics")["rowCount"] == entry.fetched
    bronze, quarantine = done["outputs"]
    assert (bronze["namespace"], bronze["name"]) == ("file", str(run.store.root / "jsonplaceholder/posts"))
    assert bronze["outputFacets"]["outputStatistics"]["rowCount"] == entry.bronze
    assert bronze["outputFacets"]["outputStatistics"]["size"] == entry.bytes
    assert quarantine["outputFacets"]["outputStatistics"]["rowCount"] == entry.quarantined
    assert [field["name"] for field in bronze["facets"]["schema"]["fields"]][:2] == ["id", "userId"]
    assert bronze["facets"]["columnLineage"]["fields"]["userId"]["inputFields"][0]["field"] == "userId"
    assert bronze["facets"]["version"]["datasetVersion"] == entry.content_hash
    parent = done["run"]["facets"]["parent"]
    assert parent["run"]["runId"] == request_task(run).run_id
    assert done["run"]["facets"]["nominalTime"]["nominalStartTime"] == "2024-01-02T00:00:00.000Z"

    (checked,) = receiver.of("validate.jsonplaceholder.posts")
    rules = facet(checked, "inputs", "inputFacets", "dataQualityAssertions")["assertions"]
    broken = {rule.rule: rule.rows for rule in entry.rules}
    assert len(rules) == 4
    assert {rule["name"]: int(rule["actual"]) for rule in rules if not rule["success"]} == broken


def test_each_step_of_an_orchestrator_tells_its_own_run_and_a_repeated_one_tells_nothing(blog, api, run, receiver):
    with Client(blog) as client:
        ingest_partition(blog, "users", DAY, run, client)
    validate_partition(blog, "users", DAY, run)
    validate_partition(blog, "users", DAY, run)

    assert [(event["eventType"], event["job"]["name"]) for event in receiver.events] == [
        *(("START", "ingest.jsonplaceholder.users"), ("COMPLETE", "ingest.jsonplaceholder.users")),
        *(("START", "validate.jsonplaceholder.users"), ("COMPLETE", "validate.jsonplaceholder.users")),
    ]


def test_a_failed_load_tells_the_kind_of_the_error_and_no_value(api, run, receiver):
    api.faults.append(Fault("status", path="/users", status=404, times=10_000))
    (outcome,) = load(run, partitions([DAY], ["jsonplaceholder"], ["users"]))

    assert outcome.error is not None
    (failed,) = receiver.of("ingest.jsonplaceholder.users", "FAIL")
    assert problems(failed) == []
    message = failed["run"]["facets"]["errorMessage"]["message"]
    assert message.startswith("SourceRejectedError: The source refused the request")
    assert len(receiver.events) == 2


def test_no_event_holds_a_value_of_a_row_or_a_secret(blog, api, run, receiver, env):
    """Also not values that broke a rule, which messages and the ledger show."""
    env("OPENLINEAGE_API_KEY", "key-of-the-receiver")
    load(run, partitions([DAY], ["jsonplaceholder"]))
    told = json.dumps(receiver.events)

    rows = "".join(path.read_text() for path in (run.store.root / "_quarantine").rglob("*.jsonl"))
    values = {str(value) for line in rows.splitlines() for value in json.loads(json.loads(line)["raw"]).values()}
    values |= {user["email"] for user in collection("users", DAY)}
    assert [value for value in values if len(value) > 5 and value in told] == []
    assert "key-of-the-receiver" not in told
    assert set(receiver.keys) == {"Bearer key-of-the-receiver"}


def test_nothing_is_imported_or_sent_without_a_receiver(start, api):
    """Importing the client takes half a second."""
    code = (
        "import sys, datetime as dt\n"
        "from scripts.bronze.run import Run\n"
        "from scripts.loading.partitions import load, partitions\n"
        "load(Run.create(), partitions([dt.date(2024, 1, 2)], ['jsonplaceholder'], ['users']))\n"
        "print('openlineage' in sys.modules)\n"
    )
    assert start("-c", code, program=(sys.executable,)).stdout.strip() == "False"
    with receiving() as server:
        done = start("-c", code, program=(sys.executable,), OPENLINEAGE_URL=server.url)
        assert done.stdout.strip() == "True", done.stderr
        assert len(server.events) == 4, "they are sent before the process ends"


@pytest.mark.parametrize("status", [401, 500])
def test_a_receiver_that_refuses_is_named_once_and_loads_go_on(api, run, receiver, capsys, status):
    receiver.status = status
    outcomes = load(run, partitions([DAY], ["jsonplaceholder"]))

    assert all(outcome.entry for outcome in outcomes)
    (line,) = told_by_log(capsys)
    assert line == f"events for {receiver.url}/ are lost, and the work goes on without them: HTTP {status}"


def test_a_receiver_that_cannot_be_reached_costs_no_time(api, run, env, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        env("OPENLINEAGE_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert all(outcome.entry for outcome in load(run, partitions([DAY], ["jsonplaceholder"])))
    (line,) = told_by_log(capsys)
    assert line.endswith("ConnectionError")


def test_a_receiver_that_hangs_is_waited_for_once_and_not_for_long(api, run, receiver, monkeypatch, capsys):
    monkeypatch.setattr("scripts.run_events.sending._LONGEST_WAIT", 0.2)
    receiver.answering.clear()
    try:
        outcomes = load(run, partitions([DAY], ["jsonplaceholder"]))
        assert all(outcome.entry for outcome in outcomes)
        assert receiver.events == []
        (line,) = told_by_log(capsys)
        assert line.endswith("it takes longer than 0.2 s")
    finally:
        receiver.answering.set()


def test_the_settings_refuse_a_key_in_plain_text_and_a_login_in_the_address(env):
    from scripts.config import settings  # noqa: PLC0415

    env("OPENLINEAGE_API_KEY", "key-of-the-receiver")
    env("OPENLINEAGE_URL", "http://marquez.example.com")
    with pytest.raises(SettingsError, match="OPENLINEAGE_API_KEY is refused") as refused:
        settings()
    assert "key-of-the-receiver" not in str(refused.value)
    env("OPENLINEAGE_URL", "https://user:pass-word@marquez.example.com")
    with pytest.raises(SettingsError, match="OPENLINEAGE_URL is refused") as refused:
        settings()
    assert "pass-word" not in str(refused.value)


def test_the_environment_has_no_second_sender_of_events():
    """Airflow's provider would tell of each task too; it is not installed, so each run is told once."""
    lock = (PROJECT_DIR / "uv.lock").read_text()
    assert "apache-airflow-providers-openlineage" not in lock


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda event: event["run"].update(runId="7"), "badly formed"),
        (lambda event: event.update(eventTime="yesterday"), "eventTime"),
        (lambda event: event.update(eventType="DONE"), "no state"),
        (lambda event: event["outputs"][0].update(rows=1), "unknown"),
        (lambda event: event["outputs"][0].pop("name"), "no name"),
        (lambda event: event["outputs"][0]["outputFacets"]["outputStatistics"].update(rowCount="7"), "is no"),
        (lambda event: event["run"]["facets"].update(parents=event["run"]["facets"].pop("parent")), "the key of"),
        (lambda event: event["run"]["facets"]["parent"].update(_schemaURL="x"), "has the schema"),
    ],
)
def test_the_check_of_events_finds_what_does_not_fit(api, run, receiver, change, found):
    load(run, partitions([DAY], ["jsonplaceholder"], ["users"]))
    event = receiver.of("ingest.jsonplaceholder.users")[0]
    assert problems(event) == []
    change(event)
    assert found in " ".join(problems(event))
