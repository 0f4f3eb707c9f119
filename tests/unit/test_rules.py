"""Rules: each check finds exactly the rows that break it, across batches too."""

import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scripts.contracts.rules import Range
from scripts.contracts.source import Resource
from scripts.contracts.types import arrow_schema
from scripts.loading import rule_checks

COLUMNS = [
    {"name": "id", "type": "integer", "nullable": False, "description": "x"},
    {"name": "name", "type": "string", "description": "x"},
    {"name": "price", "type": "decimal(10, 2)", "description": "x"},
    {"name": "score", "type": "number", "description": "x"},
]
ROWS = {
    "id": [1, 2, 3, 4],
    "name": ["a", "", None, "long name"],
    "price": [None, "1.00", "-0.01", "99.99"],
    "score": [0.0, 1.0, 1.5, None],
}


def evaluate(tmp_path, rule, rows=ROWS):
    contract = Resource.model_validate(
        {"description": "x", "path": "/x", "primary_key": ["id"], "columns": COLUMNS, "rules": [{"name": "r", **rule}]}
    )
    schema = arrow_schema(contract)
    count = len(rows["id"])
    values = rows | {
        "price": [p and decimal.Decimal(p) for p in rows["price"]],
        "_extra": [None] * count,
        "_row": range(count),
    }
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({field.name: pa.array(values[field.name], field.type) for field in schema}), path)
    findings = rule_checks.check_file(path, contract).finish(path, tmp_path)
    return sorted(findings[0].positions) if findings else []


Q = {"severity": "quarantine"}


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ({"column": "name", "not_null": True}, [2]),
        ({"column": "name", "length": {"min": 1}}, [1]),
        ({"column": "name", "length": {"max": 5}}, [3]),
        ({"column": "name", "length": {"min": 1, "max": 5}}, [1, 3]),
        ({"column": "name", "pattern": "^[a-z]$"}, [1, 3]),
        ({"column": "name", "accepted_values": ["a", ""]}, [3]),
        ({"column": "id", "accepted_values": [1, 2, 3]}, [3]),
        ({"column": "score", "range": {"min": 0.5}}, [0]),
        ({"column": "score", "range": {"min": 0, "max": 1}}, [2]),
        ({"column": "price", "range": {"min": 0, "max": 99.98}}, [2, 3]),
        ({"column": "id", "range": {"min": 1, "max": 4}}, []),
    ],
)
def test_a_rule_finds_the_rows_that_break_it(tmp_path, rule, broken):
    assert evaluate(tmp_path, Q | rule) == broken


def test_unique_keeps_the_last_of_each(tmp_path):
    rows = {"id": [1, 2, 1, 1], "name": [None] * 4, "price": [None] * 4, "score": [None] * 4}

    assert evaluate(tmp_path, Q | {"unique": ["id"]}, rows) == [0, 2]


def test_positions_count_on_from_batch_to_batch(tmp_path, monkeypatch):
    def three_rows_each(path, columns):
        return pq.ParquetFile(path).iter_batches(3, columns=columns)

    monkeypatch.setattr(rule_checks, "read_batches", three_rows_each)
    rows = {"id": [*range(9), 0], "name": ["x"] * 9 + [""], "price": [None] * 10, "score": [None] * 10}

    assert evaluate(tmp_path, Q | {"column": "name", "length": {"min": 1}}, rows) == [9]
    assert evaluate(tmp_path, Q | {"unique": ["id"]}, rows) == [0]


@pytest.mark.parametrize(
    ("bounds", "is_broken"), [({"min": 5}, True), ({"max": 3}, True), ({"min": 4, "max": 4}, False)]
)
def test_the_number_of_rows_can_be_a_rule(tmp_path, bounds, is_broken):
    rule = {"severity": "warn", "row_count": bounds}
    contract = Resource.model_validate(
        {"description": "x", "path": "/x", "primary_key": ["id"], "columns": COLUMNS, "rules": [{"name": "r", **rule}]}
    )
    evaluate(tmp_path, Q | {"column": "id", "not_null": True})

    path = tmp_path / "rows.parquet"
    findings = rule_checks.check_file(path, contract).finish(path, tmp_path)

    assert bool(findings) is is_broken


def test_a_bound_keeps_every_digit():
    assert Range.model_validate({"min": 9007199254740993}).min == 9007199254740993
