"""Requests to a source, built from its contract for one window and one set of variables."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from scripts.contracts.json_path import steps_of
from scripts.contracts.load import WatermarkLoad
from scripts.contracts.templates import SINCE, fill
from scripts.extract.windows import Window, span_of_days, watermark, window_params

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.contracts.pagination import Place
    from scripts.contracts.source import Resource, Source


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One complete request, except for authentication.

    Attributes:
        url: Its address, without `params`.
        params: Query parameters, as in the contract; `query` returns them as text.
        headers: Headers.
        method: GET or POST.
        body: JSON value to send; None for no body.
        form: Fields of a form to send; None for no form.
    """

    url: str
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    method: str = "GET"
    body: Any = None
    form: Mapping[str, Any] | None = None

    @property
    def query(self) -> dict[str, str | list[str]]:
        """The query parameters as they are sent."""
        return as_query(self.params)

    @property
    def content(self) -> dict[str, Any]:
        """The arguments of `requests` that send the body."""
        if self.form is not None:
            return {"data": as_query(self.form)}
        if self.body is None:
            return {}
        return {"data": msgspec.json.encode(self.body), "headers": {"Content-Type": "application/json"}}

    def placing(self, place: Place, values: Mapping[str, Any]) -> Request:
        """Return the request with values in its query, headers, body (dots lead to a nested key) or templates."""
        if not values:
            return self
        if place == "query":
            return dataclasses.replace(self, params={**self.params, **values})
        if place == "template":
            texts = {name: as_text(value) for name, value in values.items()}
            parts = {key: fill(getattr(self, key), texts) for key in ("params", "headers", "body", "form")}
            return dataclasses.replace(self, url=fill(self.url, texts, quote=True), **parts)
        if place == "header":
            texts = {name: as_text(value) for name, value in values.items()}
            return dataclasses.replace(self, headers={**self.headers, **texts})
        if self.form is not None:
            return dataclasses.replace(self, form={**self.form, **values})
        body = copy.deepcopy(self.body)
        for path, value in values.items():
            _set_at(body, steps_of(path), value)
        return dataclasses.replace(self, body=body)


def build_request(
    source: Source,
    resource: Resource,
    base_url: str,
    day: dt.date,
    window: Window,
    variables: Mapping[str, object],
    since: dt.datetime | None = None,
) -> Request:
    """Return the first request of a window with its templates filled, but without the parameters of paging."""
    whole = span_of_days(day, day, source.time_zone)
    values: dict[str, object] = {"day": whole.start, "next_day": whole.end, "start": window.start, "end": window.end}
    values |= variables
    if isinstance(resource.load, WatermarkLoad):
        values[SINCE] = watermark(resource.load, since) or dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    params = {name: value for name, value in fill(resource.params, values).items() if value is not None}
    return Request(
        url=base_url + fill(resource.path or "", values, quote=True),
        params={**params, **window_params(resource, window, since)},
        headers={**fill(source.headers, values), **fill(resource.headers, values)},
        method=resource.method,
        body=fill(resource.body, values),
        form=fill(resource.form, values),
    )


def as_text(value: object) -> str:
    """Return a value as in JSON, but text without quotation marks."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def as_query(values: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """Return query parameters or fields of a form as text; a list gives a repeated parameter."""
    return {
        name: [as_text(item) for item in value] if isinstance(value, (list, tuple)) else as_text(value)
        for name, value in values.items()
    }


def _set_at(body: Any, steps: tuple[str | int, ...], value: object) -> None:  # noqa: ANN401 — any JSON
    *parents, last = steps
    for step in parents:
        body = body.setdefault(step, {}) if isinstance(body, dict) else body[step]
    body[last] = value
