"""Completeness: whether what came is what the source has, once: declared totals, and rows that moved between pages."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from scripts.contracts.pagination import NoPagination, OffsetPagination, PagePagination
from scripts.errors import DataError, SourceUnavailableError
from scripts.extract.drift import DriftCount
from scripts.extract.repeats import KeyComparison
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from scripts.bronze.ledger import LedgerEntry
    from scripts.contracts.source import Resource
    from scripts.extract.repeats import Moved
    from scripts.extract.responses import Answer
    from scripts.extract.rows import Page

FETCHES = 3
"""How often a partition is fetched from its first page when rows moved between pages while it was read."""
_log = get_logger("ingest")


@dataclasses.dataclass(slots=True)
class Arrivals:
    """What the answers of a load amount to.

    Attributes:
        fetched: Rows that came.
        pages: Answers.
        quarantined: Rows that are not admitted.
        reason: Why the first of them is not.
        totals: Numbers of records that the source declares, for each request with its pages.
        records: Records that came, for each of them: where lists within them are the rows, another number than of rows.
        drift: Differences from the contract.
        keys: Keys of the rows, where pages are compared.
    """

    fetched: int = 0
    pages: int = 0
    quarantined: int = 0
    reason: str = ""
    totals: dict[int, set[int]] = dataclasses.field(default_factory=dict)
    records: dict[int, int] = dataclasses.field(default_factory=dict)
    drift: DriftCount = dataclasses.field(default_factory=DriftCount)
    keys: dict[int, KeyComparison] = dataclasses.field(default_factory=dict)

    def add(self, answer: Answer, page: Page, *, compare_keys: bool) -> None:
        """Count an answer."""
        self.fetched, self.pages = self.fetched + page.fetched, self.pages + 1
        self.quarantined += len(page.rejects)
        self.reason = self.reason or next((reject.reason for reject in page.rejects), "")
        self.records[answer.part] = self.records.get(answer.part, 0) + answer.records
        if answer.total is not None:
            self.totals.setdefault(answer.part, set()).add(answer.total)
        self.drift.add(page.drift)
        if compare_keys:
            self.keys.setdefault(answer.part, KeyComparison()).add(answer.keys)

    def declared(self) -> int | None:
        """Return the number of records that the source declares; None where it leaves one request without."""
        if self.totals.keys() != self.records.keys():
            return None
        # pages that declare different totals were read while rows moved: the one that does not fit speaks
        return sum(
            next((total for total in sorted(totals) if total != self.records[part]), self.records[part])
            for part, totals in self.totals.items()
        )

    def moved(self) -> Moved | None:
        """Return the keys that came on more than one page of a request."""
        return next((found for keys in self.keys.values() if (found := keys.moved())), None)


class Completeness:
    """Judges the tries of one load: fetch again while rows are missing or moved, then fail."""

    def __init__(self) -> None:
        """Begin without a try."""
        self._tries = 0
        self._before: Moved | None = None

    def is_reached(self, arrivals: Arrivals) -> bool:
        """Return whether everything came once; if not, the load has to be tried again.

        Raises:
            SourceUnavailableError: It was tried often enough.
        """
        self._tries += 1
        declared, records, moved = arrivals.declared(), sum(arrivals.records.values()), arrivals.moved()
        if declared not in (None, records):
            self._say(f"the API declares {declared} rows, its pages held {records}")
            return False
        if moved is None:
            return True
        before, self._before = self._before, moved
        # a source may send keys twice by itself: the same ones in two tries, and not where pages meet
        if before is not None and before.keys == moved.keys and not moved.overlap:
            _log.warning("%d keys came on more than one page in each try: the source sends them twice", moved.rows)
            return True
        self._say(
            f"rows moved between pages: {moved.rows} keys came on more than one page,"
            f" for example on pages {moved.pages[0]} and {moved.pages[1]}",
            "load the day again when the source is quiet, or have it sort by a key (`params`);"
            " a source that sends one key on two pages has `pagination: {duplicates: allow}`",
        )
        return False

    def _say(self, message: str, hint: str = "") -> None:
        if self._tries == FETCHES:
            raise SourceUnavailableError(
                f"{message}, in {FETCHES} tries",
                expected="every row once",
                hint=hint or "check the contract's pagination, or load the day again when the source is quiet",
            )
        _log.warning("%s: fetching the partition again from its first page", message)


def compares_keys(resource: Resource) -> bool:
    """Return whether the keys of a resource's pages are compared: where a row that moves would hide one that is lost.

    A link or a cursor goes on where the page before ended; with a total declared, a row that comes twice stands for
    another all the same.
    """
    pagination = resource.pagination
    if isinstance(pagination, NoPagination) or pagination.duplicates == "allow":
        return False
    return isinstance(pagination, (PagePagination, OffsetPagination)) or resource.total is not None


def require_admitted(entry: LedgerEntry, resource: Resource, reason: str) -> None:
    """Raise where rows came and none of them fits the contract, unless the contract allows that.

    Raises:
        DataError: It does not.
    """
    if entry.fetched and not entry.bronze and resource.admit == "some":
        raise DataError(
            f"none of the {entry.fetched} rows fits the contract; the first: {reason}",
            expected="at least one row that is admitted",
            hint="correct the contract (`response`, `columns`); `admit: none` allows a load without a row that fits",
        )
