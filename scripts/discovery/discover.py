"""Discovery of a resource by a few requests."""

from __future__ import annotations

import re
import urllib.parse
from typing import TYPE_CHECKING, Any

import msgspec

from scripts.contracts.source import Resource
from scripts.discovery.columns import guess_columns, guess_key
from scripts.discovery.findings import Discovered, Finding
from scripts.discovery.paging import Asked, find_paging
from scripts.discovery.shapes import guess_shape
from scripts.errors import SourceRejectedError
from scripts.extract import retries
from scripts.extract.formats import open_body, xml_document
from scripts.extract.json_text import MISREAD
from scripts.extract.records import find_records, split
from scripts.extract.request import as_query
from scripts.extract.transport import without_query

if TYPE_CHECKING:
    import requests

    from scripts.extract.client import Client

_TEXT = ("csv", "tsv", "xml")
_FEW = 20
_PLACEHOLDER: dict[str, Any] = {
    "description": "x",
    "path": "/",
    "primary_key": ["x"],
    "columns": [{"name": "x", "type": "string", "description": "x"}],
}


def discover(client: Client, name: str, path: str, params: dict[str, str]) -> Discovered:
    """Return a resource with the contract keys that its answers suggest.

    Raises:
        SourceRejectedError: The source answers with an error, or with nothing that could be rows.
        SourceUnavailableError: The source does not answer.
    """
    url = client.base_url + path
    response = _get(client, url, params)
    shape = guess_shape(response.content, response.headers.get("Content-Type") or "")
    if shape is None:
        raise SourceRejectedError(
            "the answer holds nothing that could be rows", where=url, expected="JSON, CSV, XML or lines of JSON"
        )
    reading = Resource.model_validate({**_PLACEHOLDER, "response": shape.response, "no_rows": {"missing_list": True}})
    if shape.names:
        column = reading.columns[0].model_copy(update={"name": shape.names[0], "field": None})
        reading = reading.model_copy(update={"columns": (column,)})
    first = _asked(response, reading)

    def ask(address: str | None, **more: Any) -> Asked:  # noqa: ANN401 — parameters
        if address is not None:
            return _asked(_get(client, urllib.parse.urljoin(url, address), {}), reading)
        return _asked(_get(client, url, {**params, **as_query(more)}, is_guess=True), reading)

    paging = find_paging(first, ask)
    rows = _sample(first, paging.pagination, ask)
    found = Discovered(name, {}, [Finding("records", "likely", shape.why), *paging.findings], paging.choices, rows)
    is_text = shape.response.get("format") in _TEXT
    columns = guess_columns(rows, is_text=is_text)
    if not columns:
        raise SourceRejectedError(
            "the answer holds no row, so its columns cannot be guessed",
            where=url,
            hint="use a URL that returns rows, for example of another day",
        )
    key, is_unique = guess_key(rows, columns)
    state = f"{', '.join(key)} tell{'s' if len(key) == 1 else ''} {len(rows)} rows apart"
    if not is_unique:
        state = (
            f"no column or pair of columns tells {len(rows)} rows apart: choose the key; {', '.join(key)} is a guess"
        )
    found.findings.append(Finding("key", "likely" if is_unique and len(rows) > 1 else "unknown", state))
    found.keys = {
        "description": f"Rows of {path}.",
        "path": path,
        **({"params": params} if params else {}),
        **({"response": shape.response} if shape.response != {"shape": "array"} else {}),
        **({"no_rows": {"missing_list": True}} if is_text and shape.response.get("format") == "xml" else {}),
        **({"pagination": paging.pagination} if paging.pagination else {}),
        **({"total": paging.total} if paging.total else {}),
        "primary_key": key,
        "columns": [_described(column, rows, is_key=column["name"] in key, is_unique=is_unique) for column in columns],
        **_children(rows, key, columns),
    }
    return found


def _described(column: dict[str, Any], rows: list[dict[str, Any]], *, is_key: bool, is_unique: bool) -> dict[str, Any]:
    field = str(column.get("field", column["name"]))
    missing = sum(row.get(field) is None for row in rows) if not field.startswith("$") else 0
    seen = "Identifies the row" if is_key and is_unique else f"`{field}` as the source has it"
    note = f", missing or null in {missing} of {len(rows)} rows" if missing and not is_key else ""
    fields = {key: column[key] for key in ("field", "type", "format") if key in column}
    return {
        "name": column["name"],
        **fields,
        **({"nullable": False} if is_key else {}),
        "description": f"{seen}{note}.",
    }


def _children(rows: list[dict[str, Any]], key: list[str], columns: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the lists of objects within rows that can be separate resources."""
    found: dict[str, Any] = {}
    fields = {column["name"]: column.get("field", column["name"]) for column in columns}
    types = {column["name"]: column for column in columns}
    if any(str(fields[name]).startswith("$") for name in key):
        return {}
    for column in columns:
        field = fields[column["name"]]
        lists = [row[field] for row in rows if isinstance(row.get(field), list)]
        inner = [item for items in lists for item in items]
        if column["type"] != "json" or not inner or not all(isinstance(item, dict) for item in inner):
            continue
        own = guess_columns(inner)
        carry = {_carried(name, {column["name"] for column in own}): fields[name] for name in key}
        marked = [
            {**{f"\0{number}": row[fields[name]] for number, name in enumerate(key)}, **item}
            for row in rows
            if isinstance(row.get(field), list)
            for item in row[field]
        ]
        child_key, is_unique = _child_key(marked, own, len(key))
        if not is_unique:
            continue
        parent = [
            {"name": name, **{k: types[origin][k] for k in ("type", "format") if k in types[origin]}, "nullable": False,
             "description": "The row that holds it."}
            for name, origin in zip(carry, key, strict=True)
        ]  # fmt: skip
        keys = [*carry, *child_key]
        described = [_described(child, inner, is_key=child["name"] in keys, is_unique=True) for child in own]
        found[_snake(column["name"])] = {
            "description": f"Items of `{field}` within each row.",
            "path": field if re.fullmatch(r"\w+", field) else f"$['{field}']",
            "carry": carry,
            "primary_key": keys,
            "columns": [*parent, *described],
        }
    return {"children": found} if found else {}


def _child_key(rows: list[dict[str, Any]], columns: list[dict[str, Any]], parents: int) -> tuple[list[str], bool]:
    for column in sorted(columns, key=lambda item: not re.search(r"id$|sku|code|key", item["name"].lower())):
        if column["type"] not in {"string", "integer"}:
            continue
        field = column.get("field", column["name"])
        values = [(*(row[f"\0{number}"] for number in range(parents)), row.get(field)) for row in rows]
        if all(value[-1] is not None for value in values) and len(set(values)) == len(values):
            return [column["name"]], True
    return [], False


def _carried(name: str, taken: set[str]) -> str:
    return f"parent_{name}" if f"parent_{name}" not in taken else f"parent_row_{name}"


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_")[:60]


def _sample(first: Asked, pagination: dict[str, Any], ask: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    """Return rows of the first page, or of a larger page if the first page has few rows."""
    rows = first.records
    if pagination.get("type") in {"page", "offset"} and len(rows) < _FEW and (size := pagination.get("size_param")):
        rows = ask(None, **{size: 100}).records or rows
    return [row for row in rows if isinstance(row, dict)]


def _get(client: Client, url: str, params: dict[str, Any], *, is_guess: bool = False) -> requests.Response:
    attempts = retries.Retries()
    if is_guess:
        # a source may answer every unknown parameter with an error, so guesses are not retried
        attempts.stopped.set()
    return retries.fetch(client.get, url, lambda response: response, params=params, retries=attempts)


def _asked(response: requests.Response, reading: Resource) -> Asked:
    content_type = response.headers.get("Content-Type") or ""
    found = find_records(response.content, reading, content_type)
    body = next(open_body(response.content))
    document: Any = None
    try:
        records = [msgspec.json.decode(record) for record in split(found.records)]
        if found.document is not None and reading.response.format in {"json", "xml"}:
            document = msgspec.json.decode(xml_document(body) if reading.response.format == "xml" else found.document)
    except MISREAD as error:
        raise SourceRejectedError(f"the body is not JSON: {error}", where=without_query(response.url)) from None
    return Asked(response.headers, document, records)
