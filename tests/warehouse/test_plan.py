"""The plan of a build: a pure function, tried without dbt."""

import datetime as dt

import pytest

from scripts.bronze.ledger import Partition
from scripts.warehouse.plan import NodeState, PendingPartition, State, TestState, plan_build
from scripts.warehouse.project import Node, Project, Test

TestState.__test__ = Test.__test__ = False
POSTS = ("blog", "posts")


def node(name, *parents, strategy="", **more):
    made = {"affected_by": parents if strategy == "replace_affected_keys" else (), "layer": "silver"} | more
    return Node(
        name,
        name,
        "model",
        "incremental",
        "s",
        name,
        f"{name}.sql",
        name,
        f"fp {name}",
        parents=parents,
        strategy=strategy,
        **made,
    )


STAGING = node("staging", strategy="latest_wins", resources=(POSTS,))
MART = node("mart", "staging", strategy="replace_affected_keys", layer="gold")
TABLE = node("table", "mart", layer="gold")
SNAPSHOT = node("snapshot", "staging", keeps_history=True)
TESTS = {
    "rows": Test("rows", "rows", "rows", "fp", "p", layer="gold", parents=("mart",), node="mart"),
    "whole": Test("whole", "whole", "whole", "fp", "p", layer="gold", parents=("mart",)),
    "table": Test("table", "table", "table", "fp", "p", layer="gold", parents=("table",)),
}
PROJECT = Project("digest", {n.id: n for n in (STAGING, MART, TABLE, SNAPSHOT)}, TESTS)


def held(one, **more):
    consumed = dict.fromkeys(one.parents, "v1")
    about = {"changes_from": None, "consumed": consumed, "fingerprint": one.fingerprint, "data_version": "v1"} | more
    return NodeState(relation=one.relation, keeps_history=one.keeps_history, name=one.name, **about)


def state(*pending, tests=None, **changed):
    nodes = {one.id: held(one) for one in PROJECT.nodes.values()} | changed
    known = {name: TestState("fp", "pass", dict.fromkeys(test.parents, "v1")) for name, test in TESTS.items()}
    partitions = {"staging": list(pending)} if pending else {}
    return State({name: found for name, found in nodes.items() if found}, known | (tests or {}), partitions)


def day(number, **about):
    return PendingPartition(Partition(*POSTS, dt.date(2024, 1, number)), **({"is_new": True} | about))


def modes(plan):
    return {planned.node: planned.mode for planned in plan.nodes}


def rows(plan):
    return {planned.test: planned.rows for planned in plan.tests}


def test_nothing_changed_is_nothing_to_do():
    plan = plan_build(PROJECT, state())
    assert plan.is_empty
    assert set(rows(plan).values()) == {"skip"}


def test_a_new_day_is_followed_by_changes_and_by_tables_as_a_whole():
    plan = plan_build(PROJECT, state(day(4)))
    assert modes(plan) == {"staging": "incremental", "mart": "incremental", "table": "full", "snapshot": "history"}
    assert rows(plan) == {"rows": "changed", "whole": "all", "table": "all"}
    assert plan.partitions == (Partition(*POSTS, dt.date(2024, 1, 4)),)


@pytest.mark.parametrize(
    "changed",
    [
        {"staging": held(STAGING, fingerprint="another")},
        {"staging": None},
        {"staging": held(STAGING, data_version="v2")},
        {"staging": held(STAGING, data_version="v3", changes_from="v2")},
    ],
    ids=["edited", "lost", "a build was missed", "the changes begin too late"],
)
def test_what_does_not_tell_all_changes_counts_as_changed_whole(changed):
    assert modes(plan_build(PROJECT, state(**changed)))["mart"] == "full"


def test_a_refresh_that_is_asked_for_reaches_what_reads_the_node_and_leaves_histories_their_rows():
    plan = plan_build(PROJECT, state(), refreshed=frozenset({"staging", "snapshot"}))
    assert modes(plan) == {"staging": "full", "mart": "full", "table": "full", "snapshot": "history"}
    only = plan_build(PROJECT, state(), refreshed=frozenset({"mart"}))
    assert modes(only) == {"staging": "skip", "mart": "full", "table": "full", "snapshot": "skip"}


def test_changes_that_begin_where_the_mart_stands_are_enough():
    plan = plan_build(PROJECT, state(staging=held(STAGING, data_version="v2", changes_from="v1")))
    assert modes(plan) == {"staging": "skip", "mart": "incremental", "table": "full", "snapshot": "history"}


def test_an_upstream_that_affected_by_leaves_out_counts_as_changed_whole():
    mart = node("mart", "staging", strategy="replace_affected_keys", affected_by=())
    project = Project("digest", {"staging": STAGING, "mart": mart}, {})
    assert modes(plan_build(project, state(day(4))))["mart"] == "full"


def test_a_layer_leaves_the_other_one_for_later():
    plan = plan_build(PROJECT, state(day(4)), layers=["silver"])
    assert modes(plan) == {"staging": "incremental", "mart": "skip", "table": "skip", "snapshot": "history"}
    assert plan.tests == ()


def test_a_history_follows_days_in_order_and_is_made_in_full_by_others():
    history = node("history", strategy="extend_history", resources=(POSTS,))
    project = Project("digest", {"history": history}, {})
    known = {"history": held(history)}
    for pending, mode in ((day(4, is_in_order=True), "incremental"), (day(2), "full"), (day(3, is_new=False), "full")):
        assert modes(plan_build(project, State(known, {}, {"history": [pending]})))["history"] == mode


def test_a_node_whose_columns_in_bronze_have_another_type_is_built_in_full():
    resource = "/".join(POSTS)
    known = {"staging": held(STAGING, types={resource: {"id": "integer", "gone": "string"}})}
    now = {resource: {"id": "string", "new": "string"}}
    project = Project("digest", {"staging": STAGING}, {})

    (planned,) = plan_build(project, State(known, {}, {"staging": [day(4)]}, now)).nodes

    assert (planned.mode, "the type of `id` of" in planned.reason) == ("full", True)
    assert plan_build(project, State(known, {}, {}, now)).is_empty, "without a partition there is nothing to build"
    same = {resource: {"id": "integer"}}
    assert modes(plan_build(project, State(known, {}, {"staging": [day(4)]}, same)))["staging"] == "incremental"


def test_tests_that_are_new_failed_or_warned_see_all_rows():
    for status, expected in (("fail", "all"), ("warn", "all"), ("pass", "changed")):
        known = {"rows": TestState("fp", status, {"mart": "v1"})}
        assert rows(plan_build(PROJECT, state(day(4), tests=known)))["rows"] == expected
    assert rows(plan_build(PROJECT, state(tests={"rows": TestState("old", "pass", {"mart": "v1"})})))["rows"] == "all"
    assert rows(plan_build(PROJECT, state(tests={"rows": TestState("fp", "warn", {"mart": "v1"})})))["rows"] == "skip"
    assert set(rows(plan_build(PROJECT, state(), full_tests=True)).values()) == {"all"}


def test_what_the_project_does_not_make_any_more_is_dropped():
    gone = held(node("gone"))
    plan = plan_build(PROJECT, state(gone=gone))
    assert [drop.relation for drop in plan.drops] == ['"s"."gone"']
    assert not plan.is_empty


def test_last_seen_date_is_compared_only_for_those_that_read_it():
    assert plan_build(PROJECT, state()).compare_last_seen == frozenset()
    reader = held(MART, columns=frozenset({"last_seen_date"}))
    assert plan_build(PROJECT, state(mart=reader)).compare_last_seen == {"staging"}
