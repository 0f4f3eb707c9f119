"""Logs: one JSON object a line, once, in UTC, with context and without secrets."""

import datetime as dt
import io
import json
import logging

import pytest

from scripts.security.redaction import redact, register_secret
from scripts.utils.logging_config import log_context, setup_logging


@pytest.fixture
def stream():
    return io.StringIO()


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_has_every_field(stream):
    logger = setup_logging("test.fields", stream=stream)

    logger.warning("loaded %d rows", 3, extra={"rows": 3, "path": "a/b"})

    (line,) = lines(stream)
    assert line | {"timestamp": "", "line": 0} == {
        "timestamp": "",
        "level": "WARNING",
        "logger": "test.fields",
        "message": "loaded 3 rows",
        "module": "test_logging_config",
        "function": "test_a_line_has_every_field",
        "line": 0,
        "rows": 3,
        "path": "a/b",
    }
    assert abs(dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(line["timestamp"])) < dt.timedelta(minutes=1)
    assert line["timestamp"].endswith("Z")


def test_setting_up_twice_does_not_double_the_lines(stream):
    setup_logging("test.twice", stream=stream)
    logger = setup_logging("test.twice", stream=stream)

    logger.info("once")

    assert len(lines(stream)) == 1


def test_the_default_level_is_info(stream):
    logger = setup_logging("test.level", stream=stream)

    logger.debug("no")
    logger.info("yes")

    assert [line["message"] for line in lines(stream)] == ["yes"]


def test_an_exception_is_one_line(stream):
    logger = setup_logging("test.exception", stream=stream)

    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logger.exception("it broke")

    (line,) = lines(stream)
    assert "ZeroDivisionError" in line["exception"]


def test_the_context_of_a_run_is_on_every_line_of_its_children(stream):
    setup_logging("test.context", stream=stream)

    with log_context(run_id="r1", source="s"), log_context(resource="p", day=dt.date(2024, 1, 1)):
        logging.getLogger("test.context.child").info("inside")
    logging.getLogger("test.context.child").info("outside")

    inside, outside = lines(stream)
    assert (inside["run_id"], inside["source"], inside["resource"], inside["day"]) == ("r1", "s", "p", "2024-01-01")
    assert "run_id" not in outside


def test_secrets_never_reach_a_line(stream):
    logger = setup_logging("test.secrets", stream=stream)
    register_secret("s3cr3t-token")

    logger.info("calling with s3cr3t-token", extra={"header": "Bearer abcdefghijklmnop", "url": "https://u:pw@h/x"})

    text = stream.getvalue()
    for secret in ("s3cr3t-token", "abcdefghijklmnop", "u:pw"):
        assert secret not in text


def test_redacting_keeps_the_rest():
    assert redact("GET https://user:pass@host/a failed") == "GET https://***@host/a failed"


def test_text_is_for_people(stream):
    logger = setup_logging("test.text", stream=stream, text=True)

    with log_context(source="s", resource="r", day="d"):
        logger.info("hello")

    assert stream.getvalue().rstrip().endswith("INFO    [s r d] hello")


@pytest.mark.parametrize("text", [False, True])
def test_a_long_line_is_whole(stream, text):
    """Such as the traceback of a model whose SQL is long: nothing else holds it."""
    message = "x" * 100_000 + " the end"
    setup_logging("test.long", stream=stream, text=text).error(message)

    assert message in stream.getvalue()
