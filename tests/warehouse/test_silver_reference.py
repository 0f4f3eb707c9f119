"""Silver and Gold are what a few lines of Python compute, whatever columns, folders and values are called or hold."""

import datetime as dt
import decimal
import json
import random

import duckdb
import pytest
import yaml

from scripts.admin import generated_files, new_source
from scripts.bronze.run import Run
from scripts.contracts import source_yaml
from scripts.loading.partitions import load, partitions
from scripts.monitoring.status import read_status
from scripts.utils.days import day_range
from scripts.warehouse.build import warehouse
from scripts.warehouse.private_copy import run_dbt_on_copy
from tests.support.answering import answering
from tests.support.project import empty_project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

DAYS = ("2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04")
TYPES = {
    # words of SQL, what the macros call their own, and what staging models add
    "order": "integer",
    "group": "string",
    "is_lost": "boolean",
    "is_later": "boolean",
    "__is_lost": "string",
    "__new": "string",
    "newest_date": "date",
    "file_row_number": "integer",
    "filename": "string",
    "firstSeenDate": "timestamp",
    "extraFieldsJson": "json",
    "price": "decimal(38, 10)",
    "Value": "number",
}
GENERATED = {
    "order": "item_order",
    "group": "item_group",
    "firstSeenDate": "item_first_seen_date",
    "extraFieldsJson": "item_extra_fields_json",
    "Value": "value",
}
"""Names that a generated staging model changes."""
OWN = (
    "{{ config(unique_key='order') }} select "
    + ", ".join(f'"{name}"' for name in TYPES)
    + ", first_seen_date, last_seen_date from {{ latest_row_per_key('odd', 'items') }}"
)
GROUPS = """{{ config(unique_key='group', contract={'enforced': false},
    meta={'affected_by': {'stg_own': ['group']}}) }}
select "group", count(*) as row_count
from {{ ref('stg_own') }}
{% if is_incremental() %}where {{ in_affected_keys(['group']) }}{% endif %}
group by 1
"""


def contract(base):
    columns = [{"name": name, "type": kind, "description": "x"} for name, kind in TYPES.items()]
    items = {"description": "One row per order.", "path": "/items", "primary_key": ["order"], "columns": columns}
    paging = {"type": "page", "page_size": 4, "stop": "short_page"}
    return {
        "source": "odd",
        "description": "x",
        "owner": "me@example.com",
        "base_url": base,
        "headers": {"X-Day": "{day}"},
        "default_resource": "items",
        "resources": {"items": {**items, "pagination": paging}},
    }


def rows_of_a_day(chance):
    """Return rows as the source has them: some keys, in any order, with values of every type and with nulls."""
    names = [name for name in TYPES if name != "order"]
    values = {
        "group": lambda: chance.choice(["a", "b", "", "null"]),
        "is_lost": lambda: chance.random() < 0.5,
        "is_later": lambda: chance.random() < 0.5,
        "__is_lost": lambda: chance.choice(["x", "\x00", "'", '"', "\u2028"]),
        "__new": lambda: "d" + str(chance.randrange(100)),
        "newest_date": lambda: str(dt.date(1, 1, 1) + dt.timedelta(days=chance.randrange(3_000_000))),
        "file_row_number": lambda: chance.randrange(-(2**63), 2**63),
        "filename": lambda: "dt=1999-01-01/x",
        "firstSeenDate": lambda: f"20{chance.randrange(10, 99)}-01-01T00:00:00.{chance.randrange(10**6):06}Z",
        "extraFieldsJson": lambda: {"a": [chance.randrange(9)], "order": None},
        "price": lambda: f"{chance.randrange(-(10**20), 10**20)}.{chance.randrange(10**10):010}",
        "Value": lambda: chance.choice([0.1, -0.0, 1e300, 5e-324, 7]),
    }
    keys = chance.sample(range(-4, 6), 8)
    return [{"order": key, **{name: values[name]() for name in names if chance.random() < 0.8}} for key in keys]


def as_held(row):
    """Return a row as Silver must hold it."""
    found = {name: row.get(name) for name in TYPES}
    if (moment := row.get("firstSeenDate")) is not None:
        since = dt.datetime.fromisoformat(moment) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        found["firstSeenDate"] = since // dt.timedelta(microseconds=1)
    if (day := row.get("newest_date")) is not None:
        found["newest_date"] = dt.date.fromisoformat(day)
    if (price := row.get("price")) is not None:
        found["price"] = decimal.Decimal(price)
    if (document := row.get("extraFieldsJson")) is not None:
        found["extraFieldsJson"] = json.dumps(document, separators=(",", ":"))
    return found


def reference(days):
    """Return Silver: the row of the latest day for each key, with the first and the last day that has the key."""
    found = {}
    for text, rows in sorted(days.items()):
        day = dt.date.fromisoformat(text)
        for row in rows:
            first = found.get(row["order"], {}).get("first_seen_date", day)
            found[row["order"]] = as_held(row) | {"first_seen_date": first, "last_seen_date": day}
    return found


def held(path, table, names=None, added=("first_seen_date", "last_seen_date")):
    """Return the rows of a table by their keys, with the names of Bronze."""
    shown = {name: f'"{(names or {}).get(name, name)}"' for name in TYPES}
    shown |= {"order": f"cast({shown['order']} as bigint)", "firstSeenDate": f"epoch_us({shown['firstSeenDate']})"}
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute(f"select {', '.join((*shown.values(), *added))} from {table}").fetchall()
    return {row[0]: dict(zip((*shown, *added), row, strict=True)) for row in rows}


@pytest.fixture
def odd(tmp_path, monkeypatch, env):
    """A source whose names are odd, its dbt project, and the rows that its server has for each day."""
    project = empty_project(tmp_path / "project", monkeypatch)
    # folders like those of Hive partitions
    env("DATA_DIR", tmp_path / "dt=2020-01-01" / "order=7" / "status=failed" / "day=2001-01-01" / "data")
    days = {}

    def answer(ask):
        rows = days[ask.headers["X-Day"]][(int(ask.query["page"]) - 1) * 4 :][:4]
        return 200, {"Content-Type": "application/json"}, json.dumps(rows).encode()

    with answering(answer) as (base, _):
        new_source.write_source("odd", yaml.safe_dump(contract(base), sort_keys=False))
        generated_files.write_files(source_yaml.source_files())
        (project / "dbt" / "models" / "staging" / "odd" / "stg_own.sql").write_text(OWN)
        (project / "dbt" / "models" / "marts" / "fct_groups.sql").write_text(GROUPS)
        yield days


def test_three_builds_give_what_python_computes(odd, build):
    chance = random.Random(14)
    steps = [("2024-01-03", "2024-01-01"), ("2024-01-02", "2024-01-04"), ("2024-01-03", "2024-01-04")]
    for step in steps:
        run = Run.create(triggered_by="test")
        for day in step:
            # a day that is loaded again holds other rows
            odd[day] = rows_of_a_day(chance)
            outcomes = load(run, partitions(day_range(day, day), ["odd"]))
            assert [outcome.error for outcome in outcomes if outcome.error] == []
        build()

        expected = reference(odd)
        assert held(warehouse().path, "silver.stg_own") == expected
        assert held(warehouse().path, "silver.stg_odd__items", GENERATED) == expected
        kept = {key: {name: row[name] for name in (*TYPES, "first_seen_date")} for key, row in expected.items()}
        assert held(warehouse().path, "gold.fct_odd__items", GENERATED, ("first_seen_date",)) == kept
        counts = {}
        for row in expected.values():
            counts[row["group"]] = counts.get(row["group"], 0) + 1
        with duckdb.connect(str(warehouse().path), read_only=True) as connection:
            assert dict(connection.execute("from gold.fct_groups").fetchall()) == counts
        assert not read_status(run.store).problems

    record = run.store.root / "_ledger" / "odd" / "items" / "2024-01-01.json"
    record.with_name("2024-01-01 (1).json").write_bytes(record.read_bytes())

    assert run_dbt_on_copy(run, ["run", "--select", "stg_own"]) == 0
    assert held(warehouse().build_path, "silver.stg_own") == reference(odd)
    with duckdb.connect(str(warehouse().build_path), read_only=True) as connection:
        found = connection.execute("select dt, status from _pipeline.partitions order by dt").fetchall()
    assert found == [(dt.date.fromisoformat(day), "validated") for day in DAYS]
