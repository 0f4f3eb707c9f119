"""Retries of requests: which errors are transient, how long to wait, and which error is raised in the end."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import requests
import tenacity
from typing_extensions import override

from scripts.config import settings
from scripts.errors import PipelineError, SourceRejectedError, SourceUnavailableError, TerminalError
from scripts.extract.json_text import MISREAD
from scripts.extract.rate_limits import wait_asked
from scripts.extract.transport import without_query
from scripts.security.outside_text import one_line
from scripts.security.redaction import without_secrets
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

T = TypeVar("T")
_log = get_logger("retries")
_LONGEST_WAIT = 60.0
_SNIPPET = 160
_HTTP_WITH_ROWS = frozenset({200, 201, 203, 204})
_HTTP_TRANSIENT = frozenset({202, 408, 425, 429})
"""Transient statuses below 500; 202 means that the source is still working on the answer."""
_HTTP_NEVER = frozenset({501, 505})
_FIRST_SERVER_ERROR = 500
_FIRST_ERROR = 400
_FORBIDDEN = 403
_AUTH_HINT = "check `auth` in the contract, and the variables that it names"
_PATH_HINT = (
    "check `base_url` and `path` in the contract; where it means that there are no rows, `no_rows: {status: [404]}`"
)
_HINTS = {
    401: _AUTH_HINT,
    403: _AUTH_HINT,
    404: _PATH_HINT,
    410: _PATH_HINT,
    405: "`method` in the contract is GET or POST",
    406: "`headers: {Accept: …}` in the contract says which format is wanted",
    411: "`method: POST` with `body` or `form` in the contract sends a body",
    415: "`body` in the contract sends JSON, `form` a form",
}
_FINAL_EXCEPTIONS = (
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidHeader,
    requests.exceptions.TooManyRedirects,
)


class Retries:
    """Counts the retries of a partition; when stopped, waiting requests give up at once."""

    def __init__(self) -> None:
        """Start at zero."""
        self.count = 0
        self.stopped = threading.Event()


def fetch(
    get: Callable[..., requests.Response],
    url: str,
    parse: Callable[[requests.Response], T],
    *,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    retries: Retries | None = None,
    passing: Collection[int] = (),
) -> T:
    """Return the result of `parse` for the answer to a request, after as many tries as the settings allow.

    Connection errors, time-outs, 202, 408, 425, 429, 5xx, bodies that are not JSON and every exception of `get` that is
    not known to be terminal are retried, with exponential back-off and jitter, or after the time that the source asks
    for (see `rate_limits.wait_asked`). Other exceptions of `parse` than pipeline and JSON errors are bugs; they are
    raised unchanged. `parse` also gets answers with a status in `passing`.

    Raises:
        SourceRejectedError: The source refuses the request (any other status than 200, 201, 203 or 204), cannot be
            trusted, or answers in another shape.
        SourceUnavailableError: No try succeeded.
    """
    config = settings()
    counted = retries or Retries()

    def attempt() -> T:
        response = get(url, params=params, headers=headers, timeout=config.api_timeout)
        if response.status_code not in passing:
            check_status(response)
        try:
            return parse(response)
        except (PipelineError, msgspec.ValidationError, _RetryableError):
            raise
        except MISREAD as error:
            kind = response.headers.get("Content-Type", "no content type")
            message = f"the body is not JSON ({kind}): {error}"
            raise _RetryableError(message) from None
        except Exception as error:
            raise _OwnFaultError from error

    def before_sleep(state: tenacity.RetryCallState) -> None:
        counted.count += 1
        wait = state.next_action.sleep if state.next_action else 0
        reason = describe(_outcome(state))
        _log.warning(
            "retry %d of %d in %.1f s: %s",
            state.attempt_number,
            config.api_retries,
            wait,
            reason,
            extra={"url": without_query(url)},
        )

    retrying = tenacity.Retrying(
        stop=tenacity.stop_any(
            tenacity.stop_after_attempt(config.api_retries + 1),
            tenacity.stop_when_event_set(counted.stopped),
            _WaitTooLong(),
        ),
        wait=_wait,
        retry=tenacity.retry_if_exception(is_transient),
        sleep=tenacity.sleep_using_event(counted.stopped),
        before_sleep=before_sleep,
        reraise=True,
    )
    try:
        return retrying(attempt)
    except _OwnFaultError as fault:
        raise fault.__cause__ or fault from None
    except Exception as error:  # noqa: BLE001 — after the last try, every exception is reported
        if (final := _as_final(error, without_query(url))) is not None:
            raise final from None
        tries = retrying.statistics.get("attempt_number", 1)
        asked = getattr(error, "retry_after", None) or 0
        limit = config.api_max_retry_after
        waiting = f", asking to wait {asked:g} s (API_MAX_RETRY_AFTER is {limit:g})" if asked > limit else ""
        raise SourceUnavailableError(
            f"no usable answer in {tries} tries; the last: {describe(error)}{waiting}",
            where=without_query(url),
            hint="when the source is back, retry: loaded partitions stay",
        ) from without_secrets(error)


def check_status(response: requests.Response) -> None:
    """Raise the error of an HTTP status: none for success, a retryable error, or a terminal one."""
    status = response.status_code
    if not isinstance(status, int):
        response.raise_for_status()
        return
    if status in _HTTP_WITH_ROWS:
        return
    asked = wait_asked(response)
    is_limited = status == _FORBIDDEN and asked is not None
    if status in _HTTP_TRANSIENT or (status >= _FIRST_SERVER_ERROR and status not in _HTTP_NEVER) or is_limited:
        message = f"HTTP {status} {response.reason}{' (the rate limit is used up)' if is_limited else ''}"
        raise _RetryableError(message, retry_after=asked)
    text = one_line(" ".join(str(response.text).split()), longest=_SNIPPET) if status >= _FIRST_ERROR else ""
    raise SourceRejectedError(
        f"HTTP {status} {response.reason}: {text}" if text else f"HTTP {status} {response.reason}",
        expected="" if status >= _FIRST_ERROR else "a status of an answer with rows: 200, or 204 for no rows",
        hint=_status_hint(status),
    )


def is_transient(error: BaseException) -> bool:
    """Return whether trying again may help."""
    if isinstance(error, requests.exceptions.SSLError):
        return "CERTIFICATE_VERIFY_FAILED" not in str(error)
    if isinstance(error, requests.HTTPError) and isinstance(getattr(error.response, "status_code", None), int):
        status = error.response.status_code
        return status in _HTTP_TRANSIENT or (status >= _FIRST_SERVER_ERROR and status not in _HTTP_NEVER)
    return isinstance(error, Exception) and not isinstance(
        error, (TerminalError, msgspec.ValidationError, _OwnFaultError, *_FINAL_EXCEPTIONS)
    )


def describe(error: BaseException) -> str:
    """Return a short description of an exception of a request."""
    if isinstance(error, requests.exceptions.Timeout):
        return f"no answer within {settings().api_timeout:g} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was closed in the middle of the body"
    if isinstance(error, requests.exceptions.ConnectionError):
        text = str(error)
        if "RemoteDisconnected" in text or "reset by peer" in text:
            return "the connection was closed without an answer"
        return "connection refused" if "refused" in text else one_line(text, longest=_SNIPPET)
    is_told = isinstance(error, (_RetryableError, PipelineError))
    return one_line(str(error) if is_told else f"{type(error).__name__}: {error}")


class _OwnFaultError(Exception):
    """Carries an exception that no retry can fix past the retries."""


class _RetryableError(Exception):
    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def _outcome(state: tenacity.RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome else None
    return error or RuntimeError("no outcome")


def _wait(state: tenacity.RetryCallState) -> float:
    asked = getattr(_outcome(state), "retry_after", None)
    if asked is not None:
        return float(asked)
    first = settings().api_retry_wait
    return tenacity.wait_exponential_jitter(multiplier=first, max=_LONGEST_WAIT, jitter=first)(state)


class _WaitTooLong(tenacity.stop.stop_base):
    """Stops when the source asks for a longer wait than the settings allow."""

    @override
    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        asked = getattr(_outcome(retry_state), "retry_after", None)
        return asked is not None and asked > settings().api_max_retry_after


def _as_final(error: Exception, place: str) -> TerminalError | None:
    """Return the terminal error that an exception means, or None for a transient error."""
    if is_transient(error):
        return None
    if isinstance(error, TerminalError):
        return type(error)(error.what, where=error.where or place, expected=error.expected, hint=error.hint)
    if isinstance(error, msgspec.ValidationError):
        return SourceRejectedError(f"the response has another shape: {error}", where=place)
    if isinstance(error, requests.exceptions.SSLError):
        return SourceRejectedError(
            f"the source's certificate is not trusted: {_certificate_problem(error)}",
            where=place,
            expected="a certificate that is signed by an authority that this machine knows",
            hint="set API_CA_BUNDLE to the file with the certificate of the source's authority",
        )
    return SourceRejectedError(one_line(str(error), longest=_SNIPPET), where=place, expected="a valid URL that answers")


def _certificate_problem(error: requests.exceptions.SSLError) -> str:
    found = re.search(r"certificate verify failed: ([^(]+)", str(error))
    return found[1].strip() if found else one_line(str(error), longest=_SNIPPET)


def _status_hint(status: int) -> str:
    return _HINTS.get(status, "check the resource's `params`, `headers` and `pagination` in the contract")
