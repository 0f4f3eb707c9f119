"""Limits of one partition: the most pages and rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.config import settings
from scripts.errors import SourceRejectedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.extract.responses import Answer


def within_limits(answers: Iterator[Answer]) -> Iterator[Answer]:
    """Yield answers, and raise an error when they exceed the settings, so that paging that never ends stops."""
    config = settings()
    rows = 0
    for pages, answer in enumerate(answers, start=1):
        rows += answer.page.fetched
        for found, limit, setting, what in (
            (pages, config.api_max_pages, "API_MAX_PAGES", "pages"),
            (rows, config.api_max_rows, "API_MAX_ROWS", "rows"),
        ):
            if found > limit:
                raise SourceRejectedError(
                    f"the source sends more than {limit} {what} ({setting})",
                    expected="a last page",
                    hint=f"check pagination in the contract, or raise {setting} if the source has that many",
                )
        yield answer
