"""Security checks of contracts: a contract decides what is loaded, but not where secrets are sent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scripts.config import Settings, settings
from scripts.security.addresses import is_link_local, keeps_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scripts.contracts.source import Source

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"})
_OWN_PREFIXES = ("AIRFLOW_", "PREFECT_", "N8N_", "POSTGRES_", "GRAFANA_", "BACKFILL_WEBHOOK_", "DBT_", "DUCKDB_", "PG")


def problems(source: Source) -> Iterator[str]:
    """Yield a message for each key of a contract that is not allowed."""
    secrets = list(_secrets(source))
    for key, variable in secrets:
        if not _may_name(source.source, variable):
            yield (
                f"auth.{key}: `{variable}` is not a secret of this source: call it `{source.source.upper()}_…`,"
                " or name it in the setting SOURCE_SECRETS"
            )
    if source.base_url_env and not source.base_url_env.endswith("_URL"):
        yield f"base_url_env: `{source.base_url_env}` does not end in `_URL`, as a variable with a URL must"
    yield from address_problems(str(source.base_url), has_secrets=bool(secrets))
    yield from _header_problems(source.headers)
    for resource in source.resources.values():
        if resource.base_url is not None:
            yield from address_problems(str(resource.base_url), has_secrets=bool(secrets))
        yield from _header_problems(resource.headers)
    if (header := getattr(source.auth, "header", None)) and (
        not _HEADER_NAME.fullmatch(header) or header.lower() in _OWN_HEADERS
    ):
        yield f"auth.header: {header!r} is not the name of a header for a key"


def address_problems(url: str, *, has_secrets: bool) -> Iterator[str]:
    """Yield the reasons why the pipeline must not send requests to a URL."""
    if is_link_local(urlsplit(url).hostname or ""):
        yield f"base_url: {url} is a link-local address, where cloud providers serve a machine's credentials"
    if set(url) & set("?#{}") or "%7b" in url.lower():
        yield f"base_url: {url} holds more than an address: move the rest into `path` and `params`"
    if has_secrets and not keeps_secrets(url):
        yield f"base_url: {url} would get a secret in plain text; `auth` needs https (or this machine)"


def _may_name(source: str, variable: str) -> bool:
    if variable in settings().source_secrets:
        return True
    own = variable.lower() in Settings.model_fields or variable.startswith(_OWN_PREFIXES)
    return variable.startswith(f"{source.upper()}_") and not own


def _header_problems(headers: Mapping[str, str]) -> Iterator[str]:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            yield f"headers: {name!r} is not the name of a header"
        elif name.lower() in _SECRET_HEADERS:
            yield f"headers: `{name}` carries a secret: name its environment variable in `auth`"
        elif name.lower() in _OWN_HEADERS:
            yield f"headers: `{name}` is set by the client"
        elif not _HEADER_VALUE.fullmatch(value):
            yield f"headers: the value of `{name}` holds characters that are not valid in a header"


def _secrets(source: Source) -> Iterator[tuple[str, str]]:
    """Yield the variables that the authentication of a source and its resources names, each with its key."""
    auths = [source.auth, *(resource.auth for resource in source.resources.values() if resource.auth is not None)]
    for auth in auths:
        keys = auth.model_dump()
        yield from ((name, str(value)) for name, value in keys.items() if name.endswith("_env") and value is not None)
        if auth.type == "headers":
            yield from ((f"headers.{name}", variable) for name, variable in auth.headers.items())
        if auth.type == "hook":
            yield from (("secrets", variable) for variable in auth.secrets)
