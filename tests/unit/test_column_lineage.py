"""Which columns a column is computed from, read from compiled SQL; the same SQL runs in DuckDB."""

import duckdb
import pytest

from scripts.warehouse.column_lineage import column_lineage
from scripts.warehouse.column_origins import Input, is_known, sources_of

ORDERS, PEOPLE = "source.p.shop.orders", "source.p.shop.people"
STAGING = """
with source as (select * from (select * from latest_row_per_key('shop', 'orders')))
select cast(id as varchar) as order_id, cast(personId as varchar) as person_id, amount, "group", last_seen_date
from source
"""


def source(name, *columns, **meta):
    return {
        "source_name": "shop",
        "name": name,
        "identifier": name,
        "schema": "shop",
        "columns": {column: {"name": column} for column in [*columns, "_extra", "_row", "dt"]},
        "config": {"meta": {"primary_key": ["id"], "load_mode": "snapshot", **meta}},
    }


def node(name, code, *reads, kind="model", **keys):
    return {
        "unique_id": f"{kind}.p.{name}",
        "name": name,
        "resource_type": kind,
        "schema": "gold",
        "alias": name,
        "columns": {},
        "config": {"materialized": "table"},
        "depends_on": {"nodes": list(reads)},
        "compiled_code": code,
        **keys,
    }


def manifest(*nodes):
    staging = node("stg", STAGING, ORDERS)
    people = node("people", "select id, name, age from bronze_rows('shop', 'people')", PEOPLE)
    return {
        "nodes": {item["unique_id"]: item for item in (staging, people, *nodes)},
        "sources": {
            ORDERS: source("orders", "id", "personId", "amount", "group"),
            PEOPLE: source("people", "id", "name", "age", deletes="detect"),
        },
    }


def origins(code, *, reads=("model.p.stg", "model.p.people")):
    """Return the inputs of each column of a model with some SQL, as texts; DuckDB must be able to run the SQL."""
    with duckdb.connect() as connection:
        connection.execute(
            "create schema gold; create table gold.stg(order_id varchar, person_id varchar, amount double,"
            ' "group" varchar, last_seen_date date); create table gold.people(id bigint, name varchar, age bigint)'
        )
        names = [column[0] for column in connection.execute(code).description]
    found = column_lineage(manifest(node("mart", code, *reads)))["model.p.mart"]
    assert found.problem == ""
    assert list(found.columns) == names
    return {name: shown(origin.inputs) for name, origin in found.columns.items()}


def shown(inputs):
    return sorted(f"{item.node.rpartition('.')[2]}.{item.column or '*'} {item.kind}" for item in inputs)


def test_the_columns_of_bronze_are_those_of_the_contract():
    found = column_lineage(manifest())

    assert {name: shown(origin.inputs) for name, origin in found["model.p.stg"].columns.items()} == {
        "order_id": ["orders.id same"],
        "person_id": ["orders.personId same"],
        "amount": ["orders.amount same"],
        "group": ["orders.group same"],
        "last_seen_date": ["orders.last_seen_date same"],
    }


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param("select Order_ID from gold.stg", {"order_id": ["stg.order_id same"]}, id="another-case"),
        pytest.param('select "group" as "My Group" from gold.stg', {"My Group": ["stg.group same"]}, id="quoted"),
        pytest.param("select amount * 2 as twice from gold.stg", {"twice": ["stg.amount computed"]}, id="computed"),
        pytest.param("select try_cast(amount as bigint) as n from gold.stg", {"n": ["stg.amount same"]}, id="cast"),
        pytest.param(
            "select person_id, sum(amount) as total, count(*) as n from gold.stg group by all",
            {"person_id": ["stg.person_id same"], "total": ["stg.amount aggregated"], "n": ["stg.* rows"]},
            id="aggregated",
        ),
        pytest.param(
            "with a as (select * exclude (amount) from gold.stg), b as (select *, upper(order_id) as u from a)"
            " select b.u, name from b left join gold.people on b.person_id = cast(people.id as varchar)",
            {"u": ["stg.order_id computed"], "name": ["people.name same"]},
            id="stars-and-joins",
        ),
        pytest.param(
            "select order_id as key from gold.stg union all select name from gold.people",
            {"key": ["people.name same", "stg.order_id same"]},
            id="union",
        ),
        pytest.param(
            "select order_id, (select max(age) from gold.people) as oldest from gold.stg",
            {"order_id": ["stg.order_id same"], "oldest": ["people.age aggregated"]},
            id="query-in-an-expression",
        ),
        pytest.param(
            "with recursive up as (select id, age from gold.people union all"
            " select id, age + 1 from up where age < 3) select id from up",
            {"id": ["people.id same"]},
            id="recursive",
        ),
        pytest.param(
            "select list_transform([amount], lambda x: x + 1) as l, u.y from gold.stg, unnest([order_id]) as u(y)",
            {"l": ["stg.amount computed"], "y": ["stg.order_id computed"]},
            id="lists",
        ),
        pytest.param(
            "select s.order_id, l.n from gold.stg as s, lateral (select s.amount + 1 as n) as l",
            {"order_id": ["stg.order_id same"], "n": ["stg.amount computed"]},
            id="lateral",
        ),
        pytest.param("select 1 as one, now() as t from gold.stg", {"one": [], "t": []}, id="constants"),
        pytest.param(
            "select row_number() over (partition by person_id order by amount) as place from gold.stg",
            {"place": ["stg.amount aggregated", "stg.person_id aggregated"]},
            id="window",
        ),
    ],
)
def test_inputs(code, expected):
    assert origins(code) == expected


def test_a_column_that_cannot_be_resolved_is_not_whole():
    found = column_lineage(manifest(node("mart", "select a, order_id from elsewhere.t, gold.stg", "model.p.stg")))

    columns = found["model.p.mart"].columns
    assert {name: origin.is_whole for name, origin in columns.items()} == {"a": False, "order_id": True}


def test_a_column_above_one_that_could_not_be_read_is_not_known():
    broken = node("broken", "select from where", "model.p.people", columns={"a": {"name": "a"}})
    code = "select a, order_id, e from gold.broken, gold.stg, elsewhere.t"
    mart = node("mart", code, "model.p.broken", "model.p.stg")
    top = node("top", "select a, order_id, e from gold.mart", "model.p.mart")
    lineage = column_lineage(manifest(broken, mart, top))

    assert {name: is_known(lineage, "model.p.top", name) for name in ("a", "order_id", "e", "nothing")} == {
        "a": False,
        "order_id": True,
        "e": False,
        "nothing": False,
    }


def test_the_text_that_stands_for_the_day_of_a_deletion_is_that_column():
    rows = """(select *, '"detect"' as deleted_date from latest_row_per_key('shop', 'people'))"""
    code = f"select id, deleted_date from {rows}"
    found = column_lineage(manifest(node("staged", code, PEOPLE)))["model.p.staged"]

    assert {name: shown(origin.inputs) for name, origin in found.columns.items()} == {
        "id": ["people.id same"],
        "deleted_date": ["people.deleted_date same"],
    }


def test_steps_are_the_expressions_from_the_last_to_the_first():
    code = """
        with counted as (select person_id, count(*) as n from gold.stg group by person_id)
        select name, coalesce(counted.n, 0) as order_count
        from gold.people left join counted on counted.person_id = cast(people.id as varchar)
    """
    found = column_lineage(manifest(node("mart", code, "model.p.stg", "model.p.people")))["model.p.mart"]

    assert [(step.name, step.expression) for step in found.columns["order_count"].steps] == [
        ("order_count", "coalesce(n, 0)"),
        ("counted.n", "count(*)"),
    ]
    assert found.columns["name"].steps == ()


def test_filters_are_the_conditions_that_leave_rows_out():
    code = """
        select stg.order_id from gold.stg inner join gold.people on stg.person_id = cast(people.id as varchar)
        left join gold.people as other on other.id = 1
        where amount > 0 and true group by all having count(*) > 1
    """
    found = column_lineage(manifest(node("mart", code, "model.p.stg", "model.p.people")))["model.p.mart"]

    assert found.filters == (
        "where amount > 0 AND TRUE",
        "having count(*) > 1",
        "join people on person_id = CAST(id AS TEXT)",
    )


def test_a_column_is_followed_to_the_contract_through_all_models():
    first = node(
        "first", "select person_id, sum(amount) as total, count(*) as n from gold.stg group by 1", "model.p.stg"
    )
    second = node("second", "select person_id, total / n as mean, n as m from gold.first", "model.p.first")
    lineage = column_lineage(manifest(first, second))

    assert sources_of(lineage, "model.p.second", "mean") == [
        Input(ORDERS, None, "rows"),
        Input(ORDERS, "amount", "aggregated"),
    ]
    assert sources_of(lineage, "model.p.second", "person_id") == [Input(ORDERS, "personId", "same")]
    assert sources_of(lineage, "model.p.second", "m") == [Input(ORDERS, None, "rows")]
    assert sources_of(lineage, "model.p.second", "nothing") == []


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"language": "python"}, "it is a Python model"),
        ({"compiled_code": ""}, "dbt compiled no SQL for it"),
        ({"compiled_code": "select from where"}, "its SQL could not be analyzed"),
        ({"compiled_code": "select * from elsewhere"}, "`*` of a table whose columns are not known"),
        ({"compiled_code": "copy x to 'y'"}, "its SQL could not be analyzed"),
    ],
)
def test_a_model_that_cannot_be_read_says_why_and_stops_no_other(keys, problem):
    broken = node("broken", "", "model.p.stg", **{"columns": {"a": {"name": "a"}}, **keys})
    reader = node("reader", "select a as b from gold.broken", "model.p.broken")
    found = column_lineage(manifest(broken, reader))

    assert problem in found["model.p.broken"].problem
    assert list(found["model.p.broken"].columns) == ["a"]
    assert found["model.p.broken"].reads == ("model.p.stg",)
    assert shown(found["model.p.reader"].columns["b"].inputs) == ["broken.a same"]


def test_only_the_wanted_models_and_what_they_read_are_analyzed():
    other = node("other", "select 1 as x")
    mart = node("mart", "select order_id from gold.stg", "model.p.stg")

    assert set(column_lineage(manifest(other, mart), only=["model.p.mart"])) == {"model.p.stg", "model.p.mart"}
