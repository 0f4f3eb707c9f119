"""How a source is talked to: authentication, response shape, paging, declared total, load mode."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from scripts.contracts.contract_model import ContractModel

EnvName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]


class NoAuth(ContractModel):
    """The source is open."""

    type: Literal["none"] = "none"


class BearerAuth(ContractModel):
    """`Authorization: Bearer …`."""

    type: Literal["bearer"]
    token_env: EnvName
    """Environment variable that holds the token."""


class BasicAuth(ContractModel):
    """HTTP basic authentication."""

    type: Literal["basic"]
    username_env: EnvName
    password_env: EnvName


class ApiKeyAuth(ContractModel):
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


class ArrayResponse(ContractModel):
    """The body is a list of records."""

    shape: Literal["array"] = "array"


class EnvelopeResponse(ContractModel):
    """The body is an object that holds the list of records at `data_path`."""

    shape: Literal["envelope"]
    data_path: Annotated[str, Field(min_length=1)]
    """Keys down to the list, with dots between them: `result.items`."""


class FlatMapResponse(ContractModel):
    """The body maps `{key}_{field}` to a value, or `{key}` to an object of fields: one record per key."""

    shape: Literal["flat_map"]
    key_column: str = "key"
    """Name that the key gets in the record."""
    separator: Annotated[str, Field(min_length=1)] = "_"


Stop = Literal["total", "short_page", "empty_page"]


class NoPagination(ContractModel):
    """One request returns everything."""

    type: Literal["none"] = "none"


class PagePagination(ContractModel):
    """Pages are asked for by number."""

    type: Literal["page"]
    stop: Stop
    """`total`: when the declared total is reached, or as `short_page` where none is declared after all;
    `short_page`: after a page that is not full; `empty_page`: after a page without rows."""
    page_param: str = "page"
    size_param: str | None = "per_page"
    page_size: Annotated[int, Field(ge=1, le=100_000)] = 100
    first_page: Annotated[int, Field(ge=0, le=1)] = 1


class OffsetPagination(ContractModel):
    """Pages are asked for by the position of their first row."""

    type: Literal["offset"]
    stop: Stop
    offset_param: str = "offset"
    limit_param: str = "limit"
    page_size: Annotated[int, Field(ge=1, le=100_000)] = 100


class LinkPagination(ContractModel):
    """The `Link` header names the next page; the last page has none."""

    type: Literal["link"]
    stop: Literal["no_next_link"]
    size_param: str | None = None
    page_size: Annotated[int, Field(ge=1, le=100_000)] = 100


class CursorPagination(ContractModel):
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


class Total(ContractModel):
    """Where the API declares how many rows there are."""

    header: str | None = None
    path: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.header is None) == (self.path is None):
            message = "give `header` or `path`, and not both"
            raise ValueError(message)
        return self


class SnapshotLoad(ContractModel):
    """Every load fetches the whole collection as it is."""

    mode: Literal["snapshot"] = "snapshot"


class IncrementalLoad(ContractModel):
    """A load asks for the rows of its day."""

    mode: Literal["incremental"]
    start_param: str
    end_param: str | None = None
    end: Literal["inclusive", "exclusive"] = "exclusive"
    """Whether the source includes the value of `end_param`: with `exclusive` it is the next day."""
    format: str = "%Y-%m-%d"
    """`strftime` format of both values; the moment is the day's midnight in UTC."""


class RateLimit(ContractModel):
    """The most requests that a source accepts."""

    requests_per_second: Annotated[float, Field(gt=0, le=10_000)]
