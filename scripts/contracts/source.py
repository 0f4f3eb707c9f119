"""The contract of a source: the keys of its YAML file in `scripts/sources/`, with their checks."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import zoneinfo
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AnyHttpUrl, Field, PrivateAttr, field_validator, model_validator
from typing_extensions import override

from scripts.contracts import safety
from scripts.contracts.column import Column
from scripts.contracts.connection import Auth, EnvName, NoAuth, RateLimit
from scripts.contracts.contract_model import ContractModel, Name
from scripts.contracts.deletes import Tombstone
from scripts.contracts.load import Load, SnapshotLoad
from scripts.contracts.pagination import NoPagination, Pagination
from scripts.contracts.request import RequestPart
from scripts.contracts.resource_checks import check_children, check_resource, lift_children
from scripts.contracts.response import ArrayResponse, ErrorFlag, NoRows, Response, Total
from scripts.contracts.rules import FreshnessLimits, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

Action = Literal["evolve", "discard", "quarantine", "fail"]


class Resource(RequestPart):
    """One collection of a source."""

    description: Annotated[str, Field(min_length=1)]
    primary_key: Annotated[tuple[str, ...], Field(min_length=1)]
    """Columns that identify a row in the source; `dt` is the loaded day, if each day has its own row."""
    columns: Annotated[tuple[Column, ...], Field(min_length=1)]
    response: Response = ArrayResponse()
    pagination: Pagination = NoPagination()
    total: Total | None = None
    error: ErrorFlag | None = None
    no_rows: NoRows = NoRows()
    load: Load = SnapshotLoad()
    deletes: Literal["detect"] | Tombstone | None = None
    """How deleted rows are recognized; Silver keeps them, with `deleted_date`. `detect`: a row is deleted if the next
    full snapshot lacks its key. Or a column shows it."""
    admit: Literal["some", "none"] = "some"
    """Rows that a load must admit. `some`: a load fails if all its rows go to quarantine; `none`: it succeeds."""
    on_unknown: Action = "evolve"
    """For a field that is not in the contract: keep it in `_extra`, drop it, quarantine the row, or fail the run."""
    on_missing: Action = "quarantine"
    """For a null or missing value that is not nullable: admit null (logged or not), quarantine the row, or fail."""
    on_mistyped: Action = "quarantine"
    """For a value of another type: admit null (and keep the value in `_extra` or not), quarantine the row, or fail."""
    rules: tuple[Rule, ...] = ()
    freshness: FreshnessLimits = FreshnessLimits(warn_after_hours=36, error_after_hours=72)
    _of_source: dict[str, Any] = PrivateAttr(default_factory=dict)
    """The keys of the source that affect the requests of all its resources."""

    @property
    def document(self) -> dict[str, Any]:
        """The contract as plain data, without defaults, with the keys of the source that affect requests."""
        return {**self.model_dump(mode="json", exclude_defaults=True), "of_source": self._of_source}

    @functools.cached_property
    def version(self) -> str:
        """A short hash of everything that decides how rows are read and checked."""
        # without defaults, so that a new optional key does not change the versions of existing contracts
        return version_of(self.document)

    @property
    def sensitive_columns(self) -> frozenset[str]:
        """The columns whose values are never shown."""
        return frozenset(column.name for column in self.columns if column.sensitive)

    def treated_columns(self, treatment: Literal["hash", "drop"]) -> tuple[str, ...]:
        """Return the columns with `sensitive: hash` or with `sensitive: drop`."""
        return tuple(column.name for column in self.columns if column.sensitive == treatment)

    @property
    def required(self) -> frozenset[str]:
        """Names of the columns that must not be null: those with `nullable: false`, and the primary key."""
        return frozenset(
            column.name for column in self.columns if not column.nullable or column.name in self.primary_key
        )

    def share(self, of_source: dict[str, Any]) -> None:
        """Keep the keys of the source that affect requests, since other requests may return other rows."""
        self._of_source = of_source
        self.__dict__.pop("version", None)

    @override
    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values, and with its own version."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("version", None)
        return copied

    def column(self, name: str) -> Column:
        """Return the column `name`."""
        return next(column for column in self.columns if column.name == name)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problems := check_resource(self):
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
    """Address of the team that is responsible for the data."""
    base_url: AnyHttpUrl
    base_url_env: EnvName | None = None
    """Environment variable that overrides `base_url`."""
    auth: Auth = NoAuth()
    headers: dict[str, str] = Field(default_factory=dict)
    """Headers of every request; no secrets. `{day}` is replaced by the day."""
    rate_limit: RateLimit | None = None
    concurrency: Annotated[int, Field(ge=1, le=64)] | None = None
    """The most requests at the same time, if fewer than `API_CONCURRENCY`."""
    daily: bool = True
    """Whether the orchestrators load it every day; otherwise, it is loaded on request only."""
    time_zone: str = "UTC"
    """The time zone in which the source's days end, such as `Europe/Berlin`."""
    settle_hours: Annotated[float, Field(ge=0, le=720)] = 0
    """Hours after the end of a day in which the source still adds rows to it; a day loaded earlier is loaded again."""
    start_date: dt.date | None = None
    """The first day that must be loaded; by default, the first loaded day."""
    catchup: bool = False
    """Whether missing days are loaded automatically, also after a downtime; otherwise, health only names them."""
    default_resource: Name
    resources: Annotated[dict[Name, Resource], Field(min_length=1)]

    @field_validator("base_url")
    @classmethod
    def _no_credentials(cls, value: AnyHttpUrl) -> AnyHttpUrl:
        if value.username or value.password:
            message = "holds credentials: name environment variables in `auth` instead"
            raise ValueError(message)
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in zoneinfo.available_timezones():
            message = "is not a time zone; expected a name such as UTC or Europe/Berlin"
            raise ValueError(message)
        return value

    @model_validator(mode="before")
    @classmethod
    def _lift_children(cls, data: Any) -> Any:  # noqa: ANN401 — whatever the YAML holds
        return lift_children(data)

    @model_validator(mode="after")
    def _share(self) -> Self:
        found = {"time_zone": self.time_zone if self.time_zone != "UTC" else None, "headers": self.headers or None}
        for resource in self.resources.values():
            resource.share({key: value for key, value in found.items() if value is not None})
        return self

    @model_validator(mode="after")
    def _parents(self) -> Self:
        if problems := check_children(self):
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _default_exists(self) -> Self:
        if self.default_resource not in self.resources:
            message = f"default_resource `{self.default_resource}` is not one of {', '.join(self.resources)}"
            raise ValueError(message)
        if found := list(safety.problems(self)):
            raise ValueError("; ".join(found))
        return self


def version_of(document: dict[str, Any]) -> str:
    """Return the version of a contract: a short hash of its `document`."""
    kept = {key: value for key, value in document.items() if key != "of_source" or value}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a source file, for editors."""
    return Source.model_json_schema()
