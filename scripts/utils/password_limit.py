"""A limit on wrong passwords: middleware of ASGI that refuses an address for a while after many of them."""

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
"""As many wrong passwords of an address within as many seconds are answered; the next request is refused."""
_UNAUTHORIZED, _TOO_MANY = 401, 429
_MOST_ADDRESSES = 10_000


class PasswordLimit:
    """Answers 429 to an address that sent many wrong passwords a moment ago, also where the next one is right.

    A request without a password is not counted: browsers and health checks send one first. Counts are kept in this
    process. Behind a proxy the address is the one that the proxy names, if the server trusts the proxy.
    """

    def __init__(
        self,
        app: Application,
        paths: Collection[str] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the application behind it, and the paths that ask for a password; without, every path does."""
        self._app = app
        self._paths = paths
        self._now = now
        self._failures: dict[str, deque[float]] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Hand on a request, or answer 429."""
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
