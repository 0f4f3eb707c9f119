"""The contract of a source: what its YAML file in `scripts/sources/` may say, checked key by key."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
import zoneinfo
from typing import Annotated, Any, Literal, Self

from pydantic import AnyHttpUrl, Field, field_validator, model_validator

from scripts.contracts import safety
from scripts.contracts.connection import (
    ApiKeyAuth,
    ArrayResponse,
    BasicAuth,
    BearerAuth,
    CursorPagination,
    EnvelopeResponse,
    EnvName,
    FlatMapResponse,
    IncrementalLoad,
    LinkPagination,
    NoAuth,
    NoPagination,
    OffsetPagination,
    PagePagination,
    RateLimit,
    SnapshotLoad,
    Total,
)
from scripts.contracts.contract_model import ContractModel, Name
from scripts.contracts.rules import FreshnessLimits, Rule

RESERVED_COLUMNS = frozenset({"dt", "_row", "_extra", "first_seen_date", "last_seen_date"})
"""Columns that the pipeline adds: the partition's day, the row's position, unknown fields, and Silver's two dates."""

Action = Literal["evolve", "discard", "quarantine", "fail"]
ColumnType = Annotated[
    str, Field(pattern=r"^(string|integer|number|boolean|date|timestamp|json|decimal\([1-9]\d?,\s*\d{1,2}\))$")
]


class Column(ContractModel):
    """One column of Bronze."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=120)]
    type: ColumnType
    description: Annotated[str, Field(min_length=1)]
    nullable: bool = True
    """Whether the field may be null or missing; a column of the primary key never may."""
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


class Resource(ContractModel):
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
    freshness: FreshnessLimits = FreshnessLimits(warn_after_hours=36, error_after_hours=72)

    @property
    def version(self) -> str:
        """A short hash of everything that decides how rows are read and checked."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def required(self) -> frozenset[str]:
        """Names of the columns that may not be null: those that say so, and the primary key."""
        return frozenset(
            column.name for column in self.columns if not column.nullable or column.name in self.primary_key
        )

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
        problems += [
            f"column `{column.name}` is part of the primary key, and may not be `nullable: true`"
            for column in self.columns
            if column.name in self.primary_key and column.nullable and "nullable" in column.model_fields_set
        ]
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
            if rule.kind in {"length", "pattern"} and kind not in texts:
                message = f"rule `{rule.name}`: `{rule.kind}` is for text, and column `{rule.column}` is {kind}"
                raise ValueError(message)
            if rule.kind == "range" and kind not in numbers and not kind.startswith("decimal"):
                message = f"rule `{rule.name}`: `range` is for numbers, and column `{rule.column}` is {kind}"
                raise ValueError(message)
        return self


class Source(ContractModel):
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
    daily: bool = True
    """Whether the orchestrators load it every day; without it, on request only."""
    time_zone: str = "UTC"
    """The time zone in which the source's days end, such as `Europe/Berlin`."""
    settle_hours: Annotated[float, Field(ge=0, le=720)] = 0
    """Hours after the end of a day in which the source still adds rows to it; a load before is loaded again."""
    start_date: dt.date | None = None
    """The first day that there has to be; without it, the first day that is loaded."""
    catchup: bool = False
    """Whether missing days are loaded by themselves, also after days off; without it, the health names them."""
    default_resource: Name
    resources: Annotated[dict[Name, Resource], Field(min_length=1)]

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in zoneinfo.available_timezones():
            message = "is not a time zone; expected a name such as UTC or Europe/Berlin"
            raise ValueError(message)
        return value

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
        if found := list(safety.problems(self)):
            raise ValueError("; ".join(found))
        return self


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a source file, for editors."""
    return Source.model_json_schema()
