"""Rate limits in answers: how long a source asks to wait."""

from __future__ import annotations

import datetime as dt
import email.utils
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import requests

_REMAINING = ("X-RateLimit-Remaining", "X-Rate-Limit-Remaining", "RateLimit-Remaining")
_RESET = ("X-RateLimit-Reset", "X-Rate-Limit-Reset", "RateLimit-Reset")
_FIRST_EPOCH = 1_000_000_000
"""A reset from this value on is a moment in seconds since 1970; a smaller one is a number of seconds."""


def wait_asked(response: requests.Response) -> float | None:
    """Return the seconds that an answer asks to wait, by `Retry-After` or an exhausted limit; None if it does not."""
    value = response.headers.get("Retry-After")
    if isinstance(value, str) and (asked := _retry_after(value)) is not None:
        return asked
    remaining = next((response.headers[name] for name in _REMAINING if name in response.headers), None)
    reset = next((response.headers[name] for name in _RESET if name in response.headers), None)
    if remaining is None or reset is None or str(remaining).strip() != "0":
        return None
    try:
        seconds = float(reset)
    except ValueError:
        return None
    now = dt.datetime.now(dt.UTC).timestamp()
    # one second more, since the clocks of both machines differ
    return max(0.0, seconds - now + 1 if seconds >= _FIRST_EPOCH else seconds)


def _retry_after(value: str) -> float | None:
    """Return the seconds of a `Retry-After` header, given as seconds or as a date."""
    if value.strip().isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return max(0.0, (moment - dt.datetime.now(dt.UTC)).total_seconds())
