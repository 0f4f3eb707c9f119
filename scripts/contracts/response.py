"""Keys of a resource for its responses: format, place of the records, declared total, errors, answers without rows."""

from __future__ import annotations

import codecs
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from scripts.contracts.contract_model import ContractModel
from scripts.contracts.json_path import JsonPath, OnePath

Scalar = str | int | float | bool | None


class _Response(ContractModel):
    format: Literal["json", "xml"] = "json"
    """Format of the body; gzip and zip compression is recognized."""


class ArrayResponse(ContractModel):
    """The body is a list of records; in ndjson, csv and tsv, one record per line."""

    shape: Literal["array"] = "array"
    format: Literal["json", "ndjson", "csv", "tsv"] = "json"
    """Format of the body; gzip and zip compression is recognized. XML has no list at its top."""
    encoding: str = "utf-8"
    """Character encoding of csv and tsv."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Delimiter of csv; by default, a comma."""
    header: tuple[str, ...] | None = None
    """Names of the columns of csv and tsv, if the first line does not contain them."""

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            return codecs.lookup(value).name
        except LookupError:
            message = "not an encoding that Python knows; valid are utf-8, latin-1, cp1252, utf-16 and the like"
            raise ValueError(message) from None

    @model_validator(mode="after")
    def _of_csv(self) -> Self:
        given = [name for name in ("encoding", "delimiter", "header") if name in self.model_fields_set]
        if given and self.format not in {"csv", "tsv"}:
            message = f"`{given[0]}` goes with `format: csv` or `tsv`, and this is {self.format}"
            raise ValueError(message)
        return self


class EnvelopeResponse(_Response):
    """The body is an object that contains the records at `data_path`."""

    shape: Literal["envelope"]
    data_path: JsonPath
    """Path to the list, or with `[*]` to each record: `result.items`, `$[1]`, `$.data.edges[*].node`."""
    single: Literal["refuse", "record"] = "refuse"
    """`record`: an object in place of the list is the only record, as converters from XML write it. `refuse`: it is an
    error."""


class ObjectResponse(_Response):
    """The body, or the value at `data_path`, is one record."""

    shape: Literal["object"]
    data_path: OnePath | None = None


class KeyedResponse(_Response):
    """An object maps keys to records, or to lists of records: each record gets the key as a column."""

    shape: Literal["keyed"]
    data_path: OnePath | None = None
    key_column: str = "key"
    """Name of the field for the key in the record."""
    value_column: str = "value"
    """Name of the field for a value that is neither an object nor a list of objects."""


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
    """Path of the names in the body: `$.headers[*].name`. Without it and `names`, the first row contains them."""

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
    """Name of the field for the key in the record."""
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
    """A header whose value is the number, or ends with a slash and the number, as in `Content-Range: 0-1/5`."""
    path: OnePath | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.header is None) == (self.path is None):
            message = "give `header` or `path`, and not both"
            raise ValueError(message)
        return self


class ErrorFlag(ContractModel):
    """How an answer with HTTP 200 reports an error."""

    path: OnePath
    """Path of the error flag. Without `ok_values` and `error_values`, every value except null, false, 0 and empty
    values is an error."""
    ok_values: tuple[Scalar, ...] | None = None
    error_values: tuple[Scalar, ...] | None = None
    retry_values: tuple[Scalar, ...] = ()
    """Values of transient errors: the request is retried."""
    message_path: OnePath | None = None
    """Path of the error message in the answer."""

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if self.ok_values is not None and self.error_values is not None:
            message = "give `ok_values`, `error_values` or neither"
            raise ValueError(message)
        return self


class NoRows(ContractModel):
    """Answers that mean that there are no rows."""

    status: tuple[Annotated[int, Field(ge=400, le=499)], ...] = ()
    """HTTP statuses besides 204."""
    missing_list: bool = False
    """Whether a missing list of records, or an empty body, means that there are no rows."""
