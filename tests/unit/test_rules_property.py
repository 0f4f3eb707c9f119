"""Rules on Arrow against a plain Python reference: the same rows, examples and order, however the rows are cut."""

import datetime as dt
import decimal
import re

import hypothesis
import hypothesis.strategies as st
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scripts.contracts.source import Resource
from scripts.contracts.types import arrow_schema
from scripts.errors import ContractError
from scripts.loading import rule_checks, uniqueness
from scripts.loading.rule_checks import RuleChecker

TYPES = {
    "id": "integer",
    "name": "string",
    "price": "decimal(10, 2)",
    "big": "decimal(38, 0)",
    "score": "number",
    "ok": "boolean",
    "born": "date",
    "seen": "timestamp",
}
COLUMNS = [{"name": name, "type": kind, "description": "x"} for name, kind in TYPES.items()]
TEXTS = ["", "a", "b", "é", "😀😀", "row 1 x", "long name", "a\nb"]
NUMBERS = [-1e300, -1.5, -0.0, 0.0, 0.5, 1.0, 2.0, 1e300]
MOMENT = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
VALUES = {
    "id": st.sampled_from([-(2**63), -1, 0, 1, 2, 3, 2**53, 2**53 + 1, 2**63 - 1]),
    "name": st.sampled_from(TEXTS),
    "price": st.sampled_from([decimal.Decimal(text) for text in ("-0.01", "0.00", "1.00", "5.25", "99999999.99")]),
    "big": st.sampled_from([decimal.Decimal("1" + "0" * 37), decimal.Decimal(0), decimal.Decimal(-1)]),
    "score": st.sampled_from(NUMBERS),
    "ok": st.booleans(),
    "born": st.sampled_from([dt.date(2024, 1, 1), dt.date(1999, 12, 31)]),
    "seen": st.sampled_from([MOMENT, MOMENT + dt.timedelta(microseconds=1)]),
}
ROWS = st.lists(st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}), max_size=30)
BOUNDS = st.sampled_from([-1e40, -0.5, 0, 0.005, 0.5, 1, 2, float(2**53), 1e40])
RANGES = st.one_of(
    BOUNDS.map(lambda low: {"min": low}),
    BOUNDS.map(lambda high: {"max": high}),
    st.tuples(BOUNDS, BOUNDS).map(sorted).map(lambda pair: {"min": pair[0], "max": pair[1]}),
)
ACCEPTED = {
    "id": [0, 1, 2.0],
    "name": ["a", "é"],
    "price": [1, "5.25", 0.0],
    "score": [0, 1, 0.5],
    "ok": [True],
    "born": ["2024-01-01"],
    "seen": ["2024-01-01T01:00:00+01:00"],
}
RULES = st.one_of(
    st.sampled_from(list(TYPES)).map(lambda name: {"column": name, "not_null": True}),
    st.tuples(st.sampled_from(["id", "price", "big", "score"]), RANGES).map(
        lambda pair: {"column": pair[0], "range": pair[1]}
    ),
    st.sampled_from([{"min": 1}, {"max": 2}, {"min": 1, "max": 1}]).map(
        lambda bounds: {"column": "name", "length": bounds}
    ),
    st.sampled_from(list(ACCEPTED)).map(lambda name: {"column": name, "accepted_values": ACCEPTED[name]}),
    st.sampled_from(["^a", "b$", "[0-9]+", "^$"]).map(lambda form: {"column": "name", "pattern": form}),
    st.lists(st.sampled_from(list(TYPES)), min_size=1, max_size=3, unique=True).map(lambda names: {"unique": names}),
    RANGES.map(lambda bounds: {"row_count": bounds, "severity": "warn"}),
)


def contract(rules):
    return Resource.model_validate(
        {
            "description": "x",
            "path": "/x",
            "primary_key": ["id"],
            "columns": COLUMNS,
            "rules": [{"name": f"r{number}", "severity": "quarantine"} | rule for number, rule in enumerate(rules)],
        }
    )


def is_outside(value, bounds):
    if bounds.min is not None and value < decimal.Decimal(str(bounds.min)):
        return "below"
    return "above" if bounds.max is not None and value > decimal.Decimal(str(bounds.max)) else ""


def comparable(value):
    return decimal.Decimal(str(value)) if isinstance(value, float) else decimal.Decimal(value)


def accepted(rule):
    kind = TYPES[rule.column]
    readers = {
        "date": dt.date.fromisoformat,
        "timestamp": dt.datetime.fromisoformat,
        "decimal": lambda value: decimal.Decimal(str(value)),
    }
    return [readers.get(kind.partition("(")[0], lambda value: value)(value) for value in rule.accepted_values]


def breaks(rule, value):
    """How a value breaks a rule: empty where it does not."""
    if rule.not_null:
        return "null" if value is None else ""
    if value is None:
        return ""
    if rule.range:
        return is_outside(comparable(value), rule.range)
    if rule.length:
        return is_outside(len(value), rule.length) and "length"
    if rule.accepted_values:
        return "" if value in accepted(rule) else "other"
    return "" if re.search(rule.pattern, value) else "unlike"


def text(value):
    return "null" if value is None else repr(value) if isinstance(value, str) else str(value)


def reference(resource, rows):
    """Positions, number and examples of the rows that break each rule, by plain Python."""
    found = {}
    for rule in resource.rules:
        if rule.row_count:
            if is_outside(len(rows), rule.row_count):
                found[rule.name] = ([], 1, [str(len(rows))])
            continue
        if rule.unique:
            keys = [tuple(row[name] for name in rule.unique) for row in rows]
            broken = [(place, "") for place, key in enumerate(keys) if key in keys[place + 1 :]]
            shown = [", ".join(map(text, key)) for key in keys]
            shown = shown if len(rule.unique) == 1 else [f"({one})" for one in shown]
        else:
            broken = [(place, how) for place, row in enumerate(rows) if (how := breaks(rule, row[rule.column]))]
            shown = [text(row[rule.column]) for row in rows]
        if broken:
            first = sorted(broken, key=lambda item: item[1] == "above")
            found[rule.name] = ([place for place, _ in broken], len(broken), [shown[place] for place, _ in first[:3]])
    return found


def write(path, resource, rows):
    schema = arrow_schema(resource)
    full = [row | {"_extra": None, "_row": place} for place, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(full, schema), path)
    return pa.Table.from_pylist(full, schema)


def findings(checker, path):
    return {
        finding.rule.name: (sorted(finding.positions), finding.rows, finding.examples)
        for finding in checker.finish(path, path.parent)
    }


@hypothesis.settings(max_examples=150, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(ROWS, st.lists(RULES, min_size=1, max_size=4), st.integers(1, 10))
def test_findings_are_those_of_the_reference(tmp_path, rows, rules, cut):
    resource = contract(rules)
    path = tmp_path / "rows.parquet"
    table = write(path, resource, rows)
    checker = RuleChecker(resource)
    for batch in table.to_batches(max_chunksize=cut):
        checker.check(batch)

    expected = reference(resource, rows)

    assert findings(rule_checks.check_file(path, resource), path) == expected
    assert findings(checker, path) == expected


def test_keys_that_do_not_fit_into_memory_are_found_in_the_file(tmp_path, mocker):
    rows = [dict.fromkeys(TYPES) | {"id": place % 7, "name": TEXTS[place % 3]} for place in range(50)]
    rows += [dict.fromkeys(TYPES)] * 2
    resource = contract([{"unique": ["id", "name"]}, {"unique": ["id"]}])
    path = tmp_path / "rows.parquet"
    write(path, resource, rows)
    expected = findings(rule_checks.check_file(path, resource), path)
    by_duckdb = mocker.spy(uniqueness, "_positions_by_duckdb")
    mocker.patch.object(rule_checks, "_KEY_BYTES", 100)

    assert findings(rule_checks.check_file(path, resource), path) == expected == reference(resource, rows)
    assert by_duckdb.call_count == 2
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        *(
            ("name", [True]),
            ("name", [1]),
            ("id", ["1"]),
            ("id", [1.5]),
            ("ok", [1]),
            ("born", ["x"]),
            ("price", ["x"]),
        ),
        *(("id", [2**70]), ("id", [1e400]), ("price", [1.005]), ("price", [10**9])),
    ],
)
def test_an_accepted_value_of_another_type_is_refused(column, values):
    with pytest.raises(ContractError, match=f"rule `r0`: accepted value .* column `{column}`, which is"):
        RuleChecker(contract([{"column": column, "accepted_values": values}]))


def test_a_column_may_be_called_like_what_duckdb_numbers_rows_with(tmp_path, mocker):
    columns = [{"name": name, "type": "integer", "description": "x"} for name in ("id", "file_row_number", "filename")]
    rule = {"name": "once", "severity": "quarantine", "unique": ["file_row_number"]}
    document = {"description": "x", "path": "/x", "primary_key": ["id"], "columns": columns, "rules": [rule]}
    resource = Resource.model_validate(document)
    # rows were set aside between those of the file
    rows = [
        {"id": place, "file_row_number": place % 3, "filename": 0, "_extra": None, "_row": place * 10}
        for place in range(7)
    ]
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(resource)), path)
    mocker.patch.object(rule_checks, "_KEY_BYTES", 10)

    (finding,) = rule_checks.check_file(path, resource).finish(path, tmp_path)

    assert (sorted(finding.positions), finding.examples) == ([0, 1, 2, 3], ["0", "1", "2"])
