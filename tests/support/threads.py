"""Servers of tests, each in a thread of the test's process."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import socketserver
    from collections.abc import Iterator

S = TypeVar("S", bound="socketserver.BaseServer")


@contextlib.contextmanager
def in_thread(server: S, *, poll_seconds: float = 0.05) -> Iterator[S]:
    """Serve for the block, and yield the server."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": poll_seconds})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
