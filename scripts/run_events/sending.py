"""Sends run events in the background, so that a receiver that is slow or down neither fails nor delays the work.

The outermost block of work in a process waits at its end until all events are sent, but at most `_LONGEST_WAIT`. If the
receiver cannot be reached, one line is logged, and the events of the next minute are dropped.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import requests

from scripts.config import settings
from scripts.security.outside_text import one_line
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scripts.run_events.run_event import RunEvent

_log = get_logger("openlineage")
_TIMEOUT_SECONDS = 5
_LONGEST_WAIT = 5.0
_PAUSE_SECONDS = 60.0
_MOST_WAITING = 10_000
_SERVER_ERRORS = 500


def is_on() -> bool:
    """Return whether events are sent."""
    return settings().openlineage_url is not None


def send(make: Callable[[], Sequence[RunEvent]]) -> None:
    """Send the events that a function returns, after all events before them; the function runs in the background.

    Nothing happens if events are off. The function must read only what does not change afterwards.
    """
    if is_on():
        _sender(*_receiver()).put(make)


@contextlib.contextmanager
def sending() -> Iterator[None]:
    """Wait at the end of the outermost of these blocks until the events of this process are sent."""
    if not is_on():
        yield
        return
    sender = _sender(*_receiver())
    with sender.lock:
        sender.blocks += 1
    try:
        yield
    finally:
        with sender.lock:
            sender.blocks -= 1
            is_last = sender.blocks == 0
        if is_last:
            sender.wait()


class _Sender:
    """One receiver, and the thread that sends to it."""

    def __init__(self, url: str, key: str, namespace: str) -> None:
        self.lock = threading.Condition()
        self.blocks = 0
        self._url, self._key, self._namespace = url, key, namespace
        self._queue: queue.Queue[Callable[[], Sequence[RunEvent]]] = queue.Queue(_MOST_WAITING)
        self._waiting = 0
        self._down_until = 0.0
        self._has_warned = False
        threading.Thread(target=self._work, name="openlineage", daemon=True).start()

    def put(self, make: Callable[[], Sequence[RunEvent]]) -> None:
        if time.monotonic() < self._down_until:
            return
        try:
            with self.lock:
                self._queue.put_nowait(make)
                self._waiting += 1
        except queue.Full:
            self._warn(f"{_MOST_WAITING} events wait to be sent")

    def wait(self) -> None:
        with self.lock:
            if not self.lock.wait_for(lambda: self._waiting == 0, _LONGEST_WAIT):
                self._warn(f"it takes longer than {_LONGEST_WAIT:g} s")

    def _work(self) -> None:
        emit: Callable[[Any], object] | None = None
        while True:
            make = self._queue.get()
            try:
                if time.monotonic() >= self._down_until:
                    emit = emit or self._transport()
                    from scripts.run_events.openlineage_form import to_openlineage  # noqa: PLC0415 — only if it is on

                    for event in make():
                        emit(to_openlineage(event, self._namespace))
            except Exception as error:  # noqa: BLE001 — events never fail the work that they are about
                self._note(error)
            finally:
                with self.lock:
                    self._waiting -= 1
                    self.lock.notify_all()

    def _transport(self) -> Callable[[Any], object]:
        # half a second to import, which only those pay who send events
        from openlineage.client.transport.http import ApiKeyTokenProvider, HttpConfig, HttpTransport  # noqa: PLC0415

        config = HttpConfig(self._url, timeout=_TIMEOUT_SECONDS, retry={"total": 0})
        if self._key:
            config.auth = ApiKeyTokenProvider({"apiKey": self._key})
        return HttpTransport(config).emit

    def _note(self, error: Exception) -> None:
        response = error.response if isinstance(error, requests.RequestException) else None
        if response is not None:
            what = f"HTTP {response.status_code}"
        else:
            what = type(error).__name__ if isinstance(error, requests.RequestException) else one_line(repr(error))
        if isinstance(error, requests.RequestException) and (
            response is None or response.status_code >= _SERVER_ERRORS
        ):
            self._down_until = time.monotonic() + _PAUSE_SECONDS
        self._warn(what)

    def _warn(self, what: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            _log.warning("events for %s are lost, and the work goes on without them: %s", self._url, what)


@functools.lru_cache(maxsize=4)
def _sender(url: str, key: str, namespace: str) -> _Sender:
    return _Sender(url, key, namespace)


def _receiver() -> tuple[str, str, str]:
    config = settings()
    key = config.openlineage_api_key.get_secret_value() if config.openlineage_api_key else ""
    return str(config.openlineage_url), key, config.openlineage_namespace
