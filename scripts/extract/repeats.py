"""Repeats: finds rows that moved from one page to another while the pages were read, by their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from scripts.contracts.source import Resource
    from scripts.extract.rows import Page

_MOST_KEYS = 8_000_000
"""The most keys that are compared, at eight bytes each; keys of later rows are not compared."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


def key_hashes(page: Page, resource: Resource) -> np.ndarray | None:
    """Return a hash of the primary key of each admitted row; None if the key is only the day."""
    names = [name for name in resource.primary_key if name != "dt"]
    mixed: np.ndarray | None = None
    for name in names:
        column = page.batch.column(name)
        if pa.types.is_integer(column.type) and column.null_count == 0:
            values = column.to_numpy().astype(np.uint64)
        else:
            # text is hashed, since different numbers, such as -1 and -2, may have equal hashes
            texts = (value if isinstance(value, str) else str(value) for value in column.to_pylist())
            values = np.array([hash(text) for text in texts], dtype=np.int64).astype(np.uint64)
        mixed = values * _MIX if mixed is None else (mixed ^ (mixed >> np.uint64(29))) * _MIX + values
    return mixed


class Moved(NamedTuple):
    """Keys that came on more than one page of a request.

    Attributes:
        rows: Number of these keys.
        pages: Two pages that share one of them.
        overlap: Whether a page begins with a key of the previous page, which means that rows moved.
        keys: Hashes of these keys, to compare with another try.
    """

    rows: int
    pages: tuple[int, int]
    overlap: bool
    keys: frozenset[int]


class KeyComparison:
    """Compares the keys of the pages of one request."""

    def __init__(self) -> None:
        """Start without pages."""
        self._pages: list[np.ndarray] = []
        self._count = 0

    def add(self, keys: np.ndarray | None) -> None:
        """Add the keys of a page."""
        if keys is not None and self._count < _MOST_KEYS:
            self._pages.append(keys)
            self._count += len(keys)

    def moved(self) -> Moved | None:
        """Return the keys that came on more than one page; None if there are none."""
        if len(self._pages) < 2:  # noqa: PLR2004 — one page cannot share keys with another
            return None
        distinct = [np.unique(keys) for keys in self._pages]
        values, counts = np.unique(np.concatenate(distinct), return_counts=True)
        doubled = values[counts > 1]
        if not len(doubled):
            return None
        holding = [number for number, keys in enumerate(distinct, start=1) if np.isin(doubled[0], keys)]
        overlap = any(
            len(after) and np.isin(after[0], before)
            for before, after in zip(self._pages, self._pages[1:], strict=False)
        )
        return Moved(len(doubled), (holding[0], holding[1]), overlap, frozenset(doubled.tolist()))
