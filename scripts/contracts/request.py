"""Keys of a resource for its requests: parameters, headers, body, and the values that a request is repeated for."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AnyHttpUrl, Field, field_validator, model_validator

from scripts.contracts.connection import FUNCTION, Auth, RateLimit
from scripts.contracts.contract_model import ContractModel, Name
from scripts.contracts.json_path import JsonPath, OnePath

Variables = Annotated[dict[Name, str], Field(min_length=1)]
Parameter = str | int | float | bool | None | list[str | int | float | bool] | dict[str, Any]


class ForEach(ContractModel):
    """Repeats the requests of a resource for each row of a parent, or for each of some values."""

    resource: Name | None = None
    """The parent: another resource of the source."""
    take: dict[Name, OnePath] = Field(default_factory=dict)
    """Variables of templates, each with the field of the parent's row that contains its value."""
    values: dict[Name, Annotated[tuple[str | int | float, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """Variables of templates, each with its values; every combination is requested."""
    rows: tuple[Annotated[dict[Name, str | int | float], Field(min_length=1)], ...] = ()
    """Values of several variables that belong together, such as `{lat: 52.5, lon: 13.4}`; each row is requested."""
    carry: dict[str, Name] = Field(default_factory=dict)
    """Columns of each row that are taken from a variable."""
    on_error: Literal["fail", "skip"] = "fail"
    """What happens if some of the repeated requests fail. All others are sent first. With `fail`, the load then fails
    and names the failed ones; with `skip`, it continues without their rows and records them as drift."""

    @property
    def names(self) -> tuple[str, ...]:
        """The variables."""
        return (*self.take, *self.values, *(self.rows[0] if self.rows else ()))

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.resource is None) == (not self.values and not self.rows):
            message = "give `resource` with `take`, or `values`, or `rows`"
            raise ValueError(message)
        if any(set(row) != set(self.rows[0]) for row in self.rows) or len(set(self.names)) != len(self.names):
            message = "every row of `rows` has the same variables, and a variable is given once"
            raise ValueError(message)
        if (self.resource is None) != (not self.take):
            message = "`resource` and `take` go together: which fields of the parent's row fill the templates"
            raise ValueError(message)
        if unknown := sorted(set(self.carry.values()) - set(self.names)):
            message = f"carry names {', '.join(unknown)}, which is not a variable; valid are {', '.join(self.names)}"
            raise ValueError(message)
        return self


class Nested(ContractModel):
    """Rows in a list within each row of another resource."""

    path: JsonPath
    """Path from the parent's row to the list, or with `[*]` to each record."""
    carry: dict[str, OnePath] = Field(default_factory=dict)
    """Columns that are taken from the parent's row, each with its field there."""


class Singer(ContractModel):
    """A Singer tap that writes the rows."""

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    """The tap with its arguments; templates such as `{day}` are filled, and `{config}` is a file with `config`."""
    stream: Annotated[str, Field(min_length=1)]
    config: dict[str, Any] = Field(default_factory=dict)
    """The tap's settings. Templates are filled, and a value `env:NAME` is replaced by that environment variable."""


class RequestPart(ContractModel):
    """The keys of a resource that describe its requests."""

    path: Annotated[str, Field(pattern=r"^/")] | None = None
    """Path below `base_url`; templates such as `{day}` are filled and escaped."""
    method: Literal["GET", "POST"] = "GET"
    params: dict[str, Parameter] = Field(default_factory=dict)
    """Query parameters of every request, written as in JSON; templates such as `{day}` are filled."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers of every request, in addition to those of the source; no secrets."""
    body: dict[str, Any] | list[Any] | None = None
    """JSON body of every request; templates are filled."""
    form: dict[str, Parameter] | None = None
    """Form of every request; templates are filled."""
    base_url: AnyHttpUrl | None = None
    """Replaces the source's `base_url`."""
    auth: Auth | None = None
    """Replaces the source's `auth`."""
    rate_limit: RateLimit | None = None
    """Replaces the source's `rate_limit`."""
    concurrency: Annotated[int, Field(ge=1, le=64)] | None = None
    """The most requests at the same time, if fewer than `API_CONCURRENCY`."""
    for_each: ForEach | None = None
    nested: Nested | None = None
    python: Annotated[str, Field(pattern=FUNCTION)] | None = None
    """Instead of `path`: a generator of rows, `scripts/sources/shop.py:orders`, called with the day and a client."""
    singer: Singer | None = None
    """Instead of `path`: a Singer tap."""
    dlt: Annotated[str, Field(pattern=FUNCTION)] | None = None
    """Instead of `path`: a function that returns a dlt resource for the day."""

    @field_validator("base_url")
    @classmethod
    def no_credentials(cls, value: AnyHttpUrl | None) -> AnyHttpUrl | None:
        """Refuse a URL that contains credentials."""
        if value is not None and (value.username or value.password):
            message = "holds credentials: name environment variables in `auth` instead"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [name for name in ("path", "python", "singer", "dlt") if getattr(self, name) is not None]
        if len(given) != 1:
            message = f"give exactly one of path, python, singer, dlt; found {given or 'none'}"
            raise ValueError(message)
        if self.body is not None and self.form is not None:
            message = "give `body` or `form`, and not both"
            raise ValueError(message)
        if self.method == "GET" and (self.body is not None or self.form is not None):
            message = "`body` and `form` go with `method: POST`"
            raise ValueError(message)
        return self
