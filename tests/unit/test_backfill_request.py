"""Requests for backfills: what is refused, and what the ledger says of their days."""

import datetime as dt

import pytest

from scripts.errors import UsageError
from scripts.loading import partitions
from scripts.planning.backfill_request import BackfillRequest, airflow_body, check_conf

FIRST, SECOND = dt.date(2024, 1, 1), dt.date(2024, 1, 2)


def test_equal_requests_ask_for_the_same():
    one = BackfillRequest.create("2024-01-01", "2024-01-02", "jsonplaceholder", ["users", "posts"])
    assert one == BackfillRequest.create(FIRST, SECOND, "jsonplaceholder", ["posts", "users", "posts"])
    assert one != BackfillRequest.create(FIRST, SECOND)
    assert one.conf() == {"source": "jsonplaceholder", "resources": ["posts", "users"], "reprocess": False}
    assert BackfillRequest.create(FIRST, FIRST, reprocess="completed").conf()["reprocess"] is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("2024-01-02", "2024-01-01"), "reversed"),
        (("2024-01-01", "2024-02-30"), "is not a date"),
        (("2024-01-01", "2024-01-01", "nope"), "nope"),
        (("2024-01-01", "2024-01-01", "jsonplaceholder", ["nope"]), "nope"),
        (("2024-01-01", "2024-01-01", None, ["posts"]), "without their source"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(arguments, words):
    with pytest.raises(UsageError, match=words):
        BackfillRequest.create(*arguments)


def test_a_day_is_done_when_everything_that_was_asked_for_is_loaded(api, run):
    wanted = partitions.partitions([FIRST], ["jsonplaceholder"])
    partitions.load(run, wanted)
    partitions.load(run, partitions.partitions([SECOND], ["jsonplaceholder"], ["posts"]))
    everything = BackfillRequest.create(FIRST, SECOND, "jsonplaceholder")
    assert everything.states(run.store) == {FIRST: "loaded", SECOND: "due"}
    posts = BackfillRequest.create(FIRST, SECOND, "jsonplaceholder", ["posts"])
    assert posts.states(run.store) == {FIRST: "loaded", SECOND: "loaded"}
    today = dt.datetime.now(dt.UTC).date()
    partitions.load(run, partitions.partitions([today], ["jsonplaceholder"], ["posts"]))
    assert BackfillRequest.create(today, today, "jsonplaceholder", ["posts"]).states(run.store) == {
        today: "provisional"
    }


def test_keys_that_nobody_reads_are_refused():
    check_conf(None)
    check_conf({"source": "jsonplaceholder", "resources": [], "reprocess": True})
    with pytest.raises(UsageError, match="unknown keys in the configuration of the run: end_date, start_date"):
        check_conf({"start_date": "2024-01-01", "end_date": "2024-01-01"})
    with pytest.raises(UsageError, match="not an object"):
        check_conf([])


def body(first="2024-01-01T00:00:00Z", last="2024-01-02T00:00:00Z", **more):
    return {"dag_id": "pipeline_bronze", "from_date": first, "to_date": last, **more}


@pytest.mark.parametrize(
    ("more", "again"),
    [
        ({}, False),
        ({"reprocess_behavior": "none", "dag_run_conf": None}, False),
        ({"reprocess_behavior": "failed"}, False),
        ({"reprocess_behavior": "none", "dag_run_conf": {"reprocess": True}}, True),
        ({"reprocess_behavior": "completed", "dag_run_conf": {"reprocess": False}}, True),
    ],
)
def test_airflow_makes_a_run_for_each_day_and_the_run_decides(more, again):
    found = airflow_body(body(**more))
    assert found == body(reprocess_behavior="completed", dag_run_conf={"reprocess": again})


def test_what_the_form_of_airflow_sends_is_understood():
    """Its bundle sends every parameter, the last second of the last day, and the days in the chosen time zone."""
    conf = {"source": None, "resources": [], "start_date": None, "end_date": None, "reprocess": False}
    sent = body(last="2024-01-02T23:59:59.999Z", reprocess_behavior="none", dag_run_conf=conf)
    assert airflow_body(sent)["dag_run_conf"] == {"resources": [], "reprocess": False}
    assert airflow_body(body(reprocess_behavior="nope"))["reprocess_behavior"] == "nope", "Airflow refuses it"
    for first, last in (
        ("2023-12-31T23:00:00Z", "2024-01-02T22:59:59.999Z"),
        ("2024-01-01T00:00:00+02:00", "2024-01-02T00:00:00Z"),
        ("2024-01-01T00:00:00Z", "2024-01-02T12:00:00Z"),
    ):
        with pytest.raises(UsageError, match="choose UTC in the menu of time zones"):
            airflow_body(body(first, last))
