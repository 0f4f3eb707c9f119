"""`fetch_page`: what is tried again, what is not, and what comes back."""

import email.utils
import time

import pytest
import requests

from scripts.errors import SourceRejectedError, SourceUnavailableError
from scripts.ingest_api import fetch_page

URL = "http://api.invalid/posts"


def answer(status=200, body=b'[{"id": 1}]', **headers):
    response = requests.Response()
    response.status_code, response._content, response.reason = status, body, "a reason"
    response.headers.update({"Content-Type": "application/json", **headers})
    return response


@pytest.fixture
def get(mocker):
    return mocker.patch("requests.get")


def test_a_page_has_its_records_number_and_total(get):
    get.return_value = answer(**{"X-Total-Count": "7"})

    assert fetch_page(URL, 3, 50) == {"data": [{"id": 1}], "page": 3, "total": 7}
    assert get.call_args.kwargs["params"] == {"_page": 3, "_limit": 50}


def test_a_session_is_used_instead_of_requests_get(get, mocker):
    session = mocker.Mock()
    session.get.return_value = answer()

    assert fetch_page(URL, 1, 10, session=session)["data"] == [{"id": 1}]
    get.assert_not_called()


def test_a_double_that_only_knows_json_is_enough(get, mocker):
    get.return_value = mocker.Mock(**{"json.return_value": [{"id": 1}]})

    assert fetch_page(URL, 1, 10)["data"] == [{"id": 1}]


@pytest.mark.parametrize(
    "fault",
    [
        requests.ConnectionError("no route"),
        requests.Timeout("too slow"),
        requests.exceptions.ChunkedEncodingError("cut off"),
        RuntimeError("nobody knows"),
        answer(408),
        answer(429),
        answer(500),
        answer(503),
        answer(body=b'[{"id": 1'),
        answer(body=b"<html>", **{"Content-Type": "text/html"}),
    ],
    ids=["connection", "timeout", "cut_off", "unknown", "408", "429", "500", "503", "truncated", "html"],
)
def test_a_transient_fault_is_tried_again(get, fault):
    get.side_effect = [fault, fault, answer()]

    assert fetch_page(URL, 1, 10)["data"] == [{"id": 1}]
    assert get.call_count == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
def test_a_final_answer_is_not_tried_again(get, status):
    get.return_value = answer(status, b'{"error": "no such thing"}')

    with pytest.raises(SourceRejectedError, match=f"HTTP {status} a reason: .*no such thing"):
        fetch_page(URL, 1, 10)
    assert get.call_count == 1


@pytest.mark.parametrize(
    "error",
    [requests.exceptions.InvalidURL("bad"), requests.exceptions.MissingSchema("bad")],
    ids=["invalid_url", "missing_schema"],
)
def test_an_address_that_can_never_work_is_not_tried_again(get, error):
    get.side_effect = error

    with pytest.raises(SourceRejectedError):
        fetch_page(URL, 1, 10)
    assert get.call_count == 1


def test_it_gives_up_after_the_configured_retries(get, env):
    env("API_RETRIES", 2)
    get.side_effect = requests.ConnectionError("refused")

    with pytest.raises(SourceUnavailableError, match="no usable answer in 3 tries; the last: connection refused"):
        fetch_page(URL, 1, 10)
    assert get.call_count == 3


@pytest.mark.parametrize(
    "retry_after",
    ["1", email.utils.formatdate(time.time() + 2, usegmt=True)],
    ids=["seconds", "date"],
)
def test_retry_after_is_honoured(get, retry_after):
    if not retry_after.isdigit():
        retry_after = email.utils.formatdate(time.time() + 2, usegmt=True)
    get.side_effect = [answer(429, **{"Retry-After": retry_after}), answer()]
    started = time.monotonic()

    fetch_page(URL, 1, 10)

    assert time.monotonic() - started > 0.9


def test_a_longer_wait_than_allowed_ends_the_run_as_transient(get):
    get.return_value = answer(503, **{"Retry-After": "3000"})

    with pytest.raises(SourceUnavailableError, match="asking to wait 3000 s"):
        fetch_page(URL, 1, 10)
    assert get.call_count == 1
