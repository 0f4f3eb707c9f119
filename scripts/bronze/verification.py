"""Verification: reads the files of Bronze completely and compares them with their records, a part each day."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, NamedTuple

from scripts.bronze.store import verify
from scripts.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.bronze.store import Store

_PARTS = 28
"""Days in which all of Bronze is verified once."""


class Verified(NamedTuple):
    """The result of a verification."""

    partitions: int
    """Partitions whose files were read."""
    problems: Sequence[str]
    """Problems, each with its repair."""
    oldest: dt.datetime | None
    """When the files of the least recently verified partition were verified; None without partitions."""


def verify_part(store: Store, now: dt.datetime | None = None) -> Verified:
    """Verify the least recently verified files; daily calls verify all files within a month.

    A load counts as a verification. A rebuilt index has lost the times of verifications; the files are then read again.
    """
    moment = now or dt.datetime.now(dt.UTC)
    with store.index() as index:
        waiting = index.oldest_verifications()
        month_ago = (moment - dt.timedelta(days=_PARTS)).timestamp()
        share = math.ceil(len(waiting) / _PARTS)
        due = [
            entry
            for place, (entry, seen) in enumerate(waiting)
            # a moment in the future was written by a clock that was ahead
            if place < share or not month_ago <= seen <= moment.timestamp()
        ]
        problems, whole = [str(problem) for problem in index.problems()], []
        for entry in due:
            try:
                whole.append(verify(store, entry))
            except PipelineError as error:
                problems.append(str(error))
        index.note_verified(whole, moment)
        return Verified(len(due), problems, index.oldest_verification())
