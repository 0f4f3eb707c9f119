"""Secrets are masked in every form, before a text is cut; the rest of a text stays."""

import base64
import html
import io
import json
import logging
import pickle
import sys
import threading
import urllib.parse

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.errors import SourceRejectedError
from scripts.security import redaction
from scripts.security.outside_text import one_line
from scripts.security.redaction import on_secret, redact, register_secret, without_secrets
from scripts.utils.logging_config import get_logger, setup_logging

SECRETS = (
    st.text(st.characters(exclude_categories=["Cs"]), min_size=8, max_size=30)
    .map(str.strip)
    .filter(lambda text: len(set(text)) > 6)
)
FORMS = {
    "plain": str,
    "percent-encoded": lambda s: urllib.parse.quote(s, safe=""),
    "percent-encoded, slashes kept": urllib.parse.quote,
    "percent-encoded twice": lambda s: urllib.parse.quote(urllib.parse.quote(s, safe=""), safe=""),
    "in small letters": lambda s: urllib.parse.quote(s, safe="").replace("%C3", "%c3").replace("%2F", "%2f"),
    "as a form": urllib.parse.quote_plus,
    "JSON": lambda s: json.dumps(s)[1:-1],
    "JSON, not ASCII": lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
    "JSON in JSON": lambda s: json.dumps(json.dumps(s))[3:-3],
    "Python": lambda s: repr(s)[1:-1],
    "bytes": lambda s: repr(s.encode())[2:-1],
    "HTML": html.escape,
    "hex": lambda s: s.encode().hex(),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64 of a login": lambda s: base64.b64encode(f"user:{s}".encode()).decode(),
    "base64 for URLs": lambda s: base64.urlsafe_b64encode(f"a{s}b".encode()).decode(),
}


@pytest.fixture(autouse=True)
def own_secrets(monkeypatch):
    """Every test starts without secrets, and leaves none."""
    monkeypatch.setattr(redaction, "_secrets", {})
    monkeypatch.setattr(redaction, "_listeners", [])
    monkeypatch.setattr(redaction, "_patterns", ())


def forget():
    redaction._secrets.clear()
    redaction._patterns = ()


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=20, deadline=None)
@given(secret=SECRETS)
def test_every_form_of_a_secret_is_masked(form, secret):
    forget()
    register_secret(secret)
    shown = FORMS[form](secret.strip())
    text = redact(f"before {shown} after")
    assert shown not in text
    assert text.startswith("before ")
    assert text.endswith(" after")


@settings(max_examples=50, deadline=None)
@given(secret=SECRETS, longest=st.integers(10, 60), before=st.integers(0, 60))
def test_a_secret_that_stands_astride_the_cut_is_masked_before(secret, longest, before):
    forget()
    register_secret(secret)
    shown = one_line("." * before + secret + "." * 60, longest=longest)
    assert len(shown) <= longest
    assert shown.strip("…").replace(redaction.MASK, "").strip(".*…") == ""


def test_two_secrets_of_which_one_holds_the_other():
    register_secret("abcdef")
    register_secret("abcdefghij")
    assert redact("abcdefghij abcdef") == "*** ***"


def test_very_short_values_are_no_secrets():
    register_secret("abc")
    register_secret("")
    assert redact("abc") == "abc"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://user:pass@host/a failed", "GET https://***@host/a failed"),
        ("GET http://host/a?key=x&page=2 failed", "GET http://host/a?*** failed"),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer ***"),
        ("what is 1?2", "what is 1?2"),
    ],
)
def test_urls_and_headers_are_masked_without_knowing_the_secret(text, shown):
    assert redact(text) == shown


def test_long_texts_take_no_time():
    register_secret("p@ss/w+rd")
    for text in ("a" * 5_000_000, "http://" * 700_000, "\\" * 2_000_000, "p@ss" * 1_000_000):
        assert len(one_line(text)) == 4000
        redact(text[:1_000_000])


def test_an_error_never_holds_a_secret():
    register_secret("p@ss/w+rd")
    error = SourceRejectedError("HTTP 400: p%40ss%2Fw%2Brd", where="http://h/a?key=p%40ss", expected="p@ss/w+rd")
    shown = f"{error} {error!r} {error.what} {error.where} {pickle.dumps(error)!r}"
    assert "p@ss" not in shown
    assert "p%40ss" not in shown


def fail(secret):
    """Fail as a bug in a client does: with the secret in the request, the URL, the cause and an argument."""
    request = requests.Request(
        "GET", "http://127.0.0.1:9/", params={"key": secret}, headers={"X-Key": secret}
    ).prepare()
    try:
        try:
            raise ValueError(secret.encode())  # noqa: TRY301 — the cause of the next
        except ValueError as cause:
            raise requests.ConnectionError(f"{request.url} failed", request=request) from cause
    except requests.ConnectionError:
        raise ExceptionGroup("several", [KeyError(secret)])  # noqa: B904 — what came before is the context


def test_the_chain_of_an_error_holds_no_secret():
    register_secret("p@ss/w+rd")
    with pytest.raises(ExceptionGroup) as caught:
        fail("p@ss/w+rd")
    error = without_secrets(caught.value)
    request_error = error.__context__
    assert request_error.request is None
    assert isinstance(error, ExceptionGroup)
    shown = repr((error, error.exceptions, request_error, request_error.__cause__))
    assert "p@ss" not in shown
    assert "p%40ss" not in shown


class OddError(Exception):
    def __str__(self):
        return "p@ss/w+rd"


def test_an_error_that_cannot_be_mended_is_replaced():
    register_secret("p@ss/w+rd")
    assert str(without_secrets(OddError())) == "OddError: ***"


def test_every_handler_of_every_logger_gets_masked_records():
    setup_logging("pipeline", stream=io.StringIO())
    register_secret("p@ss/w+rd")
    stream = io.StringIO()
    foreign = logging.StreamHandler(stream)
    logger = logging.getLogger("somebody.elses")
    logger.addHandler(foreign)
    try:
        logger.error("asking with %s", "p@ss/w+rd")
        try:
            fail("p@ss/w+rd")
        except ExceptionGroup:
            logger.exception("it failed")
    finally:
        logger.removeHandler(foreign)
    text = stream.getvalue()
    assert "it failed" in text
    assert "ConnectionError" in text
    assert "p@ss" not in text
    assert "p%40ss" not in text


def test_an_error_that_nobody_catches_shows_no_secret(start):
    program = (
        "import threading, sys; from scripts.security.redaction import register_secret;"
        "from scripts.utils.exit_codes import start_logging; start_logging(); register_secret('p@ss/w+rd')\n"
        "def work(): raise ValueError('thread p%40ss%2Fw%2Brd')\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()\n"
        "raise ValueError('main p@ss/w+rd')"
    )
    done = start("-c", program, program=(sys.executable,))
    assert done.returncode == 1
    assert "ValueError: main ***" in done.stderr
    assert "ValueError: thread ***" in done.stderr
    assert "p@ss/w+rd')" not in done.stderr.replace(program, "")


def test_another_tool_is_told_the_forms_of_secrets_now_and_later():
    told = []
    register_secret("first&secret")
    on_secret(told.append)
    register_secret("second&secret")
    assert {"first&secret", "first%26secret", "second&secret", "second%26secret"} <= set(told)
    assert base64.b64encode(b"second&secret").decode()[:-4] in " ".join(told)


def test_threads_may_register_while_others_mask():
    log = get_logger("threads")
    errors = []

    def work(number):
        try:
            for each in range(5):
                register_secret(f"secret-{number}-{each}")
                log.debug("secret-%d-%d", number, each)
                assert redact(f"secret-{number}-{each}") == redaction.MASK
        except BaseException as error:  # noqa: BLE001 — told below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
