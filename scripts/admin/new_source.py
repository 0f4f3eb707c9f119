"""A new source: discovers it and writes its files as a person would write them; never overwrites a file."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from pydantic import ValidationError

from scripts.config import PROJECT_DIR
from scripts.contracts import catalog
from scripts.contracts.source import Source
from scripts.contracts.staging_model import staging_files
from scripts.discovery.contract_text import column_line, contract_text
from scripts.discovery.discover import discover
from scripts.errors import ContractError, UsageError
from scripts.extract.client import Client

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scripts.discovery.findings import Discovered

_AUTHS = {
    "bearer": ("token_env",),
    "basic": ("username_env", "password_env"),
    "header": ("header", "value_env"),
    "query": ("query", "value_env"),
}
_RATE = 5


class Address(NamedTuple):
    """An address, split into the keys of a contract."""

    base_url: str
    path: str
    params: dict[str, str]


class Change(NamedTuple):
    """A column that the API returns and the contract lacks."""

    resource: str
    column: dict[str, Any]


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
    return name if name and name[0].isalpha() else f"r_{name}" if name else "rows"


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
    column = {"name": "x", "type": "json", "description": "x"}
    blank = {"description": "x", "path": "/", "primary_key": ["x"], "columns": [{**column, "type": "string"}]}
    asking = _validated(name, {**head, "default_resource": "x", "resources": {"x": blank}})
    with Client(asking) as client:
        found = [discover(client, resource_name(address.path), address.path, address.params) for address in addresses]
    text = contract_text(head, found)
    _validated(name, yaml.safe_load(text))
    return text, found


def _validated(name: str, document: dict[str, Any]) -> Source:
    try:
        return Source.model_validate(document)
    except ValidationError as error:
        problems = "; ".join(problem["msg"].removeprefix("Value error, ") for problem in error.errors())
        raise ContractError(f"the contract is not valid: {problems}", where=name) from None


def write_source(name: str, text: str) -> list[Path]:
    """Write the contract of a new source, its staging models and the lines of its variables; return the files.

    Raises:
        UsageError: The source already exists.
    """
    path = catalog.SOURCES_DIR / f"{name}.yml"
    if path.exists():
        raise UsageError(f"{path} already exists")
    path.write_text(text, encoding="utf-8")
    source = catalog.read(path)
    catalog.forget()
    written = [path]
    for model, content in staging_files(source, every=True).items():
        if not model.exists():
            model.parent.mkdir(parents=True, exist_ok=True)
            model.write_text(content, encoding="utf-8")
            written.append(model)
    return [*written, *_write_variables(source)]


def find_changes(source: Source, found: Sequence[Discovered]) -> list[Change]:
    """Return the columns that the API returns now and the contract lacks."""
    changes = []
    for discovered in found:
        resource = source.resources.get(discovered.name)
        if resource is None:
            continue
        known = {column.key for column in resource.columns} | {column.name for column in resource.columns}
        changes += [
            Change(discovered.name, column)
            for column in discovered.keys["columns"]
            if column["name"] not in known and column.get("field", column["name"]) not in known
        ]
    return changes


def add_columns(path: Path, changes: Sequence[Change]) -> None:
    """Add columns below the existing ones in a contract, and leave the rest of the file unchanged."""
    text = path.read_text(encoding="utf-8")
    for change in changes:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        columns = _node(_node(_node(root, "resources"), change.resource), "columns")
        last = columns.value[-1]
        lines = text.splitlines(keepends=True)
        indent = " " * (last.start_mark.column - 2)
        place = last.end_mark.line + (last.end_mark.column > 0)
        lines.insert(place, f"{indent}{column_line({**change.column, 'nullable': True})}\n")
        text = "".join(lines)
    path.write_text(text, encoding="utf-8")
    catalog.forget()


def _node(parent: Any, key: str) -> Any:  # noqa: ANN401 — a node of YAML
    return next(value for name, value in parent.value if name.value == key)


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
