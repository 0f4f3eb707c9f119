"""Requests with limits: no answer leads to another server, takes longer or is larger than the settings allow."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import http.client
import io
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

import requests
import requests.adapters
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions
from typing_extensions import override

from scripts.config import settings
from scripts.errors import SourceRejectedError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from typing_extensions import Buffer

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 10
_SEE_OTHER = 303
_CHUNK = 1 << 20
_MEGABYTE = 1_000_000
_SMALL = 16 * _MEGABYTE
"""Bodies up to this unpacked size may have any ratio of compression."""
_PORTS = {"http": 80, "https": 443}
_part_deadline: contextvars.ContextVar[float] = contextvars.ContextVar("part_deadline", default=float("inf"))
_local = threading.local()


def new_session() -> requests.Session:
    """Return a session that ignores the environment: CA bundle and proxy come from the settings."""
    config = settings()
    session = _Session()
    # otherwise, ~/.netrc would replace the contract's authentication
    session.trust_env = False
    session.verify = str(config.api_ca_bundle) if config.api_ca_bundle else True
    if config.api_proxy:
        session.proxies = dict.fromkeys(("http", "https"), config.api_proxy.get_secret_value())
    for scheme in ("http://", "https://"):
        session.mount(scheme, _BoundedAdapter(pool_connections=2, pool_maxsize=config.api_concurrency))
    return session


@contextlib.contextmanager
def part_deadline() -> Iterator[None]:
    """Limit all requests of the block, which load one partition, to `API_PARTITION_DEADLINE` seconds in total."""
    token = _part_deadline.set(time.monotonic() + settings().api_partition_deadline)
    try:
        yield
    finally:
        _part_deadline.reset(token)


def send(session: requests.Session, method: str, url: str, *, base_url: str, **arguments: Any) -> requests.Response:  # noqa: ANN401 — those of requests
    """Send a request to the server of `base_url` and return the answer with its whole body.

    Only redirects within the server are followed.

    Raises:
        SourceRejectedError: The address or a redirect leads to another server, or the answer is larger or takes longer
            than the settings allow.
        requests.RequestException: There is no answer.
    """
    for _ in range(_MOST_REDIRECTS + 1):
        require_same_server(url, base_url)
        _local.bounds = _Bounds.of_request()
        try:
            response = session.request(method, url, allow_redirects=False, stream=True, **arguments)
            with response:
                _read_body(response)
        finally:
            _local.bounds = None
        location = response.headers.get("Location")
        if response.status_code not in _REDIRECTS or not location:
            return response
        url = join_url(response.url, location)
        arguments.pop("params", None)
        if method == "POST" and response.status_code <= _SEE_OTHER:
            method = "GET"
            for key in ("data", "json"):
                arguments.pop(key, None)
    raise SourceRejectedError(
        f"the source redirects more than {_MOST_REDIRECTS} times", where=without_query(url), expected="an answer"
    )


def join_url(url: str, reference: str) -> str:
    """Return the full URL of a reference that was found in the answer from `url`.

    Raises:
        SourceRejectedError: The reference is not a valid URL.
    """
    try:
        joined = urllib.parse.urljoin(url, reference)
        _server(joined)
    except ValueError:
        raise SourceRejectedError(
            f"the answer leads to `{reference[:80]}`, which is not a valid URL", where=without_query(url)
        ) from None
    return joined


def require_same_server(url: str, base_url: str) -> None:
    """Raise a `SourceRejectedError` if a URL has another scheme, host or port than `base_url`."""
    try:
        same = _server(url) == _server(base_url)
    except ValueError:
        same = False
    if not same:
        raise SourceRejectedError(
            f"the source leads to {without_query(url)}, on another server",
            where=without_query(base_url),
            expected="the scheme, host and port of base_url, so that no secret and no request goes elsewhere",
            hint="if the source has moved, correct base_url in the contract",
        )


def without_query(url: str) -> str:
    """Return a URL as messages show it, without its query, which may contain a secret."""
    return url.partition("?")[0].partition("#")[0]


def check_unpacked(size: int, packed: int) -> None:
    """Raise a `SourceRejectedError` if a body, or its ratio of compression, is larger than the settings allow."""
    config = settings()
    if size > config.api_max_body_mb * _MEGABYTE:
        raise _too_large("API_MAX_BODY_MB", f"more than {config.api_max_body_mb} MB, unpacked")
    if size > max(_SMALL, config.api_max_inflation * packed):
        raise _too_large(
            "API_MAX_INFLATION", f"more than {config.api_max_inflation} times as large unpacked as it is packed"
        )


def most_unpacked(packed: int) -> int:
    """Return the most bytes that an unpacked body may have."""
    config = settings()
    return min(config.api_max_body_mb * _MEGABYTE, max(_SMALL, config.api_max_inflation * packed))


def _server(url: str) -> tuple[str, str | None, int | None]:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(url)
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def _read_body(response: requests.Response) -> None:
    """Read a body into the response, within the limits."""
    bounds: _Bounds = _local.bounds
    body, size = io.BytesIO(), 0
    try:
        for chunk in response.raw.stream(_CHUNK, decode_content=True):
            size += len(chunk)
            check_unpacked(size, bounds.received)
            body.write(chunk)
    except urllib3.exceptions.ReadTimeoutError as error:
        raise requests.exceptions.ReadTimeout(error) from None
    except urllib3.exceptions.DecodeError as error:
        raise requests.exceptions.ContentDecodingError(error) from None
    except urllib3.exceptions.HTTPError as error:
        raise requests.exceptions.ChunkedEncodingError(error) from None
    response._content = body.getvalue()  # noqa: SLF001 — requests has no other way
    response._content_consumed = True  # type: ignore[attr-defined]  # noqa: SLF001


def _too_large(setting: str, found: str) -> SourceRejectedError:
    return SourceRejectedError(
        f"the body is {found} ({setting})",
        hint=f"ask for fewer rows at a time in the contract, or raise {setting} if you trust the source",
    )


@dataclasses.dataclass(slots=True)
class _Bounds:
    """The limits of the current request of a thread."""

    deadline: float
    setting: str
    seconds: float
    bytes: int
    timeout: float
    received: int = 0

    @classmethod
    def of_request(cls) -> _Bounds:
        config, now = settings(), time.monotonic()
        of_request, of_part = now + config.api_request_deadline, _part_deadline.get()
        if of_request < of_part:
            setting, seconds = "API_REQUEST_DEADLINE", config.api_request_deadline
        else:
            setting, seconds = "API_PARTITION_DEADLINE", config.api_partition_deadline
        bounds = cls(min(of_request, of_part), setting, seconds, config.api_max_body_mb * _MEGABYTE, config.api_timeout)
        bounds.remaining()
        return bounds

    def remaining(self) -> float:
        """Return the seconds that are left."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            what = "a request" if self.setting == "API_REQUEST_DEADLINE" else "the partition"
            raise SourceRejectedError(
                f"{what} took longer than {self.seconds:g} s ({self.setting})",
                hint=f"raise {self.setting} if the source is that slow",
            )
        return left

    def count(self, received: int) -> None:
        """Count received bytes, before they are unpacked."""
        self.received += received
        if self.received > self.bytes:
            raise _too_large("API_MAX_BODY_MB", f"more than {self.bytes // _MEGABYTE} MB, as sent")


class _Session(requests.Session):
    @override
    def get_redirect_target(self, resp: requests.Response) -> None:
        # `send` follows redirects; requests would prepare the next request even with `allow_redirects=False`
        return None


class _BoundedReader(io.RawIOBase):
    """Reads what a server sends, within the limits of the thread's request."""

    def __init__(self, sock: socket.socket, file: io.BufferedIOBase) -> None:
        self._sock, self._file = sock, file

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Buffer) -> int:
        bounds: _Bounds | None = getattr(_local, "bounds", None)
        if bounds is None:
            return self._sock.recv_into(buffer)
        self._sock.settimeout(min(bounds.timeout, bounds.remaining()))
        try:
            received = self._sock.recv_into(buffer)
        except TimeoutError:
            bounds.remaining()
            raise
        bounds.count(received)
        return received

    @override
    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _BoundedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **more: Any) -> None:  # noqa: ANN401 — http.client's
        super().__init__(sock, *arguments, **more)
        self.fp = io.BufferedReader(_BoundedReader(sock, self.fp), _CHUNK >> 4)


class _HTTPConnection(urllib3.connection.HTTPConnection):
    response_class = _BoundedResponse


class _HTTPSConnection(urllib3.connection.HTTPSConnection):
    response_class = _BoundedResponse


class _HTTPPool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class _BoundedAdapter(requests.adapters.HTTPAdapter):
    """Reads through `_BoundedReader`."""

    @override
    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        super().init_poolmanager(*arguments, **more)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    @override
    def proxy_manager_for(self, *arguments: Any, **more: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **more)
        manager.pool_classes_by_scheme = _POOLS
        return manager
