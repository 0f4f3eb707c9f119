"""OpenLineage events of builds: the build, each model that it made, and the tests of each model."""

import datetime as dt
import json

import duckdb
import pytest

from scripts.warehouse.build import warehouse
from scripts.warehouse.lineage import exposures, table_facts
from scripts.warehouse.runner import DbtFailedError
from tests.support.lineage_receiver import problems, receiving

DAYS = dt.date(2024, 1, 2), dt.date(2024, 1, 3)


@pytest.fixture
def receiver(env):
    with receiving() as server:
        env("OPENLINEAGE_URL", server.url)
        yield server


def check_models(receiver, rows, described):
    """Check what the events say of a mart with these rows and columns, and of a staging model."""
    (made,) = receiver.of("build.gold.fct_events")
    (table,) = made["outputs"]
    assert (table["namespace"], table["name"]) == (f"duckdb://{warehouse().path}", "warehouse.gold.fct_events")
    assert table["outputFacets"]["outputStatistics"]["rowCount"] == rows > 0
    fields = table["facets"]["schema"]["fields"]
    assert [(field["name"], field["type"]) for field in fields] == [(row[0], row[1].lower()) for row in described]
    assert all(field["description"] for field in fields)
    columns = table["facets"]["columnLineage"]["fields"]
    (origin,) = columns["body_length_chars"]["inputFields"]
    assert (origin["name"], origin["field"]) == ("warehouse.silver.stg_events", "body")
    assert origin["transformations"][0] == {"type": "DIRECT", "subtype": "TRANSFORMATION"}
    assert {read["name"] for read in made["inputs"]} == {
        "warehouse.silver.stg_events",
        "warehouse.silver.stg_jsonplaceholder__comments",
    }
    (staged,) = receiver.of("build.silver.stg_events")
    assert [read["name"] for read in staged["inputs"]] == [
        str(warehouse().path.parent / "bronze/jsonplaceholder/posts")
    ], "the dataset that a load writes"
    (origin,) = staged["outputs"][0]["facets"]["columnLineage"]["fields"]["event_title"]["inputFields"]
    assert (origin["namespace"], origin["name"], origin["field"]) == ("file", staged["inputs"][0]["name"], "title")


def test_a_build_tells_each_model_with_its_rows_and_tests_and_a_failed_one_what_failed(
    load_days, build, project, receiver
):
    load_days(DAYS[0], sources=["jsonplaceholder"])
    receiver.events.clear()
    done = build()
    assert [problem for event in receiver.events for problem in problems(event)] == []
    assert (receiver.events[0]["job"]["name"], receiver.events[0]["eventType"]) == ("build", "START")
    assert (receiver.events[-1]["job"]["name"], receiver.events[-1]["eventType"]) == ("build", "COMPLETE")
    of_build = receiver.events[0]["run"]["runId"]
    assert {event["run"]["facets"]["parent"]["run"]["runId"] for event in receiver.events[1:-1]} == {of_build}
    request = receiver.events[0]["run"]["facets"]["parent"]["run"]["runId"]
    roots = {event["run"]["facets"]["parent"]["root"]["run"]["runId"] for event in receiver.events}
    assert roots == {request}, "all events lead to one request"

    with duckdb.connect(str(warehouse().path), read_only=True) as connection:
        (rows,) = connection.execute("select count(*) from gold.fct_events").fetchone()
        described = connection.execute("describe gold.fct_events").fetchall()
    check_models(receiver, rows, described)

    (tested,) = receiver.of("test.gold.fct_events")
    assertions = tested["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert {"assertion": "unique", "column": "event_id", "success": True}.items() <= next(
        check for check in assertions if check["assertion"] == "unique"
    ).items()

    used = {found.name: set(found.reads) for found in exposures(warehouse())}
    assert used["user_activity_report"] == {"gold/dim_users", "gold/fct_user_activity_daily"}
    facts = table_facts(warehouse(), done.results)["model.data_pipeline.fct_events"]
    assert facts["seconds"] > 0
    assert sum(facts["tests"].values()) == len(assertions)
    assert facts["description"].startswith("One row per event")

    receiver.events.clear()
    build()
    assert receiver.events == [], "there was nothing to build"

    (project / "tests" / "no_user_one.sql").write_text("select * from {{ ref('fct_events') }} where user_id = '1'")
    load_days(DAYS[1], sources=["jsonplaceholder"])
    receiver.events.clear()
    with pytest.raises(DbtFailedError):
        build()
    assert [problem for event in receiver.events for problem in problems(event)] == []
    (failed,) = receiver.of("test.gold.fct_events", "FAIL")
    checks = failed["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert [check["name"] for check in checks if not check["success"]] == ["no_user_one"]
    (end,) = receiver.of("build", "FAIL")
    assert end["run"]["facets"]["errorMessage"]["message"].startswith("DbtFailedError: A model, a test or dbt")
    assert "user_id=1" not in json.dumps(receiver.events)
