"""The grammar of each type: what its column reads, exactly, and what does not fit."""

import datetime as dt
import decimal
import json
import re

import hypothesis
import hypothesis.strategies as st
import msgspec
import pytest

from scripts.contracts.source import Resource
from scripts.extract.rows import RowReader


def reader(kind, **policies):
    columns = [
        {"name": "id", "type": "integer", "nullable": False, "description": "x"},
        {"name": "value", "type": kind, "description": "x"},
    ]
    document = {"description": "x", "path": "/x", "primary_key": ["id"], "columns": columns, **policies}
    return RowReader(Resource.model_validate(document))


def read(kind, *literals):
    """Return the values of records with these JSON literals, and the rejected records."""
    records = ",".join(f'{{"id":{number},"value":{literal}}}' for number, literal in enumerate(literals))
    page = reader(kind).read(f"[{records}]".encode())
    return page.batch.column("value").to_pylist(), page.rejects


ACCEPTED = {
    "integer": [("0", 0), ("-0", 0), ("-9223372036854775808", -(2**63)), ("9223372036854775807", 2**63 - 1)],
    "number": [("0.1", 0.1), ("1e3", 1000.0), ("-0.0", 0.0), ("7", 7.0)],
    "boolean": [("true", True), ("false", False), ("null", None)],
    "string": [('"\\u0041"', "A"), ('""', ""), ('"null"', "null")],
    "date": [('"2024-02-29"', dt.date(2024, 2, 29)), ('"0001-01-01"', dt.date(1, 1, 1))],
    "json": [('{"a": [1, 2]}', '{"a":[1,2]}'), ('{"a":1,"a":2}', '{"a":1,"a":2}'), ("1.10", "1.10"), ("null", None)],
    "decimal(5, 2)": [
        ("1.5", "1.50"),
        ('"1.5"', "1.50"),
        ('"1.5000000000000000000000000000000000000000000000000000000"', "1.50"),
        ("1e2", "100.00"),
        ("-0.01", "-0.01"),
        ('"\\u0031"', "1.00"),
        ("0e-999999", "0.00"),
    ],
    "decimal(38, 10)": [("1234567890123456789.1234567891", "1234567890123456789.1234567891")],
}
REFUSED = {
    "integer": ["1.0", "1e2", '"1"', "true", "9223372036854775808", "[1]", "1" * 400],
    "number": ['"1"', "true", "1e400", "{}"],
    "boolean": ["0", "1", '"true"', '"yes"'],
    "string": ["1", "true", "[]", "{}"],
    "date": ['"2023-02-29"', '"2024-1-1"', '"20240101"', '"2024-01-01T00:00:00Z"', '"0000-01-01"', "20240101"],
    "decimal(5, 2)": [
        *(
            '"1_0"',
            '" 1"',
            '"1 "',
            '"\uff11\uff12"',
            '"NaN"',
            '"Infinity"',
            '"0x10"',
            '""',
            '".5"',
            '"5."',
            '"+1"',
            '"01"',
        ),
        *("1.005", "1000", "true", "[1]", '"1\\n"', "1e999999999", '"1e99999999999999999999"', "1e-3"),
    ],
    "timestamp": [
        *('"2024-01-01"', '"2024-01-01T00:00Z"', '"2024-12-31T24:00:00Z"', '"2024-12-31T23:59:60Z"', "1704067200"),
        *(
            '"2023-02-29T00:00:00Z"',
            '"2024-01-01T00:00:00.Z"',
            '"2024-01-01T00:00:00Z\\n"',
            '"\uff12024-01-01T00:00:00Z"',
        ),
        *(
            '"2024-01-01T00:00:00+24:00"',
            '"0001-01-01T00:00:00+00:01"',
            '"9999-12-31T23:59:59-00:01"',
            '"20240101T000000Z"',
        ),
        *('"0000-12-31T00:00:00Z"', '"2024-01-01X00:00:00Z"', '"2024-01-01T00:00:00 Z"', '"2024-01-01T00:00+00:00"'),
    ],
}


@pytest.mark.parametrize(
    ("kind", "literal", "value"), [(kind, *case) for kind, cases in ACCEPTED.items() for case in cases]
)
def test_a_value_of_the_type_is_read(kind, literal, value):
    expected = decimal.Decimal(value) if kind.startswith("decimal") else value

    assert read(kind, literal) == ([expected], ())


@pytest.mark.parametrize(("kind", "literal"), [(kind, text) for kind, texts in REFUSED.items() for text in texts])
def test_another_value_is_set_aside_as_it_came_and_spares_its_neighbours(kind, literal):
    good = {"timestamp": '"2024-01-01T00:00:00Z"'}.get(kind) or ACCEPTED[kind][0][0]

    values, (reject,) = read(kind, good, literal, good)

    assert len(values) == 2
    assert (reject.position, reject.rule) == (1, "mistyped")
    assert reject.raw == f'{{"id":1,"value":{literal}}}'.encode()
    assert f"expected {kind}" in reject.reason


MOMENTS = {
    "2024-12-31T23:59:59.9999999Z": "2024-12-31T23:59:59.999999",
    "2024-12-31T23:59:59.999999999+00:00": "2024-12-31T23:59:59.999999",
    "2024-01-01T00:00:00": "2024-01-01T00:00:00",
    "2024-01-01 00:00:00": "2024-01-01T00:00:00",
    "2024-01-01t00:00:00z": "2024-01-01T00:00:00",
    "2024-01-01T00:00:00.5": "2024-01-01T00:00:00.500000",
    "2024-01-01T02:30:00+0230": "2024-01-01T00:00:00",
    "2024-01-01T02:00:00+02": "2024-01-01T00:00:00",
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00",
    "9999-12-31T23:59:59.9999999Z": "9999-12-31T23:59:59.999999",
}


@pytest.mark.parametrize("text", MOMENTS)
def test_a_time_is_kept_to_the_microsecond_and_never_rounded(text):
    assert read("timestamp", json.dumps(text)) == (
        [dt.datetime.fromisoformat(MOMENTS[text]).replace(tzinfo=dt.UTC)],
        (),
    )


def test_times_of_every_form_stand_in_one_page():
    values, rejects = read("timestamp", *map(json.dumps, MOMENTS), "null")

    assert values == [dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC) for text in MOMENTS.values()] + [None]
    assert rejects == ()


TEXT = st.text(st.sampled_from("0123456789-+.eE_ TtZz:Nan\uff11"), max_size=30)
TIMES = st.datetimes().map(lambda moment: moment.isoformat(timespec="microseconds"))
NEARLY_TIMES = st.builds(
    lambda text, at, put, zone: text[:at] + put + text[at:] + zone,
    TIMES,
    st.integers(0, 26),
    TEXT.filter(lambda text: len(text) < 4) | st.just(""),
    st.sampled_from(["", "Z", "+01:00", "-2359", "+1", "+24:00"]),
)
GRAMMAR = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?(?:([Zz])|([+-])(\d\d)(?::?(\d\d))?)?", flags=re.ASCII
)


def moment_of(text):
    """Return the moment that a text names, from the standard library's parts, or None."""
    if not (match := GRAMMAR.fullmatch(text)):
        return None
    day, time, fraction, _, sign, hours, minutes = match.groups()
    if int(hours or 0) > 23 or int(minutes or 0) > 59:
        return None
    try:
        moment = dt.datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=dt.UTC)
        moment += dt.timedelta(microseconds=int((fraction or ".0")[1:7].ljust(6, "0")))
        offset = dt.timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        return moment + offset if sign == "-" else moment - offset
    except (ValueError, OverflowError):
        return None


@hypothesis.given(st.lists(TIMES | NEARLY_TIMES | TEXT, min_size=1, max_size=5))
@hypothesis.settings(deadline=None, max_examples=300)
def test_a_column_of_times_reads_what_the_grammar_names_and_nothing_else(texts):
    values, rejects = read("timestamp", *map(json.dumps, texts))

    expected = [moment_of(text) for text in texts]
    assert values == [moment for moment in expected if moment is not None]
    assert [reject.position for reject in rejects] == [at for at, moment in enumerate(expected) if moment is None]


NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", flags=re.ASCII)
DIGITS = st.text(st.sampled_from("0123456789"), min_size=1, max_size=45)
NUMBERS = st.builds("{}{}.{}{}".format, st.sampled_from(["", "-"]), DIGITS, DIGITS, st.sampled_from(["", "e5", "E-7"]))


@hypothesis.given(st.lists(NUMBERS | DIGITS | TEXT, min_size=1, max_size=5))
@hypothesis.settings(deadline=None, max_examples=300)
def test_a_decimal_is_what_was_sent_or_set_aside(texts):
    values, rejects = read("decimal(38, 10)", *map(json.dumps, texts))

    admitted = [text for at, text in enumerate(texts) if at not in {reject.position for reject in rejects}]
    assert values == [decimal.Decimal(text) for text in admitted]
    for reject in rejects:
        text = texts[reject.position]
        if NUMBER.fullmatch(text):
            with decimal.localcontext(prec=200) as context:
                scaled = (context.create_decimal(text) * 10**10).normalize()
            assert scaled.as_tuple().exponent < 0 or abs(scaled) >= 10**38


@pytest.mark.parametrize("policy", ["evolve", "discard", "quarantine"])
@pytest.mark.parametrize(
    ("kind", "literal"), [("decimal(5, 2)", "1.101"), ("timestamp", '"2024-01-01"'), ("integer", '"x"')]
)
def test_every_misfit_follows_the_policy_and_is_named(policy, kind, literal):
    page = reader(kind, on_mistyped=policy).read(f'[{{"id":1,"value":{literal}}}]'.encode())

    if policy == "quarantine":
        assert "field `value` is " in page.rejects[0].reason
    else:
        (row,) = page.batch.to_pylist()
        kept = f'{{"value":{literal}}}' if policy == "evolve" else None
        assert (row["value"], row["_extra"]) == (None, kept)
        (drift,) = page.drift.values()
        assert (drift.kind, drift.field, drift.rows, drift.example) == ("mistyped", "value", 1, literal)


def test_a_number_keeps_the_double_that_the_source_wrote():
    values, _ = read("number", "0.1", "1.7976931348623157e308", "5e-324", "123456789.123456789")

    assert values == [0.1, 1.7976931348623157e308, 5e-324, 123456789.123456789]
    assert msgspec.json.encode(values[0]) == b"0.1"
