"""Answers that no source should give: those of real APIs, changed at random, and the check that a load stands them."""

import contextlib
import datetime as dt
import gzip
import json
import os
import tempfile
import threading
import time
import zlib
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from hypothesis import strategies as st

from scripts import config
from scripts.bronze.run import Run
from scripts.contracts.source import Source
from scripts.errors import PipelineError, UnexpectedError
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from tests.support.answering import answering
from tests.support.shapes import SHAPES

DAY = dt.date(2024, 1, 1)
LIMITS = {
    "API_RETRIES": "1",
    "API_RETRY_WAIT": "0.001",
    "API_MAX_RETRY_AFTER": "0",
    "API_TIMEOUT": "5",
    "API_REQUEST_DEADLINE": "10",
    "API_PARTITION_DEADLINE": "20",
    "API_MAX_PAGES": "30",
    "API_MAX_ROWS": "1000",
    "API_MAX_BODY_MB": "1",
    "DEMO_TOKEN": "secret-token",
    "DEMO_CLIENT": "client",
    "LOG_LEVEL": "CRITICAL",
}
SECONDS = 60
"""A load may not take longer."""

_odd_texts = st.sampled_from(
    [
        "",
        "null",
        "NaN",
        "1e999",
        "-0",
        "9" * 400,
        "2024-99-99T99:99:99Z",
        "0000-00-00",
        "\ud800",
        "\x00",
        "\u2028",
        "\x1b[2J",
        "<!channel>",
        "../../etc/passwd",
        "http://[",
        "http://127.0.0.1:1/",
        "//evil.test/x",
        "x" * 5000,
        "{{ env_var('X') }}",
        "'; drop table x; --",
    ]
)
_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=True)
    | st.text(max_size=20)
    | _odd_texts
)
_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | _odd_texts, inner, max_size=4),
    max_leaves=12,
)
_statuses = st.sampled_from([200, 201, 204, 206, 301, 302, 400, 401, 404, 408, 410, 416, 429, 500, 503, 600, 999])
_header_values = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40)
_headers = st.dictionaries(
    st.sampled_from(
        [
            "Link",
            "Location",
            "Retry-After",
            "Content-Type",
            "Content-Encoding",
            "X-Total-Count",
            "Content-Range",
            "Date",
        ]
    ),
    st.sampled_from(
        [
            "<http://[>; rel=next",
            '<?page=2>; rel="next"',
            "<>; rel=next, <",
            "9" * 400,
            "-1",
            "1e3",
            "*/*",
            "bytes 0-1/x",
            "gzip",
            "deflate",
            "br",
            "application/json; charset=nosuch",
            "text/csv; charset=utf-16",
            "Thu, 99 Foo 9999 00:00:00 GMT",
            "http://169.254.169.254/latest",
        ]
    )
    | _header_values,
    max_size=3,
)


class Change(NamedTuple):
    """What becomes of one answer."""

    kind: str
    argument: object


def _change(kind, argument):
    return argument.map(lambda drawn: Change(kind, drawn))


CHANGES = st.one_of(
    _change("body", st.binary(max_size=200)),
    _change("json", _values),
    _change("leaf", st.tuples(st.integers(0, 50), _values)),
    _change("drop", st.integers(0, 50)),
    _change("cut", st.integers(0, 300)),
    _change("flip", st.tuples(st.integers(0, 300), st.integers(1, 255))),
    _change("repeat", st.integers(2, 50)),
    _change("nest", st.sampled_from([50, 2000, 100_000])),
    _change("status", _statuses),
    _change("headers", _headers),
    _change("encode", st.sampled_from(["gzip", "deflate", "utf-16", "latin-1", "bom"])),
)
CASES = st.fixed_dictionaries(
    {
        "shape": st.sampled_from(sorted(SHAPES)),
        "rows": st.integers(0, 5),
        "changes": st.lists(st.tuples(st.integers(0, 3), CHANGES), min_size=1, max_size=3),
    }
)
"""A real API with some rows, and what becomes of which of its answers."""


def _paths(value, path=()):
    """Yield the path of every value in a document."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _paths(child, (*path, key))


def _edited(body, number, replacement, *, drop):
    """Return a JSON body with one of its values replaced or gone; another body as it is."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return body
    paths = [path for path in _paths(document) if path]
    if not paths:
        return _dumped(replacement)
    *parents, last = paths[number % len(paths)]
    holder = document
    for key in parents:
        holder = holder[key]
    if drop:
        del holder[last]
    else:
        holder[last] = replacement
    return _dumped(document)


def _dumped(value):
    return json.dumps(value, ensure_ascii=True).encode()


def _encoded(body, headers, name):
    if name == "gzip":
        return {**headers, "Content-Encoding": "gzip"}, gzip.compress(body)
    if name == "deflate":
        return {**headers, "Content-Encoding": "deflate"}, zlib.compress(body)
    if name == "bom":
        return headers, b"\xef\xbb\xbf" + body
    return headers, body.decode("utf-8", "replace").encode(name, "replace")


def _flipped(body, place, mask):
    place %= max(len(body), 1)
    return body[:place] + bytes(byte ^ mask for byte in body[place : place + 1]) + body[place + 1 :]


BODIES = {
    "body": lambda _, given: given,
    "json": lambda _, given: _dumped(given),
    "leaf": lambda body, given: _edited(body, *given, drop=False),
    "drop": lambda body, given: _edited(body, given, None, drop=True),
    "cut": lambda body, given: body[:given],
    "flip": lambda body, given: _flipped(body, *given),
    "repeat": lambda body, given: body * given,
    "nest": lambda body, given: b"[" * given + body + b"]" * given,
}
"""What a change does to the body, by its kind."""


def change(answer, made):
    """Return an answer (status, headers, body) after a change."""
    status, headers, body = answer
    if made[0] == "status":
        return made[1], headers, body
    if made[0] == "headers":
        return status, {**headers, **made[1]}, body
    if made[0] == "encode":
        return status, *_encoded(body, headers, made[1])
    return status, headers, BODIES[made[0]](body, made[1])


def load(case):
    """Load a case, and return the ledger record or the pipeline's own error; any other exception is the caller's."""
    contract, more, honest = SHAPES[case["shape"]]
    counted, lock = [0], threading.Lock()

    def answer(ask):
        with lock:
            number, counted[0] = counted[0], counted[0] + 1
        try:
            given = honest(ask, case["rows"])
        except Exception:  # noqa: BLE001 — an honest source does not know what a changed answer has led to
            given = (400, {}, b"{}")
        for place, made in case["changes"]:
            if place == number:
                given = change(given, made)
        return given

    with (
        tempfile.TemporaryDirectory(dir=_fast_folder()) as folder,
        _settings(DATA_DIR=folder),
        answering(answer) as (base, _),
    ):
        text = {"source": "demo", "description": "x", "owner": "me@example.com", "base_url": base, **more}
        if more.get("auth", {}).get("type") == "oauth2":
            text["auth"] = {**more["auth"], "token_url": f"{base}/token"}
        source = Source.model_validate({**text, "default_resource": "items", "resources": {"items": contract}})
        run = Run.create(triggered_by="fuzz")
        with Client(source) as connection:
            try:
                return ingest_partition(source, "items", DAY, run, connection, validate=True)
            except UnexpectedError:
                raise
            except PipelineError as error:
                return error


def check(case):
    """Check that a load ends in its record, which adds up, or in one line of the pipeline's own, and in time."""
    started = time.monotonic()
    ended = load(case)
    seconds = time.monotonic() - started
    assert seconds < SECONDS, f"took {seconds:.0f} s"
    if isinstance(ended, PipelineError):
        message = str(ended)
        assert message.isprintable() or not set(message) & set("\n\r\x1b\u2028\0"), repr(message)
        assert "secret-token" not in message
        assert len(message) < 4000, len(message)
    else:
        ended.check()
        assert ended.fetched == ended.bronze + ended.quarantined


@contextlib.contextmanager
def _settings(**environ):
    with mock.patch.dict(os.environ, LIMITS | environ):
        config.settings.cache_clear()
        try:
            yield
        finally:
            config.settings.cache_clear()


def _fast_folder():
    """Return a folder in memory, where there is one: durability is not what is tried."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
