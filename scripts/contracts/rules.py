"""Expectations of the data: rules on rows, and freshness."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from scripts.contracts.contract_model import ContractModel, Name

Severity = Literal["fail", "quarantine", "warn"]


class Range(ContractModel):
    """Bounds, both inclusive."""

    min: int | Annotated[float, Field(allow_inf_nan=False)] | None = None
    max: int | Annotated[float, Field(allow_inf_nan=False)] | None = None

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
_CHECKS = (*_COLUMN_CHECKS, *_TABLE_CHECKS, "check")


class Rule(ContractModel):
    """One check on the rows of a partition, and what happens to the rows that break it.

    A rule has exactly one check. Null passes every check except `not_null`, `unique` and `row_count`.
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
    """Columns whose values occur once in a partition; every occurrence except the last breaks the rule."""
    row_count: Range | None = None
    check: Annotated[str, Field(pattern=r"^[^:]+\.py:[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """A check in Python, as `path/to/file.py:name`, relative to the project's folder. It is a pandera schema, or a
    function that gets a pandas data frame of some rows and returns a series with true for each row that passes."""

    @property
    def kind(self) -> str:
        """The name of the rule's check."""
        return next(name for name in _CHECKS if getattr(self, name) is not None)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value is not None:
            import pyarrow as pa  # noqa: PLC0415 — few commands evaluate patterns
            import pyarrow.compute  # noqa: PLC0415

            try:
                # the engine that evaluates rules (RE2) supports no look-around and no back-references
                pyarrow.compute.match_substring_regex(pa.array([""]), value)
            except pa.ArrowInvalid as error:
                message = f"not a regular expression: {error}"
                raise ValueError(message) from None
        return value

    @model_validator(mode="after")
    def _one_check(self) -> Self:
        given = [name for name in _CHECKS if getattr(self, name) is not None]
        if len(given) != 1:
            message = f"give exactly one of {', '.join(_CHECKS)}; found {given or 'none'}"
            raise ValueError(message)
        if given[0] != "check" and (given[0] in _COLUMN_CHECKS) != (self.column is not None):
            message = "`column` goes with every check but unique and row_count"
            raise ValueError(message)
        if self.row_count is not None and self.severity == "quarantine":
            message = "row_count is about the whole partition: its severity is `fail` or `warn`"
            raise ValueError(message)
        return self


class FreshnessLimits(ContractModel):
    """How old the newest loaded day may be, in hours since its end."""

    warn_after_hours: Annotated[int, Field(ge=1)]
    error_after_hours: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.warn_after_hours > self.error_after_hours:
            message = "`warn_after_hours` is above `error_after_hours`"
            raise ValueError(message)
        return self
