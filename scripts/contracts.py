"""The contract of a source: what its YAML file in `scripts/sources/` may say, checked key by key."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, field_validator, model_validator

RESERVED_COLUMNS = frozenset({"dt", "_row", "_extra", "first_seen_date", "last_seen_date"})
"""Columns that the pipeline adds: the partition's day, the row's position, unknown fields, and Silver's two dates."""

Action = Literal["evolve", "discard", "quarantine", "fail"]
Severity = Literal["fail", "quarantine", "warn"]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
EnvName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
ColumnType = Annotated[
    str, Field(pattern=r"^(string|integer|number|boolean|date|timestamp|json|decimal\([1-9]\d?,\s*\d{1,2}\))$")
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:  # noqa: ANN401 — whatever the YAML holds
        unknown = [key for key in data if key not in cls.model_fields] if isinstance(data, dict) else []
        if unknown:
            message = f"unknown key {', '.join(f'`{key}`' for key in unknown)}; valid are {', '.join(cls.model_fields)}"
            raise ValueError(message)
        return data


class NoAuth(_Model):
    """The source is open."""

    type: Literal["none"] = "none"


class BearerAuth(_Model):
    """`Authorization: Bearer …`."""

    type: Literal["bearer"]
    token_env: EnvName
    """Environment variable that holds the token."""


class BasicAuth(_Model):
    """HTTP basic authentication."""

    type: Literal["basic"]
    username_env: EnvName
    password_env: EnvName


class ApiKeyAuth(_Model):
    """A key in a header or in a query parameter."""

    type: Literal["api_key"]
    value_env: EnvName
    """Environment variable that holds the key."""
    header: str | None = None
    query: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.header is None) == (self.query is None):
            message = "give `header` or `query`, and not both"
            raise ValueError(message)
        return self


class ArrayResponse(_Model):
    """The body is a list of records."""

    shape: Literal["array"] = "array"


class EnvelopeResponse(_Model):
    """The body is an object that holds the list of records at `data_path`."""

    shape: Literal["envelope"]
    data_path: Annotated[str, Field(min_length=1)]
    """Keys down to the list, with dots between them: `result.items`."""


class FlatMapResponse(_Model):
    """The body maps `{key}_{field}` to a value, or `{key}` to an object of fields: one record per key."""

    shape: Literal["flat_map"]
    key_column: str = "key"
    """Name that the key gets in the record."""
    separator: Annotated[str, Field(min_length=1)] = "_"


Stop = Literal["total", "short_page", "empty_page"]


class NoPagination(_Model):
    """One request returns everything."""

    type: Literal["none"] = "none"


class PagePagination(_Model):
    """Pages are asked for by number."""

    type: Literal["page"]
    stop: Stop
    """`total`: when the declared total is reached; `short_page`: after a page that is not full; `empty_page`."""
    page_param: str = "page"
    size_param: str | None = "per_page"
    page_size: Annotated[int, Field(ge=1, le=100_000)] = 100
    first_page: Annotated[int, Field(ge=0, le=1)] = 1


class OffsetPagination(_Model):
    """Pages are asked for by the position of their first row."""

    type: Literal["offset"]
    stop: Stop
    offset_param: str = "offset"
    limit_param: str = "limit"
    page_size: Annotated[int, Field(ge=1, le=100_000)] = 100


class LinkPagination(_Model):
    """The `Link` header names the next page; the last page has none."""

    type: Literal["link"]
    stop: Literal["no_next_link"]
    size_param: str | None = None
    page_size: Annotated[int, Field(ge=1, le=100_000)] = 100


class CursorPagination(_Model):
    """The body holds the cursor of the next page; on the last page it is empty, null or missing."""

    type: Literal["cursor"]
    stop: Literal["no_cursor", "has_more_false"]
    cursor_param: str
    cursor_path: Annotated[str, Field(min_length=1)]
    has_more_path: str | None = None
    size_param: str | None = None
    page_size: Annotated[int, Field(ge=1, le=100_000)] = 100

    @model_validator(mode="after")
    def _has_more(self) -> Self:
        if (self.stop == "has_more_false") != (self.has_more_path is not None):
            message = "`has_more_path` goes with `stop: has_more_false`"
            raise ValueError(message)
        return self


class Total(_Model):
    """Where the API declares how many rows there are."""

    header: str | None = None
    path: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.header is None) == (self.path is None):
            message = "give `header` or `path`, and not both"
            raise ValueError(message)
        return self


class SnapshotLoad(_Model):
    """Every load fetches the whole collection as it is."""

    mode: Literal["snapshot"] = "snapshot"


class IncrementalLoad(_Model):
    """A load asks for the rows of its day."""

    mode: Literal["incremental"]
    start_param: str
    end_param: str | None = None
    end: Literal["inclusive", "exclusive"] = "exclusive"
    """Whether the source includes the value of `end_param`: with `exclusive` it is the next day."""
    format: str = "%Y-%m-%d"
    """`strftime` format of both values; the moment is the day's midnight in UTC."""


class Column(_Model):
    """One column of Bronze."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=120)]
    type: ColumnType
    description: Annotated[str, Field(min_length=1)]
    nullable: bool = True
    """Whether the field may be null or missing."""
    field: str | None = None
    """Key in the API's record, where it is not `name`."""

    @property
    def key(self) -> str:
        """The key in the API's record."""
        return self.field or self.name

    @field_validator("type")
    @classmethod
    def _decimal(cls, value: str) -> str:
        if match := re.match(r"decimal\((\d+),\s*(\d+)\)", value):
            precision, scale = int(match[1]), int(match[2])
            if precision > 38 or scale > precision:  # noqa: PLR2004 — the widest decimal of Arrow and DuckDB
                message = "decimal(precision, scale) takes a precision up to 38 and a scale up to the precision"
                raise ValueError(message)
        return value


class Range(_Model):
    """Bounds, both inclusive."""

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.min is None and self.max is None:
            message = "give `min`, `max` or both"
            raise ValueError(message)
        if self.min is not None and self.max is not None and self.min > self.max:
            message = f"`min` {self.min:g} is above `max` {self.max:g}"
            raise ValueError(message)
        return self


_COLUMN_CHECKS = ("not_null", "range", "length", "accepted_values", "pattern")
_TABLE_CHECKS = ("unique", "row_count")


class Rule(_Model):
    """One check on the rows of a partition, with what happens to the rows that break it.

    Exactly one of the checks is given. All but `not_null`, `unique` and `row_count` pass on null.
    """

    name: Name
    severity: Severity
    description: str = ""
    column: str | None = None
    not_null: Literal[True] | None = None
    range: Range | None = None
    length: Range | None = None
    accepted_values: Annotated[tuple[str | int | float | bool, ...], Field(min_length=1)] | None = None
    pattern: str | None = None
    """Regular expression that has to match somewhere in the value; anchor it with ^ and $."""
    unique: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Columns whose values occur once in a partition; all but the last occurrence break the rule."""
    row_count: Range | None = None

    @property
    def check(self) -> str:
        """The name of the one check that is given."""
        return next(name for name in (*_COLUMN_CHECKS, *_TABLE_CHECKS) if getattr(self, name) is not None)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            import pyarrow as pa  # noqa: PLC0415 — few commands evaluate patterns
            import pyarrow.compute  # noqa: PLC0415

            try:
                # the engine that evaluates rules (RE2) knows no look-around and no back-references
                pyarrow.compute.match_substring_regex(pa.array([""]), value)
            except pa.ArrowInvalid as error:
                message = f"not a regular expression: {error}"
                raise ValueError(message) from None
        return value

    @model_validator(mode="after")
    def _one_check(self) -> Self:
        given = [name for name in (*_COLUMN_CHECKS, *_TABLE_CHECKS) if getattr(self, name) is not None]
        if len(given) != 1:
            message = f"give exactly one of {', '.join((*_COLUMN_CHECKS, *_TABLE_CHECKS))}; found {given or 'none'}"
            raise ValueError(message)
        if (given[0] in _COLUMN_CHECKS) != (self.column is not None):
            message = "`column` goes with every check but unique and row_count"
            raise ValueError(message)
        if self.row_count is not None and self.severity == "quarantine":
            message = "row_count is about the whole partition: its severity is `fail` or `warn`"
            raise ValueError(message)
        return self


class Freshness(_Model):
    """How old the newest loaded day may be, in hours after it ended."""

    warn_after_hours: Annotated[int, Field(ge=1)]
    error_after_hours: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.warn_after_hours > self.error_after_hours:
            message = "`warn_after_hours` is above `error_after_hours`"
            raise ValueError(message)
        return self


class RateLimit(_Model):
    """The most requests that a source accepts."""

    requests_per_second: Annotated[float, Field(gt=0, le=10_000)]


class Resource(_Model):
    """One collection of a source."""

    description: Annotated[str, Field(min_length=1)]
    path: Annotated[str, Field(pattern=r"^/")]
    primary_key: Annotated[tuple[str, ...], Field(min_length=1)]
    """Columns that identify a row in the source; `dt` stands for the day, where each day has its own row."""
    columns: Annotated[tuple[Column, ...], Field(min_length=1)]
    params: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Query parameters of every request; `{day}` stands for the day."""
    response: Annotated[ArrayResponse | EnvelopeResponse | FlatMapResponse, Field(discriminator="shape")] = (
        ArrayResponse()
    )
    pagination: Annotated[
        NoPagination | PagePagination | OffsetPagination | LinkPagination | CursorPagination,
        Field(discriminator="type"),
    ] = NoPagination()
    total: Total | None = None
    load: Annotated[SnapshotLoad | IncrementalLoad, Field(discriminator="mode")] = SnapshotLoad()
    on_unknown: Action = "evolve"
    """A field that the contract does not name: keep it in `_extra`, drop it, quarantine the row, or fail the run."""
    on_missing: Action = "quarantine"
    """A field that is not nullable, and null or missing: admit it as null (noted or not), quarantine, or fail."""
    on_mistyped: Action = "quarantine"
    """A value of another type: null with the value kept in `_extra`, null, quarantine, or fail."""
    rules: tuple[Rule, ...] = ()
    freshness: Freshness = Freshness(warn_after_hours=36, error_after_hours=72)

    @property
    def version(self) -> str:
        """A short hash of everything that decides how rows are read and checked."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:12]

    def column(self, name: str) -> Column:
        """Return the column `name`."""
        return next(column for column in self.columns if column.name == name)

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [column.name for column in self.columns]
        folded = [name.lower() for name in names]
        problems = [
            f"column `{name}` is declared twice (DuckDB does not tell upper from lower case)"
            for name, low in zip(names, folded, strict=True)
            if folded.count(low) > 1
        ]
        problems += [
            f"column name `{name}` is reserved: give it another `name` and put `{name}` into `field`"
            for name in names
            if name.lower() in RESERVED_COLUMNS
        ]
        keys = [column.key for column in self.columns]
        problems += [f"field `{key}` is read into two columns" for key in sorted(set(keys)) if keys.count(key) > 1]
        used = {column: "primary_key" for column in self.primary_key if column != "dt"}
        for rule in self.rules:
            used |= {column: f"rule `{rule.name}`" for column in (rule.column, *(rule.unique or ())) if column}
        problems += [
            f"{place} names column `{column}`, which is not declared; declared are {', '.join(names)}"
            for column, place in used.items()
            if column not in names
        ]
        rule_names = [rule.name for rule in self.rules]
        problems += [f"two rules are called `{name}`" for name in sorted(set(rule_names)) if rule_names.count(name) > 1]
        if getattr(self.pagination, "stop", None) == "total" and self.total is None:
            problems.append("`stop: total` needs `total`: say in which header or body path the API declares it")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _rule_types(self) -> Self:
        types = {column.name: column.type for column in self.columns}
        texts, numbers = {"string", "json"}, {"integer", "number"}
        for rule in self.rules:
            kind = types.get(rule.column or "", "")
            if rule.check in {"length", "pattern"} and kind not in texts:
                message = f"rule `{rule.name}`: `{rule.check}` is for text, and column `{rule.column}` is {kind}"
                raise ValueError(message)
            if rule.check == "range" and kind not in numbers and not kind.startswith("decimal"):
                message = f"rule `{rule.name}`: `range` is for numbers, and column `{rule.column}` is {kind}"
                raise ValueError(message)
        return self


class Source(_Model):
    """One API."""

    source: Name
    description: Annotated[str, Field(min_length=1)]
    owner: Annotated[str, Field(min_length=3)]
    """Who answers for the data: a team's address."""
    base_url: AnyHttpUrl
    base_url_env: EnvName | None = None
    """Environment variable that overrides `base_url`."""
    auth: Annotated[NoAuth | BearerAuth | BasicAuth | ApiKeyAuth, Field(discriminator="type")] = NoAuth()
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers of every request, no secrets; `{day}` stands for the day."""
    rate_limit: RateLimit | None = None
    default_resource: Name
    resources: Annotated[dict[Name, Resource], Field(min_length=1)]

    @field_validator("base_url")
    @classmethod
    def _no_credentials(cls, value: AnyHttpUrl) -> AnyHttpUrl:
        if value.username or value.password:
            message = "holds credentials: name environment variables in `auth` instead"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _default_exists(self) -> Self:
        if self.default_resource not in self.resources:
            message = f"default_resource `{self.default_resource}` is not one of {', '.join(self.resources)}"
            raise ValueError(message)
        return self


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a source file, for editors."""
    return Source.model_json_schema()
