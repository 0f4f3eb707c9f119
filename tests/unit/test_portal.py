"""The parts of the portal: profiles, differences of versions, charts; on small tables, without dbt and a browser."""

import datetime as dt
import sys

import duckdb
import msgspec
import pytest

from scripts.portal import changes, charts, store
from scripts.portal.profile import Bin, ColumnProfile, profile, share_of_nulls


@pytest.fixture
def connection():
    with duckdb.connect() as found:
        yield found


def column_of(connection, sql, hidden=frozenset()):
    connection.execute(f"create or replace table t as {sql}")
    return profile(connection, "t", hidden).columns[0]


def test_a_profile_counts_rows_nulls_and_values(connection):
    connection.execute("create table t as select * from (values (1, 'a'), (2, null), (3, 'a')) as r (id, letter)")

    found = profile(connection, "t", frozenset())

    assert found.row_count == 3
    assert [(column.name, column.null_count, column.distinct_count) for column in found.columns] == [
        ("id", 0, 3),
        ("letter", 1, 1),
    ]
    assert found.sample == (("1", "a"), ("2", None), ("3", "a"))
    assert share_of_nulls(found.columns[1], 3) == "33.3 %"
    assert share_of_nulls(ColumnProfile("x", "INTEGER", 1), 100_000) == "< 0.1 %"


def test_the_values_of_a_sensitive_column_are_nowhere_in_it(connection):
    connection.execute("create table t as select i as id, 'secret' || i % 3 as email from range(9) as r (i)")

    found = profile(connection, "t", frozenset({"email"}))

    assert "secret" not in repr(found)
    assert (found.columns[1].hidden, found.columns[1].distinct_count) == (True, 3)
    assert found.sample[0] == ("0", None)


@pytest.mark.parametrize(
    ("sql", "shape", "bins"),
    [
        ("select i % 3 as n from range(10) as r (i)", "order", [("0", 4), ("1", 3), ("2", 3)]),
        ("select chr(97 + (i % 2)::int) as c from range(5) as r (i)", "values", [("a", 3), ("b", 2)]),
        ("select i as n from range(40) as r (i)", "ranges", [(str(2 * step), 2) for step in range(20)]),
        (
            "select date '2024-01-01' + i::int as d from range(40) as r (i)",
            "ranges",
            [(str(dt.date(2024, 1, 1) + dt.timedelta(days=2 * step)), 2) for step in range(20)],
        ),
        ("select i > 7 as b from range(10) as r (i)", "values", [("False", 8), ("True", 2)]),
        ("select null::integer as n from range(3)", "", []),
        ("select [i] as l from range(3) as r (i)", "", []),
        ("select i::varchar as every from range(300) as r (i)", "", []),
    ],
)
def test_the_distribution_of_a_column(connection, sql, shape, bins):
    found = column_of(connection, sql)

    assert found.shape == shape
    assert [(item.label, item.count) for item in found.bins] == bins


def test_frequent_texts_are_shown_and_the_rest_is_counted(connection):
    found = column_of(connection, "select 'v' || least(i, 20) as c from range(100) as r (i)")

    assert found.bins[0] == Bin("v20", 80)
    assert found.bins[-1] == Bin("16 others", 16, is_rest=True)


@pytest.mark.parametrize(
    "sql",
    [
        "select 'nan'::double as n union all select 'infinity' union all select 1.5 union all select 2.5",
        "select * from (values (1e308), (-1e308), (0)) as r (n)",
        "select t::timestamp as t from (values ('infinity'), ('2024-01-01'), ('2024-01-03 12:00')) as r (t)",
        "select * from (values (170141183460469231731687303715884105727::hugeint), (0), (1)) as r (n)",
        "select uuid() as u from range(3)",
        "select '1 day'::interval * i as i from range(3) as r (i)",
        "select time '00:00' + interval (i) minute as t from range(30) as r (i)",
        "select i::blob::blob as b from (values ('x'), ('y'), ('x')) as r (i)",
        "select {'a': i} as s from range(3) as r (i)",
    ],
)
def test_no_value_of_any_type_stops_a_profile(connection, sql):
    found = column_of(connection, sql)

    assert sum(item.count for item in found.bins) <= 30


def test_a_large_table_is_sampled_and_still_counted(connection, monkeypatch):
    monkeypatch.setattr("scripts.portal.profile._SAMPLED_ROWS", 100)
    connection.execute("create table t as select i as id from range(2000) as r (i)")

    found = profile(connection, "t", frozenset())

    assert (found.row_count, found.is_sampled) == (2000, True)
    assert sum(item.count for item in found.columns[0].bins) == 100


@pytest.fixture
def versions(connection):
    """Compare table `t` of two versions."""

    def run(before, now, key=("id",)):
        connection.execute("attach ':memory:' as before")
        connection.execute(f"create table before.t as {before}")
        connection.execute(f"create table t as {now}")
        return changes.compare(connection, "t", key, "000001", changes.columns(connection, "before.t"))

    return run


def test_rows_are_compared_by_their_key(versions):
    found = versions(
        "select * from (values (1, 'a', 0), (2, 'b', 0), (3, null, 0)) as r (id, name, old)",
        "select * from (values (2, 'B', 1), (3, null, 1), (4, 'd', 1), (5, 'e', 1)) as r (id, name, fresh)",
    )

    assert (found.added, found.changed, found.removed) == (2, 1, 1)
    assert (found.rows_before, found.rows_now) == (3, 4)
    assert (found.columns_added, found.columns_removed) == (("fresh",), ("old",))


def test_without_a_key_rows_are_only_counted(versions):
    found = versions("select 1 as id", "select i::bigint as id from range(3) as r (i)", key=())

    assert (found.added, found.rows_before, found.rows_now) == (None, 1, 3)
    assert found.types_changed == ("id: INTEGER to BIGINT",)


def test_a_null_in_the_key_is_a_value(versions):
    found = versions("select null::integer as id, 1 as n", "select null::integer as id, 2 as n")

    assert (found.added, found.changed, found.removed) == (0, 1, 0)


def draw(*specs, known=None):
    with charts.Drawing() as drawing:
        return drawing.draw(specs, known or {})


HOSTILE = "</svg><script>alert(1)</script>"


def test_a_value_from_outside_is_text_in_a_chart():
    bins = (Bin(HOSTILE, 2), Bin('"; alert(1) //', 1))
    column = ColumnProfile("c", "VARCHAR", shape="values", bins=bins, smallest=HOSTILE, largest="b'\\")
    shapes = [msgspec.structs.replace(column, shape=shape) for shape in ("values", "order", "ranges")]
    specs = [charts.distribution(column) for column in shapes]
    layers = {"0": [f"bronze/{HOSTILE}"], "1": ["gold/x"]}
    specs.append(charts.lineage("gold/x", layers, [(f"bronze/{HOSTILE}", "gold/x")]))

    found = draw(*specs)

    assert len(found) == 4
    for svg in found.values():
        assert svg.startswith("<svg")
        assert "<script" not in svg
        assert svg.count("</svg>") == 1
        assert "http" not in svg.replace("http://www.w3.org/", "")


def test_a_chart_is_drawn_once(monkeypatch):
    spec = charts.distribution(ColumnProfile("c", "INTEGER", shape="order", bins=(Bin("1", 2), Bin("2", 1))))
    name = charts.name_of(spec)
    monkeypatch.setattr(charts.Drawing, "start", lambda _: pytest.fail("a process for nothing"))

    assert draw(spec, known={name: "<svg/>", "another": "<svg/>"}) == {name: "<svg/>"}


@pytest.mark.parametrize("program", ["/nowhere/python", "false"])
def test_without_the_process_there_are_no_charts_and_no_error(monkeypatch, program, caplog):
    monkeypatch.setattr(sys, "executable", program)
    spec = charts.distribution(ColumnProfile("c", "INTEGER", shape="order", bins=(Bin("1", 2), Bin("2", 1))))

    assert draw(spec) == {}
    assert "the portal has no charts" in caplog.text


def test_what_is_kept_holds_for_the_same_data_and_the_same_hidden_columns(tmp_path, connection):
    connection.execute("create table t as select 1 as id")
    made, kept = profile(connection, "t", frozenset()), store.Kept()
    kept.keep("t", "v1", frozenset(), made)
    store.write(tmp_path / "kept.json", kept)
    found = store.read(tmp_path / "kept.json")

    assert found.profile("t", "v1", frozenset()) == made
    assert found.profile("t", "v2", frozenset()) is None
    assert found.profile("t", "v1", frozenset({"id"})) is None
    assert found.profile("other", "v1", frozenset()) is None
    (tmp_path / "kept.json").write_text("{")
    assert store.read(tmp_path / "kept.json") == store.Kept()
