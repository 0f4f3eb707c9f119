"""What a source answers: its format, where the records are, the declared total, errors and answers without rows."""

from __future__ import annotations

import codecs
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from scripts.contracts.contract_model import ContractModel
from scripts.contracts.json_path import JsonPath, OnePath

Scalar = str | int | float | bool | None


class _Response(ContractModel):
    format: Literal["json", "ndjson", "csv", "tsv", "xml"] = "json"
    """How the body is written; gzip and zip around it are recognized."""
    encoding: str = "utf-8"
    """Of csv and tsv."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Of csv: a comma without it."""
    header: tuple[str, ...] | None = None
    """Names of the columns of csv and tsv, where the first line does not hold them."""

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            return codecs.lookup(value).name
        except LookupError:
            message = "not an encoding that Python knows; valid are utf-8, latin-1, cp1252, utf-16 and the like"
            raise ValueError(message) from None


class ArrayResponse(_Response):
    """The body is a list of records (or, in ndjson, csv and tsv, a line a record)."""

    shape: Literal["array"] = "array"


class EnvelopeResponse(_Response):
    """The body is an object that holds the records at `data_path`."""

    shape: Literal["envelope"]
    data_path: JsonPath
    """Leads to the list, or with `[*]` to each record: `result.items`, `$[1]`, `$.data.edges[*].node`."""


class ObjectResponse(_Response):
    """The body, or what it holds at `data_path`, is one record."""

    shape: Literal["object"]
    data_path: OnePath | None = None


class KeyedResponse(_Response):
    """An object maps keys to records, or to lists of records: each record gets the key as a column."""

    shape: Literal["keyed"]
    data_path: OnePath | None = None
    key_column: str = "key"
    """Name that the key gets in the record."""
    value_column: str = "value"
    """Name that a value gets which is neither an object nor a list of objects."""


class ColumnarResponse(_Response):
    """An object maps the name of each column to the list of its values."""

    shape: Literal["columnar"]
    data_path: OnePath | None = None


class RowsResponse(_Response):
    """Each record is a list of values; their names come from the contract, the first row or the body."""

    shape: Literal["rows"]
    data_path: JsonPath | None = None
    names: tuple[str, ...] | None = None
    names_path: JsonPath | None = None
    """Where the body holds the names: `$.headers[*].name`; without `names` and this, the first row holds them."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.names is not None and self.names_path is not None:
            message = "give `names`, `names_path` or neither (the first row holds them)"
            raise ValueError(message)
        return self


class FlatMapResponse(_Response):
    """The body maps `{key}_{field}` to a value, or `{key}` to an object of fields: one record per key."""

    shape: Literal["flat_map"]
    key_column: str = "key"
    """Name that the key gets in the record."""
    separator: Annotated[str, Field(min_length=1)] = "_"


Response = Annotated[
    ArrayResponse
    | EnvelopeResponse
    | ObjectResponse
    | KeyedResponse
    | ColumnarResponse
    | RowsResponse
    | FlatMapResponse,
    Field(discriminator="shape"),
]


class Total(ContractModel):
    """Where the API declares how many rows there are."""

    header: str | None = None
    """A header whose value is the number, or ends with it after a slash as `Content-Range: 0-1/5`."""
    path: OnePath | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.header is None) == (self.path is None):
            message = "give `header` or `path`, and not both"
            raise ValueError(message)
        return self


class ErrorFlag(ContractModel):
    """An answer with HTTP 200 that says that it is an error."""

    path: OnePath
    """Without `ok_values` and `error_values`, anything there but null, false, 0 and what is empty is an error."""
    ok_values: tuple[Scalar, ...] | None = None
    error_values: tuple[Scalar, ...] | None = None
    retry_values: tuple[Scalar, ...] = ()
    """Errors that pass: the request is tried again."""
    message_path: OnePath | None = None
    """Where the answer says what is wrong."""

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if self.ok_values is not None and self.error_values is not None:
            message = "give `ok_values`, `error_values` or neither"
            raise ValueError(message)
        return self


class NoRows(ContractModel):
    """Answers that mean that there is no row."""

    status: tuple[Annotated[int, Field(ge=400, le=499)], ...] = ()
    """HTTP statuses beside 204."""
    missing_list: bool = False
    """Whether nothing at the place of the records means no row."""
