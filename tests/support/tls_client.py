"""A client of names that lead nowhere: it asks a port of this machine for them, by TLS."""

import contextlib
import http.client
import socket


class TlsClient:
    """Asks a server on a loopback port by the names that it serves, and checks its certificates."""

    def __init__(self, port, context):
        self.port, self.context = port, context

    def ask(self, name, path="/", *, method="GET", body=None, source="127.0.0.1", **headers):
        """Return the status, the headers and the body of an answer; `_` in the names of headers stands for `-`."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=60, source_address=(source, 0))
        connection = http.client.HTTPSConnection(name, timeout=60)
        connection.sock = self.context.wrap_socket(plain, server_hostname=name)
        with contextlib.closing(connection):
            sent = {key.replace("_", "-"): text for key, text in headers.items()}
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read().decode()
