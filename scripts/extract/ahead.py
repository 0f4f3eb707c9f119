"""The number of pages that are fetched ahead: as many as the source allows and the memory holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.config import settings
from scripts.extract.rows import Page

if TYPE_CHECKING:
    from scripts.extract.responses import Answer

_BASE_MB = 224
"""Memory of a process without pages: the interpreter with its libraries, and the row group that is written."""
_COPIES = 3
"""Copies of a page in memory: its body, its records and its rows."""


def pages_ahead(most: int, answer: Answer) -> int:
    """Return how many pages of the size of this one may wait in memory: at least one, at most `most`."""
    config = settings()
    room = (max(config.memory_limit_mb - _BASE_MB, 0) << 20) // config.parallel_partitions
    page = answer.page
    size = int(page.batch.nbytes) if isinstance(page, Page) else sum(map(len, page.records))
    return max(1, min(most, room // (_COPIES * max(1, size))))
