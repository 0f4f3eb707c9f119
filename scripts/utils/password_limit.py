"""Limit on wrong passwords: ASGI middleware that refuses an address for a minute after ten wrong passwords."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Message, Receive, Send], Awaitable[None]]

FAILURES, SECONDS = 10, 60.0
"""After so many wrong passwords of an address within so many seconds, its next requests are refused."""
_UNAUTHORIZED, _TOO_MANY = 401, 429
_MOST_ADDRESSES = 10_000


class PasswordLimit:
    """Answers 429 to an address that recently sent many wrong passwords, even if the next password is right.

    A request without a password is not counted: browsers and health checks send one first. Counts are kept in this
    process. Behind a proxy that the server trusts, the address is the one that the proxy names.
    """

    def __init__(
        self,
        app: Application,
        paths: Collection[str] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wrap an application; `paths` are the paths that ask for a password, by default all paths."""
        self._app = app
        self._paths = paths
        self._now = now
        self._failures: dict[str, deque[float]] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request to the application, or answer 429."""
        if scope["type"] != "http" or (self._paths is not None and scope["path"].rstrip("/") not in self._paths):
            await self._app(scope, receive, send)
            return
        address = (scope.get("client") or ("", 0))[0]
        if wait := self._wait(address):
            await _refuse(send, wait)
            return
        has_password = scope["method"] == "POST" or any(name == b"authorization" for name, _ in scope["headers"])

        async def count(message: Message) -> None:
            if has_password and message["type"] == "http.response.start" and message["status"] == _UNAUTHORIZED:
                self._note(address)
            await send(message)

        await self._app(scope, receive, count)

    def _wait(self, address: str) -> int:
        """Return the seconds that an address has to wait."""
        failures = self._failures.get(address)
        if failures is None or len(failures) < FAILURES:
            return 0
        return max(math.ceil(failures[0] + SECONDS - self._now()), 0)

    def _note(self, address: str) -> None:
        if len(self._failures) >= _MOST_ADDRESSES and address not in self._failures:
            old = self._now() - SECONDS
            self._failures = {name: found for name, found in self._failures.items() if found[-1] > old}
        self._failures.setdefault(address, deque(maxlen=FAILURES)).append(self._now())


async def _refuse(send: Send, wait: int) -> None:
    text = f"too many wrong passwords; wait {wait} seconds\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", str(wait).encode())]
    await send({"type": "http.response.start", "status": _TOO_MANY, "headers": headers})
    await send({"type": "http.response.body", "body": text})
