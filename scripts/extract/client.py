"""The HTTP client of a source: kept-alive connections, authentication and rate limit."""

from __future__ import annotations

import base64
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import requests
import requests.adapters

from scripts.config import settings, variable
from scripts.contracts.connection import ApiKeyAuth, BasicAuth, BearerAuth
from scripts.contracts.safety import address_problems
from scripts.errors import SettingsError
from scripts.redaction import register_secret

if TYPE_CHECKING:
    from types import TracebackType

    from scripts.contracts.source import Source

_USER_AGENT = "data-pipeline"


class Client:
    """Requests to one source; may be shared by threads."""

    def __init__(self, source: Source) -> None:
        """Prepare a session.

        Raises:
            SettingsError: An environment variable that the contract's `auth` names is not set.
        """
        self.base_url = _base_url(source)
        self.session = requests.Session()
        size = settings().api_concurrency
        self.session.mount("http://", requests.adapters.HTTPAdapter(pool_connections=2, pool_maxsize=size))
        self.session.mount("https://", requests.adapters.HTTPAdapter(pool_connections=2, pool_maxsize=size))
        self.session.headers.update({"Accept": "application/json", "User-Agent": _USER_AGENT})
        self._query: dict[str, str] = {}
        self._authorize(source)
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

    def get(self, url: str, **arguments: Any) -> requests.Response:  # noqa: ANN401 — the arguments of requests
        """Send one request when the rate limit allows it."""
        if self._interval:
            with self._lock:
                start = max(self._next_start, time.monotonic())
                self._next_start = start + self._interval
            time.sleep(max(0.0, start - time.monotonic()))
        params = {**(arguments.pop("params", None) or {}), **self._query}
        return self.session.get(url, params=params, **arguments)

    def _authorize(self, source: Source) -> None:
        auth = source.auth
        if isinstance(auth, BearerAuth):
            self.session.headers["Authorization"] = f"Bearer {_secret(auth.token_env, source)}"
        elif isinstance(auth, BasicAuth):
            pair = f"{_secret(auth.username_env, source)}:{_secret(auth.password_env, source)}"
            encoded = base64.b64encode(pair.encode()).decode()
            register_secret(encoded)
            self.session.headers["Authorization"] = f"Basic {encoded}"
        elif isinstance(auth, ApiKeyAuth):
            value = _secret(auth.value_env, source)
            if auth.header:
                self.session.headers[auth.header] = value
            else:
                self._query[auth.query or ""] = value


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


def _secret(name: str, source: Source) -> str:
    value = variable(name)
    if not value:
        raise SettingsError(
            f"{name} is not set", where=f"source {source.source}", hint=f"set {name} in the environment or in .env"
        )
    register_secret(value)
    return value
