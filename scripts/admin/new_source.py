"""A new source: discovers it and writes its files as a person would write them; never overwrites a file."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from pydantic import ValidationError

from scripts.config import PROJECT_DIR
from scripts.contracts import catalog
from scripts.contracts.model_files import model_files
from scripts.contracts.silver_columns import singular
from scripts.contracts.source import Source
from scripts.discovery.contract_text import contract_text
from scripts.discovery.discover import discover
from scripts.errors import ContractError, SourceRejectedError, UsageError
from scripts.extract.client import Client
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from scripts.discovery.findings import Discovered

_AUTHS = {
    "bearer": ("token_env",),
    "basic": ("username_env", "password_env"),
    "header": ("header", "value_env"),
    "query": ("query", "value_env"),
}
_RATE = 5
_LONGEST_NAME = 60
_log = get_logger("sources")


class Address(NamedTuple):
    """An address, split into the keys of a contract."""

    base_url: str
    path: str
    params: dict[str, str]

    @property
    def url(self) -> str:
        """The address without its parameters."""
        return self.base_url + self.path


def parse_address(url: str) -> Address:
    """Return the parts of an address.

    Raises:
        UsageError: It is not an HTTP address, or it holds a password.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"`{url}` is not an address", expected="https://HOST/PATH")
    if parts.username or parts.password:
        raise UsageError("the address holds a password", expected="`--auth` with names of environment variables")
    base = f"{parts.scheme}://{parts.netloc}"
    return Address(base, parts.path or "/", dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True)))


def parse_auth(text: str | None) -> dict[str, Any]:
    """Return the contract's `auth` from `bearer:NAME`, `basic:USER,PASSWORD`, `header:X-Key=NAME` or `query:key=NAME`.

    Raises:
        UsageError: The text has none of these forms.
    """
    if text is None:
        return {"type": "none"}
    kind, _, rest = text.partition(":")
    values = rest.replace("=", ",").split(",")
    if kind not in _AUTHS or len(values) != len(_AUTHS[kind]) or not all(values):
        raise UsageError(
            f"--auth `{text}` is not understood",
            expected="bearer:TOKEN_NAME, basic:USER_NAME,PASSWORD_NAME, header:X-Key=NAME or query:key=NAME"
            " (names of environment variables)",
        )
    keys = dict(zip(_AUTHS[kind], values, strict=True))
    return {"type": "api_key" if kind in {"header", "query"} else kind, **keys}


def resource_name(path: str) -> str:
    """Return the name of a resource: the last part of its path."""
    words = [word for word in urllib.parse.unquote(path).split("/") if word]
    last = words[-1].partition(".")[0] if words else "rows"
    name = "".join(letter.lower() if letter.isascii() and letter.isalnum() else "_" for letter in last).strip("_")
    return (name if name and name[0].isalpha() else f"r_{name}" if name else "rows")[:_LONGEST_NAME]


def discover_source(
    name: str, addresses: Sequence[Address], auth: dict[str, Any], owner: str
) -> tuple[str, list[Discovered]]:
    """Return the text of a contract for one host, and the findings about each resource.

    Raises:
        SourceRejectedError, SourceUnavailableError: The API does not answer with rows.
        SettingsError: A variable of `auth` is not set.
        ContractError: The findings do not make a valid contract.
    """
    head: dict[str, Any] = {
        "source": name,
        "description": f"Data of {urllib.parse.urlsplit(addresses[0].base_url).hostname}.",
        "owner": owner,
        "base_url": addresses[0].base_url,
        "base_url_env": f"{name.upper()}_BASE_URL",
        **({"auth": auth} if auth["type"] != "none" else {}),
        "rate_limit": {"requests_per_second": _RATE},
    }
    column = {"name": "x", "type": "string", "description": "x"}
    blank = {"description": "x", "path": "/", "primary_key": ["x"], "columns": [column]}
    asking = _validated(name, {**head, "default_resource": "x", "resources": {"x": blank}})
    found = discover_all(asking, addresses)
    text = contract_text(head, found)
    _validated(name, yaml.safe_load(text))
    return text, found


def discover_all(source: Source, addresses: Sequence[Address]) -> list[Discovered]:
    """Return the findings about each address of a source, without addresses that do not answer with rows.

    Raises:
        SourceRejectedError, SourceUnavailableError: No address answers with rows.
        UsageError: An address does not belong to the source.
    """
    found: list[Discovered] = []
    refused: SourceRejectedError | None = None
    with Client(source) as client:
        for address in addresses:
            if not address.url.startswith(f"{client.base_url}/"):
                raise UsageError(
                    f"{address.url} does not start with {client.base_url}",
                    where=f"source {source.source}",
                    expected="an address of the same API, or another name for the source",
                )
            path = address.url.removeprefix(client.base_url)
            known = next((name for name, resource in source.resources.items() if resource.path == path), None)
            name = known or _free_name(path, {other.name for other in found})
            try:
                found.append(discover(client, name, path, address.params))
            except SourceRejectedError as error:
                _log.warning("skipped: %s", error)
                refused = refused or error
    if refused is not None and not found:
        raise refused
    _rename_children(found)
    return found


def _free_name(path: str, taken: set[str]) -> str:
    """Return a name that no other resource has: the last part of the path, with earlier parts if they are needed."""
    name = resource_name(path)
    for part in reversed([part for part in path.split("/") if part][:-1]):
        if name not in taken:
            break
        name = f"{resource_name(part)}_{name}"[:_LONGEST_NAME]
    return name


def _rename_children(found: Sequence[Discovered]) -> None:
    """Add the name of the parent to the name of a nested list if another resource has the same name."""
    taken = {discovered.name for discovered in found}
    for discovered in found:
        children = discovered.keys.get("children", {})
        renamed = {}
        for name, child in children.items():
            free = name if name not in taken else f"{singular(discovered.name)}_{name}"[:_LONGEST_NAME]
            taken.add(free)
            renamed[free] = child
        if renamed:
            discovered.keys["children"] = renamed


def _validated(name: str, document: dict[str, Any]) -> Source:
    try:
        return Source.model_validate(document)
    except ValidationError as error:
        problems = "; ".join(problem["msg"].removeprefix("Value error, ") for problem in error.errors())
        raise ContractError(f"the contract is not valid: {problems}", where=name) from None


def write_source(name: str, text: str) -> list[Path]:
    """Write the contract of a new source, its models and the lines of its variables; return the files.

    Raises:
        UsageError: The source already exists.
    """
    path = catalog.SOURCES_DIR / f"{name}.yml"
    if path.exists():
        raise UsageError(f"{path} already exists")
    path.write_text(text, encoding="utf-8")
    catalog.forget()
    source = catalog.read(path)
    return [path, *write_models(source, source.resources), *_write_variables(source)]


def write_models(source: Source, resources: Iterable[str]) -> list[Path]:
    """Write the staging models and first marts of some resources; keep existing files, and return the new ones."""
    written = []
    for path, text in model_files(source, resources).items():
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def _write_variables(source: Source) -> list[Path]:
    """Add the variables of a source that `.env.example` lacks."""
    path = PROJECT_DIR / ".env.example"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    names = [value for key, value in source.auth.model_dump().items() if key.endswith("_env") and value]
    new = [name for name in names if f"{name}=" not in text]
    if not new:
        return []
    lines = "".join(f"{name}=\n" for name in new)
    path.write_text(f"{text.rstrip(chr(10))}\n# Source {source.source}; a secret\n{lines}", encoding="utf-8")
    return [path]
