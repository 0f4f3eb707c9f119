"""A receiver of OpenLineage events, and a check of each event against the standard's own classes."""

from __future__ import annotations

import http.server
import json
import sys
import threading
import types
import typing
from typing import TYPE_CHECKING, Any

import attr
from openlineage.client import event_v2

from .threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_OTHER_KEYS = {"DatasetVersionDatasetFacet": "version", "ProcessingEngineRunFacet": "processing_engine"}


class Receiver(http.server.ThreadingHTTPServer):
    """The server; `events` are those that arrived, in their order."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.status = 201
        self.answering = threading.Event()
        self.answering.set()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def of(self, job: str, state: str = "COMPLETE") -> list[dict[str, Any]]:
        """Return the events of a job in a state."""
        return [event for event in self.events if (event["job"]["name"], event["eventType"]) == (job, state)]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.answering.wait()
        self.server.keys.append(self.headers["Authorization"])
        if self.server.status < 400 and self.path == "/api/v1/lineage":
            self.server.events.append(json.loads(body))
        self.send_response(self.server.status if self.path == "/api/v1/lineage" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def receiving() -> AbstractContextManager[Receiver]:
    """Serve for a block."""
    return in_thread(Receiver())


def problems(event: dict[str, Any]) -> list[str]:
    """Return in what an event differs from the classes that the standard's project makes from its JSON schemas.

    Every key has to be known, every value of its type, every facet at the key and with the schema of its class; the
    classes themselves check that ids are UUIDs and times are times.
    """
    return list(_of_object(event, event_v2.RunEvent, "event"))


def _of_object(value: Any, kind: type, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: {value!r} is no object"
        return
    fields = {field.name: field for field in attr.fields(kind)}
    if unknown := set(value) - set(fields):
        yield f"{where}: unknown {sorted(unknown)}"
    needed = {"producer", "schemaURL", "_producer", "_schemaURL"}
    needed = {name for name, field in fields.items() if field.default is attr.NOTHING or name in needed}
    yield from (f"{where}: no {name}" for name in sorted(needed - set(value)))
    hints = _hints(kind)
    for name in set(value) & set(fields):
        check = _of_facets if "acets" in name else _of_value
        yield from check(value[name], hints[name], f"{where}.{name}")
        yield from _refused(fields[name], value[name], f"{where}.{name}")
    for name in {"schemaURL", "_schemaURL"} & set(fields):
        if value.get(name) != kind._get_schema():  # type: ignore[attr-defined]
            yield f"{where}: {name} is {value.get(name)}"


def _refused(field: Any, value: Any, where: str) -> Iterator[str]:
    """Yield what the standard's own class refuses, such as an id that is no UUID."""
    if field.validator is not None and isinstance(value, str):
        try:
            field.validator(None, field.name, value)
        except ValueError as error:
            yield f"{where}: {error}"


def _of_facets(value: dict[str, Any], hint: Any, where: str) -> Iterator[str]:
    (named,) = [base for part in typing.get_args(hint) for base in typing.get_args(part) if base is not str] or [None]
    for key, facet in value.items():
        found = [kind for kind in _classes(named) if kind._get_schema() == facet.get("_schemaURL")]
        if not found:
            yield f"{where}.{key}: no {named.__name__} has the schema {facet.get('_schemaURL')}"
            continue
        if key != _key(found[0], named):
            yield f"{where}.{key}: the key of {found[0].__name__} is {_key(found[0], named)}"
        yield from _of_object(facet, found[0], f"{where}.{key}")


def _of_value(value: Any, hint: Any, where: str) -> Iterator[str]:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        tried = [list(_of_value(value, part, where)) for part in parts if part is not type(None)]
        yield from min(tried, key=len)
    elif origin in {list, dict}:
        if not isinstance(value, origin):
            yield f"{where}: {value!r} is no {origin.__name__}"
            return
        for key, item in value.items() if origin is dict else enumerate(value):
            yield from _of_value(item, parts[-1], f"{where}.{key}")
    elif attr.has(hint):
        yield from _of_object(value, hint, where)
    elif hint is event_v2.RunState:
        yield from [] if value in event_v2.RunState.__members__ else [f"{where}: {value!r} is no state"]
    elif hint is not Any and not isinstance(value, (int, float) if hint is float else hint):
        yield f"{where}: {value!r} is no {hint.__name__}"


def _hints(kind: type) -> dict[str, Any]:
    names: dict[str, Any] = {"ClassVar": typing.ClassVar, "Any": Any}
    for base in reversed(kind.__mro__):
        names |= vars(sys.modules[base.__module__])
    return typing.get_type_hints(kind, names)


def _classes(base: Any) -> Iterator[Any]:
    for kind in base.__subclasses__():
        yield kind
        yield from _classes(kind)


def _key(kind: type, base: type) -> str:
    if kind.__name__ in _OTHER_KEYS:
        return _OTHER_KEYS[kind.__name__]
    suffixes = (base.__name__, "DatasetFacet", "Facet")
    name = next(kind.__name__.removesuffix(suffix) for suffix in suffixes if kind.__name__.endswith(suffix))
    return name[0].lower() + name[1:]
