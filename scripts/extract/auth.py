"""Authentication: adds the secrets that a contract names to each request."""

from __future__ import annotations

import base64
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

import oauthlib.oauth2
import requests
import requests.auth
from typing_extensions import override

from scripts.config import settings, variable
from scripts.contracts.connection import (
    ApiKeyAuth,
    BasicAuth,
    BearerAuth,
    HeadersAuth,
    HookAuth,
    OAuth2Auth,
)
from scripts.errors import SettingsError, SourceRejectedError, SourceUnavailableError
from scripts.extract.functions import load_function
from scripts.extract.transport import new_session
from scripts.security.redaction import register_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scripts.contracts.connection import Auth

_LIFE = 3600.0
"""Lifetime in seconds of a token without `expires_in`."""
_EARLY = 30.0
"""Seconds before its expiry at which a token is replaced."""


def authorization(auth: Auth, source: str) -> requests.auth.AuthBase:
    """Return the authentication for the requests of a source.

    Raises:
        SettingsError: An environment variable that the contract names is not set.
        ContractError: The file or function of a hook does not exist.
    """
    if isinstance(auth, OAuth2Auth):
        return _OAuth2(auth, source)
    if isinstance(auth, HookAuth):
        secrets = {name: _secret(name, source) for name in auth.secrets}
        return _Hook(load_function(auth.function), secrets)
    if isinstance(auth, ApiKeyAuth) and auth.query:
        return _Query(auth.query, _secret(auth.value_env, source))
    return _Headers(_secret_headers(auth, source))


def _secret_headers(auth: Auth, source: str) -> dict[str, str]:
    if isinstance(auth, BearerAuth):
        return {"Authorization": f"Bearer {_secret(auth.token_env, source)}"}
    if isinstance(auth, BasicAuth):
        pair = f"{_secret(auth.username_env, source)}:{_secret(auth.password_env, source)}"
        encoded = base64.b64encode(pair.encode()).decode()
        register_secret(encoded)
        return {"Authorization": f"Basic {encoded}"}
    if isinstance(auth, ApiKeyAuth):
        return {auth.header or "": _secret(auth.value_env, source)}
    if isinstance(auth, HeadersAuth):
        return {name: _secret(env, source) for name, env in auth.headers.items()}
    return {}


class _Headers(requests.auth.AuthBase):
    """Adds headers to every request. As the session's `auth`, they cannot be replaced by a `.netrc`."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    @override
    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        r.headers.update(self._headers)
        return r


class _Query(requests.auth.AuthBase):
    """Adds a query parameter to every request, unless the URL, which may come from the source, already contains it."""

    def __init__(self, name: str, value: str) -> None:
        self._name, self._value = name, value

    @override
    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        url = urllib.parse.urlsplit(r.url or "")
        if self._name not in dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True)):
            r.prepare_url(r.url, {self._name: self._value})
        return r


class _Hook(requests.auth.AuthBase):
    """Calls a function of the repository, which changes the prepared request."""

    def __init__(self, function: Callable[..., Any], secrets: Mapping[str, str]) -> None:
        self._function, self._secrets = function, secrets

    @override
    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        changed = self._function(r, self._secrets)
        return changed if isinstance(changed, requests.PreparedRequest) else r


class _OAuth2(requests.auth.AuthBase):
    """Adds a token, which is fetched when it is first needed, before it expires, and once more when it is refused."""

    def __init__(self, auth: OAuth2Auth, source: str) -> None:
        self._auth, self._source = auth, source
        self._client_id = _secret(auth.client_id_env, source)
        self._client_secret = _secret(auth.client_secret_env, source) if auth.client_secret_env else ""
        self._refresh_token = _secret(auth.refresh_token_env, source) if auth.refresh_token_env else ""
        # there is none before the first request
        self._token = ""  # nosec B105
        self._ends = 0.0
        self._lock = threading.Lock()

    @override
    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        token = self._current("")
        r.headers["Authorization"] = f"Bearer {token}"
        r.hooks["response"].append(lambda response, **arguments: self._renew(response, token, arguments))
        return r

    def _renew(self, response: requests.Response, used: str, arguments: Mapping[str, Any]) -> requests.Response:
        """Send a refused request once more, with a new token."""
        if response.status_code != requests.codes.unauthorized:
            return response
        token = self._current(used)
        _ = response.content
        response.close()
        again = response.request.copy()
        again.headers["Authorization"] = f"Bearer {token}"
        again.hooks = {"response": []}
        sent = response.connection.send(again, **arguments)
        sent.history.append(response)
        sent.request = again
        return sent

    def _current(self, refused: str) -> str:
        """Return a valid token that is not `refused`."""
        with self._lock:
            if not self._token or self._token == refused or time.monotonic() > self._ends:
                self._fetch()
            return self._token

    def _fetch(self) -> None:
        token = self._asked()
        self._token = str(token["access_token"])
        self._refresh_token = str(token.get("refresh_token") or self._refresh_token)
        for secret in (self._token, self._refresh_token):
            if secret:
                register_secret(secret)
        self._ends = time.monotonic() + float(token.get("expires_in") or _LIFE) - _EARLY

    def _asked(self) -> Mapping[str, Any]:
        auth, url = self._auth, str(self._auth.token_url)
        in_body = auth.send_client_in == "body"
        fields: dict[str, Any] = {**auth.extra, "include_client_id": in_body}
        if in_body and self._client_secret:
            fields["client_secret"] = self._client_secret
        client = oauthlib.oauth2.BackendApplicationClient(self._client_id, scope=auth.scope)
        if auth.grant == "client_credentials":
            body = client.prepare_request_body(**fields)
        else:
            body = client.prepare_refresh_body(refresh_token=self._refresh_token, scope=auth.scope, **fields)
        try:
            with new_session() as session:
                response = session.post(
                    url,
                    data=body,
                    headers={"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"},
                    auth=_Headers({}) if in_body else requests.auth.HTTPBasicAuth(self._client_id, self._client_secret),
                    timeout=settings().api_timeout,
                    allow_redirects=False,
                )
            if response.status_code >= requests.codes.server_error:
                raise SourceUnavailableError(f"no token: HTTP {response.status_code}", where=url)
            return dict(client.parse_request_body_response(response.text))
        except oauthlib.oauth2.OAuth2Error as error:
            raise SourceRejectedError(
                f"no token: HTTP {response.status_code}, {error.error} {error.description or ''}".strip(),
                where=url,
                hint="check the variables, the `scope` and `send_client_in` in the contract's `auth`",
            ) from None
        except requests.RequestException as error:
            raise SourceUnavailableError(f"no token: {type(error).__name__}", where=url) from None


def _secret(name: str, source: str) -> str:
    value = variable(name)
    if not value:
        raise SettingsError(
            f"{name} is not set", where=f"source {source}", hint=f"set {name} in the environment or in .env"
        )
    register_secret(value)
    return value
