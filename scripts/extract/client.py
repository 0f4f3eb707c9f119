"""The HTTP client of a source: persistent connections, authentication and rate limit."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Self

from scripts.config import settings, variable
from scripts.contracts.safety import address_problems
from scripts.errors import SettingsError
from scripts.extract import transport
from scripts.extract.auth import authorization

if TYPE_CHECKING:
    from types import TracebackType

    import requests

    from scripts.contracts.source import Resource, Source

_USER_AGENT = "data-pipeline"


class Client:
    """Requests to one source; may be shared by threads."""

    def __init__(self, source: Source) -> None:
        """Prepare a session.

        Raises:
            SettingsError: An environment variable that the contract's `auth` names is not set.
        """
        self.base_url = _base_url(source)
        self.session = transport.new_session()
        self.session.headers.update({"Accept": "application/json", "User-Agent": _USER_AGENT})
        self._source = source
        self._own: dict[int, Client] = {}
        self.session.auth = authorization(source.auth, source.source)
        self._interval = 1 / source.rate_limit.requests_per_second if source.rate_limit else 0.0
        self._next_start = 0.0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.session.close()
        for client in self._own.values():
            client.close()

    def for_resource(self, resource: Resource) -> Client:
        """Return the client of a resource with its own address, authentication or rate limit; otherwise this client."""
        own = {key: getattr(resource, key) for key in ("base_url", "auth", "rate_limit")}
        changed = {key: value for key, value in own.items() if value is not None}
        if not changed:
            return self
        with self._lock:
            if id(resource) not in self._own:
                if "base_url" in changed:
                    changed["base_url_env"] = None
                self._own[id(resource)] = Client(self._source.model_copy(update=changed))
            return self._own[id(resource)]

    def get(self, url: str, **arguments: Any) -> requests.Response:  # noqa: ANN401 — the arguments of requests
        """Send a GET request when the rate limit allows it."""
        return self.send("GET", url, **arguments)

    def send(self, method: str, url: str, **arguments: Any) -> requests.Response:  # noqa: ANN401 — see `get`
        """Send one request when the rate limit allows it."""
        if self._interval:
            with self._lock:
                start = max(self._next_start, time.monotonic())
                self._next_start = start + self._interval
            time.sleep(max(0.0, start - time.monotonic()))
        return transport.send(self.session, method, url, base_url=self.base_url, **arguments)


def _base_url(source: Source) -> str:
    configured: object = None
    if source.base_url_env == "API_BASE_URL":
        configured = settings().api_base_url
    elif source.base_url_env:
        configured = variable(source.base_url_env)
    url = str(configured or source.base_url).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise SettingsError(f"{source.base_url_env} is refused", expected="a URL that starts with https://")
    for problem in address_problems(url, has_secrets=source.auth.type != "none"):
        raise SettingsError(problem.replace("base_url", source.base_url_env or "base_url", 1), where=source.source)
    return url
