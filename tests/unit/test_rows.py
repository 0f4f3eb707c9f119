"""Records to rows: types, policies, and that no record is lost."""

import datetime as dt
import decimal
import json

import hypothesis
import hypothesis.strategies as st
import msgspec
import pytest

from scripts.contracts.source import Resource
from scripts.contracts.types import to_record
from scripts.errors import DataError
from scripts.extract.rows import RowReader

COLUMNS = [
    {"name": "id", "type": "integer", "nullable": False, "description": "x"},
    {"name": "name", "type": "string", "nullable": False, "description": "x"},
    {"name": "price", "type": "decimal(10, 2)", "description": "x"},
    {"name": "score", "type": "number", "description": "x"},
    {"name": "ok", "type": "boolean", "description": "x"},
    {"name": "born", "type": "date", "description": "x"},
    {"name": "seen", "field": "seen-at", "type": "timestamp", "description": "x"},
    {"name": "address", "type": "json", "description": "x"},
]


def contract(**policies):
    return Resource.model_validate(
        {"description": "x", "path": "/x", "primary_key": ["id"], "columns": COLUMNS} | policies
    )


def read(records, **policies):
    return RowReader(contract(**policies)).read(json.dumps(records).encode())


FULL = {
    "id": 1,
    "name": "Una",
    "price": 12.25,
    "score": 0.5,
    "ok": True,
    "born": "2000-02-29",
    "seen-at": "2024-01-01T02:00:00+02:00",
    "address": {"city": "Ulm"},
}


def test_every_type_is_read():
    (row,) = read([FULL]).batch.to_pylist()

    assert row == {
        "id": 1,
        "name": "Una",
        "price": decimal.Decimal("12.25"),
        "score": 0.5,
        "ok": True,
        "born": dt.date(2000, 2, 29),
        "seen": dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        "address": '{"city":"Ulm"}',
        "_extra": None,
    }


def test_an_offset_counts_whatever_other_libraries_tell_pyarrow(monkeypatch):
    """Importing pandera sets this variable; pyarrow then drops offsets."""
    monkeypatch.setenv("PYARROW_IGNORE_TIMEZONE", "1")

    (row,) = read([FULL]).batch.to_pylist()

    assert row["seen"] == dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def test_a_row_turns_back_into_the_record_that_gives_it():
    reader = RowReader(contract())
    record = FULL | {"new": [1]}
    page = reader.read(json.dumps([record]).encode())

    again = reader.read_each([to_record(page.batch.to_pylist()[0], contract()).encode()])

    assert again.batch.equals(page.batch)


def test_a_time_without_offset_counts_as_utc():
    (row,) = read([FULL | {"seen-at": "2024-01-01T00:00:00"}]).batch.to_pylist()

    assert row["seen"] == dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("change", "rule", "words"),
    [
        ({"id": "1"}, "mistyped", 'field `id` is "1", expected integer'),
        ({"id": 1.5}, "mistyped", "field `id` is 1.5"),
        ({"id": True}, "mistyped", "field `id` is true"),
        ({"id": 2**63}, "mistyped", "field `id` is 9223372036854775808"),
        ({"id": None}, "missing", "field `id` is null, but must not be"),
        ({"name": None}, "missing", "field `name` is null"),
        ({"name": 7}, "mistyped", "expected string"),
        ({"price": 1.005}, "mistyped", "more digits"),
        ({"price": 123456789.25}, "mistyped", "more digits"),
        ({"born": "2023-02-29"}, "mistyped", "expected date"),
        ({"seen-at": "yesterday"}, "mistyped", "expected timestamp"),
        ({"ok": "yes"}, "mistyped", "expected boolean"),
    ],
)
def test_a_misfit_is_quarantined_with_its_raw_record(change, rule, words):
    page = read([FULL, FULL | change, FULL])

    (reject,) = page.rejects
    assert (reject.position, reject.rule) == (1, rule)
    assert words in reject.reason
    assert json.loads(reject.raw) == FULL | change
    assert list(page.positions) == [0, 2]


@pytest.mark.parametrize("record", [7, "text", None, [1], True], ids=str)
def test_a_record_that_is_no_object_is_quarantined(record):
    (reject,) = read([record]).rejects

    assert reject.rule == "not_an_object"


def test_half_a_surrogate_pair_is_quarantined_and_spares_its_neighbours():
    page = RowReader(contract()).read(b'[{"id": 1, "name": "\\ud800"}, {"id": 2, "name": "b"}]')

    assert [reject.rule for reject in page.rejects] == ["malformed"]
    assert page.batch.column("id").to_pylist() == [2]


ODD = {
    "half_a_pair": b'"\\ud800"',
    "not_a_number": b"NaN",
    "infinity": b"-Infinity",
    "odd_byte": b'"\xff"',
    "bad_escape": b'"\\x"',
    "deep": b"[" * 100_000 + b"]" * 100_000,
}


@pytest.mark.parametrize("odd", ODD)
def test_one_odd_record_spares_its_neighbours_and_is_kept_as_it_came(odd):
    """A decimal of many digits beside it keeps them all: nothing reads it another way."""
    raw = b'{"id": 2, "name": "a", "address" : %s}' % ODD[odd]
    body = b'[{"id":1,"name":"x","price":12345678.91}, %s ,{"id":3,"name":"\xc3\xa9"}]' % raw

    page = RowReader(contract()).read(body)

    assert page.batch.column("id").to_pylist() == [1, 3]
    assert page.batch.column("price").to_pylist() == [decimal.Decimal("12345678.91"), None]
    assert [(reject.position, reject.rule, reject.raw) for reject in page.rejects] == [(1, "malformed", raw)]


@pytest.mark.parametrize("space", ["", " ", "\n  "])
@pytest.mark.parametrize("nulls", ["", ',"score":null', ',"score":null,"ok":null'], ids=["absent", "null", "nulls"])
def test_a_field_that_stands_twice_sets_its_record_aside(space, nulls):
    """As many fields are missing or null as stand twice: what is counted is never the sum alone."""
    twice = f'{{"id":2,"name":"b","price"{space}:1,"price":2{nulls}}}'
    body = f'[{{"id":1,"name":"a"{nulls}}},{twice},{{"id":3,"name":"c","price":3}}]'

    page = RowReader(contract()).read(body.encode())

    assert page.batch.column("id").to_pylist() == [1, 3]
    assert [(reject.rule, reject.raw.decode()) for reject in page.rejects] == [("repeated_key", twice)]
    assert "field `price` appears 2 times" in page.rejects[0].reason


def test_text_that_looks_like_a_key_is_no_second_key():
    texts = ['":', 'a":1', '\\\\":', " :) ", '{"id": 7, "id": 8}', '"id" : 1']
    records = [FULL | {"id": number, "name": text, "address": {"id": text}} for number, text in enumerate(texts)]

    page = read(records)

    assert not page.rejects
    assert page.batch.column("name").to_pylist() == texts


def test_a_key_that_stands_twice_inside_json_is_kept():
    page = RowReader(contract()).read(b'[{"id":1,"name":"a","address":{"x":1,"x":2}}]')

    assert page.batch.column("address").to_pylist() == ['{"x":1,"x":2}']


@pytest.mark.parametrize("action", ["evolve", "discard", "quarantine"])
@pytest.mark.parametrize("record", [{"name": "b"}, {"id": None, "name": "b"}], ids=["missing", "null"])
def test_a_key_that_may_be_null_by_default_is_still_needed(record, action):
    columns = [{"name": "id", "type": "integer", "description": "x"}, *COLUMNS[1:2]]

    page = read([{"id": 1, "name": "a"}, record], columns=columns, on_missing=action)

    assert page.batch.column("id").to_pylist() == [1]
    assert [reject.rule for reject in page.rejects] == ["missing"]


@pytest.mark.parametrize("kind", ["json", "decimal(5, 2)"])
def test_a_required_value_of_every_type_may_not_be_null(kind):
    columns = [*COLUMNS[:1], {"name": "v", "type": kind, "nullable": False, "description": "x"}]

    page = read([{"id": 1, "v": None}, {"id": 2, "v": 1}, {"id": 3}], columns=columns)

    assert page.batch.column("id").to_pylist() == [2]
    assert [reject.rule for reject in page.rejects] == ["missing", "missing"]


def test_a_key_may_not_be_declared_nullable():
    columns = [{"name": "id", "type": "integer", "nullable": True, "description": "x"}]

    with pytest.raises(ValueError, match="column `id` is part of the primary key, and may not be `nullable: true`"):
        contract(columns=columns)


def test_an_unknown_field_is_kept_and_noted():
    page = read([FULL, FULL | {"tags": ["a"]}, FULL | {"tags": []}], on_unknown="evolve")

    assert page.batch.column("_extra").to_pylist() == [None, '{"tags":["a"]}', '{"tags":[]}']
    (drift,) = page.drift.values()
    assert (drift.kind, drift.field, drift.rows, drift.example) == ("unknown", "tags", 2, '["a"]')


def test_an_unknown_field_is_dropped_when_the_contract_says_so():
    page = read([FULL | {"tags": ["a"]}], on_unknown="discard")

    assert page.batch.column("_extra").to_pylist() == [None]
    assert [drift.action for drift in page.drift.values()] == ["discard"]


@pytest.mark.parametrize(
    ("policy", "record"),
    [
        ("on_unknown", FULL | {"new": 1}),
        ("on_missing", {"id": 1}),
        ("on_mistyped", FULL | {"score": "high"}),
        ("on_mistyped", FULL | {"price": 1.005}),
    ],
)
def test_each_policy_can_quarantine_and_fail(policy, record):
    assert len(read([record], **{policy: "quarantine"}).rejects) == 1
    with pytest.raises(DataError, match="its policy for this is `fail`"):
        read([record], **{policy: "fail"})


def test_a_mistyped_value_can_be_kept_beside_the_row():
    (row,) = read([FULL | {"score": "high"}], on_mistyped="evolve").batch.to_pylist()

    assert (row["score"], row["_extra"]) == (None, '{"score":"high"}')


def test_a_missing_value_can_be_admitted_as_null():
    page = read([{"id": 1}], on_missing="evolve")

    assert page.batch.column("name").to_pylist() == [None]
    assert [drift.kind for drift in page.drift.values()] == ["missing"]


@pytest.mark.parametrize("action", ["evolve", "discard"])
def test_no_policy_admits_a_row_without_its_key(action):
    assert len(read([FULL | {"id": None}], on_missing=action).rejects) == 1


def test_something_else_than_a_list_is_refused():
    with pytest.raises(msgspec.ValidationError):
        RowReader(contract()).read(b'{"id": 1}')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
RECORDS = st.lists(
    JSON
    | st.fixed_dictionaries(
        {"id": st.integers() | JSON, "name": st.text() | JSON}, optional={"new": JSON, "price": JSON}
    ),
    max_size=8,
)


@hypothesis.given(RECORDS, st.sampled_from(["evolve", "discard", "quarantine"]))
@hypothesis.settings(deadline=None, max_examples=200)
def test_every_record_is_admitted_or_rejected(records, action):
    page = read(records, on_unknown=action, on_missing=action, on_mistyped=action)

    places = sorted([*page.positions, *(reject.position for reject in page.rejects)])
    assert places == list(range(len(records)))
    assert page.fetched == len(records)
