"""A source that does not answer: after a few loads of a run have failed, the other loads of the run fail at once."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING

from scripts.bronze import attempts
from scripts.config import settings
from scripts.errors import SourceUnavailableError
from scripts.utils.files import locked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.bronze.run import Run

FAILURES = 3
"""Loads of a run that fail one after another before the source is not asked any more."""
_PAUSE = dt.timedelta(minutes=1)
"""Time after the last failure for which the run does not ask again; a task that is tried again later does."""


@contextlib.contextmanager
def watching(source: str, run: Run) -> Iterator[None]:
    """Note in the block that the source of a load does not answer, and refuse the load where it is known.

    Every load asks several times, with pauses. Without this, a year of days of a source that is down would take hours
    to fail.

    Raises:
        SourceUnavailableError: `FAILURES` loads of this run have failed so, one after another, within the last minute.
    """
    path = attempts.path_of_source(run.store, source)
    known = attempts.read(path)
    is_of_run = known is not None and known.run_id == run.run_id
    if known and is_of_run and known.count >= FAILURES and dt.datetime.now(dt.UTC) - known.failed_at < _PAUSE:
        raise SourceUnavailableError(
            f"not asked, for {known.count} loads of this run failed in a row; the last: {known.message}",
            where=source,
            hint="run the same command again when the source answers; it loads only what is missing",
        )
    try:
        yield
    except SourceUnavailableError as error:
        # loads that run at the same time count together
        with locked(path.with_suffix(".lock"), purpose=f"load of {source}", timeout=settings().lock_timeout):
            attempts.note(path, error, run, run.run_id)
        raise
    path.unlink(missing_ok=True)
