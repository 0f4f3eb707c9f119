"""Deletes: how a source tells that it has a row no more."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from scripts.contracts.contract_model import ContractModel
from scripts.contracts.response import Scalar

DELETED = "deleted_date"
"""The column of Silver that says since when."""


class Tombstone(ContractModel):
    """A column that says that the row is deleted."""

    column: str
    """A boolean, which is then true; a date or time, which is then the one of the deletion; or one with `values`."""
    values: tuple[Scalar, ...] = ()
    """The values that mean that the row is deleted, such as `[cancelled, archived]`, or `[false]` of `is_active`."""

    @model_validator(mode="after")
    def _plain(self) -> Self:
        if braces := [value for value in self.values if isinstance(value, str) and set(value) & set("{}")]:
            message = f"`{braces[0]}` holds a brace, which dbt would read as a template"
            raise ValueError(message)
        return self
