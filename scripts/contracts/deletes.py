"""Deletes: how a source shows that a row is deleted."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from scripts.contracts.contract_model import ContractModel
from scripts.contracts.response import Scalar

DELETED = "deleted_date"
"""The column of Silver with the day of the deletion."""


class Tombstone(ContractModel):
    """A column that shows whether a row is deleted."""

    column: str
    """A boolean that is true for a deleted row; a date or time of the deletion; or a column with `values`."""
    values: tuple[Scalar, ...] = ()
    """Values that mean that the row is deleted, such as `[cancelled, archived]`, or `[false]` for `is_active`."""

    @model_validator(mode="after")
    def _plain(self) -> Self:
        if braces := [value for value in self.values if isinstance(value, str) and set(value) & set("{}")]:
            message = f"`{braces[0]}` holds a brace, which dbt would read as a template"
            raise ValueError(message)
        return self
