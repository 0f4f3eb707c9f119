"""Pagination of a source: how the next page is found and requested, and when paging ends."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from scripts.contracts.contract_model import ContractModel
from scripts.contracts.json_path import FirstPath, OnePath

PageSize = Annotated[int, Field(ge=1, le=100_000)]
Stop = Literal["total", "short_page", "empty_page", "repeated_page", "has_more_false", "is_last_true"]
Place = Literal["query", "body", "header", "template"]
_FLAG = {"has_more_false", "is_last_true"}


class MaxPages(ContractModel):
    """The most pages that are requested, and the reason why the others are not needed."""

    pages: Annotated[int, Field(ge=1)]
    reason: Annotated[str, Field(min_length=3)]


class _Paging(ContractModel):
    page_size: PageSize = 100
    send_in: Place = "query"
    """Where the number, cursor and size of a page are sent: `query`, `header`, `body` (dots lead to nested keys), or
    `template`: wherever the parameter stands between braces, such as in the path `/orders/page/{page}`."""
    end_status: tuple[Annotated[int, Field(ge=400, le=499)], ...] = ()
    """HTTP statuses that mean that the previous page was the last one."""
    max_pages: MaxPages | None = None
    duplicates: Literal["refuse", "allow"] = "refuse"
    """`allow`: the source may send one key on two pages. `refuse`: if it does, all pages are fetched again. Keys of
    pages by link or cursor are only compared if `total` is declared."""


class NoPagination(ContractModel):
    """One request returns everything."""

    type: Literal["none"] = "none"


class _NumberedPaging(_Paging):
    stop: Stop
    """When paging ends. `total`: when the declared total is reached, or like `short_page` if none is declared;
    `short_page`: after a page that is not full, if the next page is empty; `empty_page`: at a page without rows;
    `repeated_page`: at a page that repeats an earlier one, for a source that limits the page number;
    `has_more_false` and `is_last_true`: as the flag at `has_more_path` says."""
    has_more_path: OnePath | None = None
    """Path of a flag in the body that says whether there are more pages."""
    end_status: tuple[Annotated[int, Field(ge=400, le=499)], ...] = (404,)

    @model_validator(mode="after")
    def _flag(self) -> Self:
        _check_flag(self.stop, self.has_more_path)
        return self


class PagePagination(_NumberedPaging):
    """Pages are requested by number."""

    type: Literal["page"]
    page_param: str = "page"
    size_param: str | None = "per_page"
    first_page: Annotated[int, Field(ge=0)] = 1


class OffsetPagination(_NumberedPaging):
    """Pages are requested by the position of their first row."""

    type: Literal["offset"]
    offset_param: str = "offset"
    limit_param: str | None = "limit"
    first_offset: Annotated[int, Field(ge=0)] = 0


class LinkPagination(_Paging):
    """The answer contains the URL of the next page, absolute or relative; the last page contains none.

    With `stop: empty_page`, a page without rows is the last one too.
    """

    type: Literal["link"]
    stop: Literal["no_next_link", "empty_page"] = "no_next_link"
    next_path: FirstPath | None = None
    """Path of the URL in the body; without it and `next_header`, the `Link` header of RFC 8288 is used."""
    next_header: str | None = None
    size_param: str | None = None
    max_empty_pages: Annotated[int, Field(ge=1)] = 20
    """The most consecutive pages without rows."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.next_path is not None and self.next_header is not None:
            message = "give `next_path`, `next_header` or neither (the Link header)"
            raise ValueError(message)
        return self


class CursorPagination(_Paging):
    """The answer contains the cursor of the next page; on the last page it is empty, null or missing.

    With `stop: empty_page`, a page without rows is the last one too.
    """

    type: Literal["cursor"]
    stop: Literal["no_cursor", "has_more_false", "is_last_true", "empty_page"]
    cursor_param: Annotated[str, Field(min_length=1)]
    cursor_path: FirstPath | None = None
    cursor_header: str | None = None
    cursor_field: OnePath | None = None
    """Field of the last row that is the cursor, such as `id` in `starting_after=<id of the last row>`."""
    has_more_path: OnePath | None = None
    size_param: str | None = None
    max_empty_pages: Annotated[int, Field(ge=1)] = 20
    """The most consecutive pages without rows."""

    @model_validator(mode="after")
    def _has_more(self) -> Self:
        given = [name for name in ("cursor_path", "cursor_header", "cursor_field") if getattr(self, name) is not None]
        if len(given) != 1:
            message = f"give exactly one of cursor_path, cursor_header, cursor_field; found {given or 'none'}"
            raise ValueError(message)
        _check_flag(self.stop, self.has_more_path)
        return self


def _check_flag(stop: str, path: str | None) -> None:
    if (stop in _FLAG) != (path is not None):
        message = "`has_more_path` goes with `stop: has_more_false` or `stop: is_last_true`"
        raise ValueError(message)


Pagination = Annotated[
    NoPagination | PagePagination | OffsetPagination | LinkPagination | CursorPagination,
    Field(discriminator="type"),
]


def placed_params(pagination: Pagination) -> set[str]:
    """Return the names of the parameters that paging fills."""
    names = ("page_param", "size_param", "offset_param", "limit_param", "cursor_param")
    return {name for key in names if (name := getattr(pagination, key, None)) is not None}
