"""What a source sends is in Bronze or in quarantine, whatever its types, shapes, encodings and pages are.

Each record is made together with what has to become of it, so that nothing here reads JSON the way the pipeline does.
"""

import datetime as dt
import decimal
import json

import duckdb
import hypothesis
import hypothesis.strategies as st
import msgspec
import pyarrow.parquet as pq
import pytest

from scripts.bronze.run import Run
from scripts.contracts.source import Source
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from tests.support.answering import answering

DAY = dt.date(2024, 1, 1)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(["", "null", "\x00", "a\u2028b", '"', "\\"])
SPACE = st.sampled_from(["", " ", "\n\t"])


def as_json(value, *, ascii_only):
    return json.dumps(value, ensure_ascii=ascii_only)


TEXTS = st.builds(lambda value, plain: (as_json(value, ascii_only=plain), value), TEXT, st.booleans())
INTEGERS = st.integers(-(2**63), 2**63 - 1).map(lambda value: (str(value), value))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(lambda value: (repr(value), value))
DATES = st.dates().map(lambda value: (f'"{value}"', value))
MOMENTS = st.builds(
    lambda moment, finer: (f'"{moment:%Y-%m-%dT%H:%M:%S.%f}{finer}Z"', moment.replace(tzinfo=dt.UTC)),
    st.datetimes(dt.datetime(1000, 1, 1)),  # noqa: DTZ001 — the offset follows
    st.sampled_from(["", "9", "999"]),
)
DECIMALS = st.builds(
    lambda whole, fraction, quoted: f'"{whole}.{fraction}"' if quoted else f"{whole}.{fraction}",
    st.integers(-(10**28) + 1, 10**28 - 1).filter(bool),
    st.text("0123456789", min_size=1, max_size=10),
    st.booleans(),
).map(lambda text: (text, decimal.Decimal(text.strip('"'))))
JSON = st.recursive(
    TEXTS.map(lambda pair: pair[0]) | st.sampled_from(["1.10", "1e400", "true", "0", "[]", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(TEXT, inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=4,
).map(lambda text: (text, text))
EPOCHS = st.integers(-(10**14), 10**14).map(lambda value: (str(value), EPOCH + dt.timedelta(microseconds=value)))
MARKED = st.integers(-(10**12), 10**12).map(lambda value: (f'"{value:_}"'.replace("_", "."), value))
GOOD = {
    ("string", ""): TEXTS,
    ("integer", ""): INTEGERS,
    ("number", ""): NUMBERS,
    ("boolean", ""): st.sampled_from([("true", True), ("false", False)]),
    ("date", ""): DATES,
    ("timestamp", ""): MOMENTS,
    ("decimal(38, 10)", ""): DECIMALS,
    ("json", ""): JSON,
    ("integer", "text"): st.integers(-(2**63), 2**63 - 1).map(lambda value: (f'"{value}"', value)),
    ("timestamp", "epoch_us"): EPOCHS,
    ("integer", "dots"): MARKED,
}
KEYS = {"dots": {"thousands": ".", "decimal_mark": ","}}
BAD = {
    "string": ["1", "[]", '"\\ud800"', b'"\xe4"'],
    "integer": ["1.5", '"x"', "9223372036854775808", "NaN", "true"],
    "number": ['"x"', "1e999", "Infinity"],
    "boolean": ["2", '"yes"'],
    "date": ['"2023-02-29"', "1"],
    "timestamp": ['"2024-01-01T25:00:00Z"', '"soon"'],
    "decimal(38, 10)": ["1.12345678901", '"1_0"', "1e30"],
    # deeper than Python may go, also while Hypothesis lets it go deeper than usual
    "json": ["nope", "[" * 50_000 + "]" * 50_000, '"\\ud800"'],
}
NAMES = ["order", "select", "__new", "is_lost", "newest_date", "file_row_number", "Value", "x" * 120, "_x", "rowid"]
FIELDS = st.text(st.characters(codec="utf-8", exclude_characters='"\\.$[]*', exclude_categories=["Cc"]), min_size=1)


@st.composite
def columns_of(draw):
    kinds = draw(st.lists(st.sampled_from(list(GOOD)), min_size=1, max_size=5))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=len(kinds), max_size=len(kinds), unique=True))
    fields = draw(st.lists(FIELDS, min_size=len(kinds), max_size=len(kinds), unique=True))
    nested = draw(st.lists(st.booleans(), min_size=len(kinds), max_size=len(kinds)))
    found = []
    for place, ((kind, form), name, field) in enumerate(zip(kinds, names, fields, strict=True)):
        hypothesis.assume(field not in {"id", "below", "other"})
        path = ["below", str(place), field] if nested[place] else [field]
        found.append((name, kind, form, path))
    return found


def contract(columns, base, **keys):
    declared = [{"name": "id", "type": "integer", "description": "x"}]
    for name, kind, form, path in columns:
        written = "$" + "".join(f"[{json.dumps(key)}]" for key in path)
        more = KEYS.get(form) or ({"format": form} if form else {})
        declared.append({"name": name, "type": kind, "field": written, "description": "x", **more})
    items = {"description": "x", "path": "/items", "primary_key": ["id"], "columns": declared, "admit": "none", **keys}
    return Source.model_validate(
        {
            "source": "demo",
            "description": "x",
            "owner": "me@example.com",
            "base_url": base,
            "default_resource": "items",
            "resources": {"items": items},
        }
    )


def put(tree, path, literal):
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = literal


def written(tree, space):
    """Return a tree of literals as JSON text."""
    if not isinstance(tree, dict):
        return tree if isinstance(tree, bytes) else tree.encode()
    members = [json.dumps(key).encode() + b":" + space + written(value, space) for key, value in tree.items()]
    return b"{" + (b"," + space).join(members) + b"}"


@st.composite
def records_of(draw, columns):
    """Return records as text, each with the row that it has to give, or None where it has to be set aside."""
    found = []
    for number in range(draw(st.integers(0, 6))):
        tree, row = {"id": str(number)}, {"id": number, "_extra": None}
        for name, kind, form, path in columns:
            literal, value = draw(GOOD[kind, form] | st.sampled_from([("null", None), (None, None)]))
            row[name] = value
            if literal is not None:
                put(tree, path, literal)
        fate = draw(st.sampled_from(["good", "good", "good", "unknown", "bad", "twice", "none"]))
        if fate == "unknown":
            literal, _ = draw(TEXTS | INTEGERS)
            tree["other"] = literal
            row["_extra"] = {"other": literal}
        if fate == "bad":
            name, kind, _, path = draw(st.sampled_from(columns))
            put(tree, path, draw(st.sampled_from(BAD[kind])))
        text = written(tree, draw(SPACE).encode())
        if fate == "twice":
            text = b'{"id":7,' + text[1:]
        if fate == "none":
            text = draw(st.sampled_from([b"null", b"[1]", b'"x"', b"7", b'{"id":null}', b"{}"]))
        found.append((text, row if fate in {"good", "unknown"} else None))
    return found


@st.composite
def loads(draw):
    columns = draw(columns_of())
    return (
        columns,
        draw(records_of(columns)),
        draw(st.sampled_from(["array", "envelope", "filter", "ndjson"])),
        draw(st.sampled_from(["none", "page", "link"])),
        draw(st.integers(1, 3)),
    )


def pages_of(texts, shape, paging, size):
    """Return the bodies of a request's pages."""
    cuts = [texts] if paging == "none" else [texts[at : at + size] for at in range(0, len(texts), size)] or [[]]
    frames = {"array": b"[%s]", "envelope": b'{"d":[%s],"x":1}', "filter": b'{"d":[%s]}', "ndjson": b"%s\n"}
    return [frames[shape] % (b"\n" if shape == "ndjson" else b",").join(cut) for cut in cuts]


SHAPES = {
    "array": {"shape": "array"},
    "envelope": {"shape": "envelope", "data_path": "d"},
    "filter": {"shape": "envelope", "data_path": "$.d[0:]"},
    "ndjson": {"shape": "array", "format": "ndjson"},
}
PAGINGS = {
    "none": {"type": "none"},
    "page": {"type": "page", "stop": "empty_page", "duplicates": "allow", "page_size": 3},
    "link": {"type": "link", "max_empty_pages": 1},
}


@pytest.fixture(scope="module")
def server():
    """A server whose pages a test sets."""
    pages = []

    def answer(ask):
        number = int(ask.query.get("page", 1))
        if number > len(pages):
            return 404, {}, b""
        more = {"Link": f'</items?page={number + 1}>; rel="next"'} if number < len(pages) else {}
        return 200, {"Content-Type": "application/json", **more}, pages[number - 1]

    with answering(answer) as (base, _):
        yield base, pages


def plain(row, columns):
    """Return a row of Bronze in the form of what was expected."""
    found = {name: row[name] for name in ["id", *(name for name, *_ in columns)]}
    extra = row["_extra"]
    found["_extra"] = extra and {
        key: bytes(value).decode() for key, value in msgspec.json.decode(extra, type=dict[str, msgspec.Raw]).items()
    }
    return found


def expected_row(row, columns):
    found = dict(row)
    for name, kind, *_ in columns:
        if kind == "json" and found[name] is not None:
            found[name] = msgspec.json.format(found[name].encode(), indent=-1).decode()
    return found


@hypothesis.settings(max_examples=150, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(loads())
def test_every_record_is_in_bronze_as_it_was_sent_or_set_aside_as_it_came(server, tmp_path_factory, load):
    columns, records, shape, paging, size = load
    base, pages = server
    # a line holds no line end
    records = [(text.replace(b"\n", b" "), row) for text, row in records] if shape == "ndjson" else records
    pages[:] = pages_of([text for text, _ in records], shape, paging, size)
    # a page that was there before is refused, or was the last one: a source may return it for every later number
    hypothesis.assume(len(set(pages)) == len(pages))
    # where a filter finds only lists, their elements are the records
    hypothesis.assume(shape != "filter" or all(text != b"[1]" for text, _ in records))
    source = contract(columns, base, response=SHAPES[shape], pagination=PAGINGS[paging])
    run = Run.create(triggered_by="test", bronze_dir=tmp_path_factory.mktemp("bronze"))
    with Client(source) as connection:
        entry = ingest_partition(source, "items", DAY, run, connection)

    rows = pq.read_table(run.store.root / entry.path, partitioning=None)
    aside = run.store.quarantined(entry)
    assert entry.fetched == len(records) == entry.bronze + entry.quarantined
    assert [plain(row, columns) for row in rows.to_pylist()] == [
        expected_row(row, columns) for _, row in records if row is not None
    ]
    assert [(row.row, row.raw_bytes) for row in aside] == [
        (place, text) for place, (text, row) in enumerate(records) if row is None
    ]
    assert all(row.reason and row.rule for row in aside)
    assert rows.column("_row").to_pylist() == [place for place, (_, row) in enumerate(records) if row is not None]
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        query = f"from read_parquet('{run.store.root / entry.path}', hive_partitioning = false)"
        seen = connection.sql(query).to_arrow_table()
    assert seen.cast(rows.schema).equals(rows)
