"""A client of names that lead nowhere: it asks a port of this machine for them, by TLS."""

from __future__ import annotations

import contextlib
import http.client
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl


class TlsClient:
    """Asks a server on a loopback port by the names that it serves, and checks its certificates."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.port, self.context = port, context

    def ask(
        self,
        name: str,
        path: str = "/",
        *,
        method: str = "GET",
        body: str | bytes | None = None,
        source: str = "127.0.0.1",
        **headers: str,
    ) -> tuple[int, dict[str, str], str]:
        """Return the status, the headers and the body of an answer; `_` in the names of headers stands for `-`."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=60, source_address=(source, 0))
        connection = http.client.HTTPSConnection(name, timeout=60)
        connection.sock = self.context.wrap_socket(plain, server_hostname=name)
        with contextlib.closing(connection):
            sent = {key.replace("_", "-"): text for key, text in headers.items()}
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read().decode()
