"""A column of Bronze: its name and type, and how the source writes its values."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from scripts.contracts.contract_model import ContractModel
from scripts.contracts.json_path import OnePath, steps_of
from scripts.contracts.response import Scalar
from scripts.contracts.templates import check_column_format

ColumnType = Annotated[
    str, Field(pattern=r"^(string|integer|number|boolean|date|timestamp|json|decimal\([1-9]\d?,\s*\d{1,2}\))$")
]
MOMENT_FORMATS = ("iso", "epoch", "epoch_ms", "epoch_us", "rfc2822", "odata")
"""Formats of times besides those of `strptime`: any ISO 8601 form, seconds, milliseconds or microseconds since 1970,
`Mon, 01 Jan 2024 10:00:00 +0000`, and `/Date(1704067200000)/`."""


ColumnName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=120)]
_NO_KEY = re.compile(r'["\\\x00-\x1f]')
"""Characters that keys of columns must not contain."""


class Column(ContractModel):
    """One column of Bronze."""

    name: ColumnName
    type: ColumnType
    description: Annotated[str, Field(min_length=1)]
    nullable: bool = True
    """Whether the field may be null or missing; a column of the primary key must not be."""
    field: OnePath | None = None
    """Where the value is in the API's record, if it is not at `name`: a key, or a path such as `properties.email` or
    `$.dimensionValues[0].value`."""
    was: ColumnName | None = None
    """Name of this column in days that were loaded before it was renamed; such days are read under the new name."""
    format: str | None = None
    """How the source writes a time: `iso`, `epoch`, `epoch_ms`, `epoch_us`, `rfc2822`, `odata`, or a `strptime` format.
    `text` means that a number, boolean or JSON value is in quotation marks."""
    thousands: Annotated[str, Field(pattern=r"^[^0-9+-]$")] | None = None
    """Character between groups of digits, as in `1,234.5`."""
    decimal_mark: Annotated[str, Field(pattern=r"^[^0-9+-]$")] = "."
    null_values: tuple[Scalar, ...] = ()
    """Values that mean null, such as `.` or `N/A`."""
    true_values: tuple[Scalar, ...] = ()
    false_values: tuple[Scalar, ...] = ()
    """Values that mean false, besides `false`; `true_values` likewise for true."""
    sensitive: Literal[False, True, "hash", "drop"] = False
    """Whether its values are personal: no log, report, alert or page shows them. With `hash`, Silver contains keyed
    hashes of them; with `drop`, Silver does not have the column."""

    @property
    def key(self) -> str:
        """The key in the record. A nested field is lifted to a key that equals its path."""
        if self.field is None:
            return self.name
        found = steps_of(self.field)
        if len(found) == 1:
            return str(found[0])
        if not _NO_KEY.search(self.field):
            return self.field
        return "$" + "".join(f"['{step}']" if isinstance(step, str) else f"[{step}]" for step in found)

    @property
    def is_nested(self) -> bool:
        """Whether the value is nested below other keys of the record."""
        return self.field is not None and len(steps_of(self.field)) > 1

    @property
    def is_converted(self) -> bool:
        """Whether values must be converted before they are read as the column's type."""
        forms = self.format or self.thousands or self.null_values or self.true_values or self.false_values
        return bool(forms) or self.decimal_mark != "."

    @field_validator("type")
    @classmethod
    def _decimal(cls, value: str) -> str:
        if match := re.match(r"decimal\((\d+),\s*(\d+)\)", value):
            precision, scale = int(match[1]), int(match[2])
            if precision > 38 or scale > precision:  # noqa: PLR2004 — the widest decimal of Arrow and DuckDB
                message = "decimal(precision, scale) takes a precision up to 38 and a scale up to the precision"
                raise ValueError(message)
        return value

    @field_validator("field")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None and not steps_of(value):
            message = "leads to the whole record: give one of its keys"
            raise ValueError(message)
        if value is not None and any(isinstance(step, str) and _NO_KEY.search(step) for step in steps_of(value)):
            message = "a key with a quotation mark, a backslash or a control character cannot be read into a column"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _format_fits(self) -> Self:
        is_number = self.type in {"integer", "number"} or self.type.startswith("decimal")
        if self.format is not None and self.type in {"date", "timestamp"} and self.format not in MOMENT_FORMATS:
            try:
                check_column_format(self.format)
            except ValueError as error:
                valid = f"valid are {', '.join(MOMENT_FORMATS)}, and formats of strptime"
                message = f"format `{self.format}`: {error}; {valid}"
                raise ValueError(message) from None
        is_time = self.type in {"date", "timestamp"}
        takes_text = is_number or self.type in {"boolean", "json"}
        if self.format is not None and not is_time and not (self.format == "text" and takes_text):
            message = f"format `{self.format}` does not go with {self.type}: numbers, booleans and json take `text`"
            raise ValueError(message)
        if not is_number and (self.thousands is not None or self.decimal_mark != "."):
            message = f"`thousands` and `decimal_mark` are for numbers, and `{self.name}` is {self.type}"
            raise ValueError(message)
        if self.thousands is not None and self.thousands == self.decimal_mark:
            message = f"`thousands` and `decimal_mark` are the same in `{self.name}`: {self.thousands}"
            raise ValueError(message)
        if both := set(map(repr, self.true_values)) & set(map(repr, self.false_values)):
            message = f"{', '.join(sorted(both))} means both true and false in `{self.name}`"
            raise ValueError(message)
        if self.type != "boolean" and (self.true_values or self.false_values):
            message = f"`true_values` and `false_values` are for booleans, and `{self.name}` is {self.type}"
            raise ValueError(message)
        return self
