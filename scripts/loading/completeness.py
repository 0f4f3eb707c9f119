"""Completeness: whether a load received each row of the source once, by declared totals and by repeated keys."""

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
"""The most times that a partition is fetched from its first page, if rows move between pages during a try."""
_log = get_logger("ingest")


@dataclasses.dataclass(slots=True)
class Arrivals:
    """The counts of all answers of a load.

    Attributes:
        fetched: Rows that were received.
        pages: Number of answers.
        quarantined: Rows that are not admitted.
        reason: Reason why the first of these rows is not admitted.
        totals: Numbers of records that the source declares on the pages of each request.
        records: Records that were received, by request; if the rows are nested lists, this is not the number of rows.
        drift: Differences from the contract.
        keys: Keys of the rows, if pages are compared.
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
        """Return the number of records that the source declares; None if it declares none for some request."""
        if self.totals.keys() != self.records.keys():
            return None
        # if totals differ, rows changed during the load: take one that does not match, so that the load is tried again
        return sum(
            next((total for total in sorted(totals) if total != self.records[part]), self.records[part])
            for part, totals in self.totals.items()
        )

    def moved(self) -> Moved | None:
        """Return the keys that came on more than one page of a request."""
        return next((found for keys in self.keys.values() if (found := keys.moved())), None)


class Completeness:
    """Checks each try of one load: a load with missing or moved rows is tried again, and fails after the last try."""

    def __init__(self) -> None:
        """Start without a try."""
        self._tries = 0
        self._before: Moved | None = None

    def is_reached(self, arrivals: Arrivals) -> bool:
        """Return whether every row was received once; if not, the load has to be tried again.

        Raises:
            SourceUnavailableError: The last try has failed.
        """
        self._tries += 1
        declared, records, moved = arrivals.declared(), sum(arrivals.records.values()), arrivals.moved()
        if declared not in (None, records):
            self._say(f"the API declares {declared} rows, its pages contained {records}")
            return False
        if moved is None:
            return True
        before, self._before = self._before, moved
        # if two tries repeat the same keys, and not where pages meet, the source itself sends these keys twice
        if before is not None and before.keys == moved.keys and not moved.overlap:
            _log.warning("%d keys came on more than one page in each try: the source sends them twice", moved.rows)
            return True
        self._say(
            f"rows moved between pages: {moved.rows} keys came on more than one page,"
            f" for example on pages {moved.pages[0]} and {moved.pages[1]}",
            "load the day again when the source does not change, or let it sort by a key (`params`);"
            " if the source sends one key on two pages, set `pagination: {duplicates: allow}`",
        )
        return False

    def _say(self, message: str, hint: str = "") -> None:
        if self._tries == FETCHES:
            raise SourceUnavailableError(
                f"{message}, in {FETCHES} tries",
                expected="every row once",
                hint=hint or "check the contract's pagination, or load the day again when the source does not change",
            )
        _log.warning("%s: fetching the partition again from its first page", message)


def compares_keys(resource: Resource) -> bool:
    """Return whether the keys of a resource's pages are compared, to detect that a moved row hides a lost row.

    Pages by link or cursor continue where the previous page ended. Their keys are compared only if a total is declared,
    since a repeated row then counts in place of a lost one.
    """
    pagination = resource.pagination
    if isinstance(pagination, NoPagination) or pagination.duplicates == "allow":
        return False
    return isinstance(pagination, (PagePagination, OffsetPagination)) or resource.total is not None


def require_admitted(entry: LedgerEntry, resource: Resource, reason: str) -> None:
    """Raise an error if rows were received and none of them fits the contract, unless the contract allows that.

    Raises:
        DataError: No row fits, and the contract does not allow that.
    """
    if entry.fetched and not entry.bronze and resource.admit == "some":
        raise DataError(
            f"none of the {entry.fetched} rows fits the contract; the first: {reason}",
            expected="at least one row that is admitted",
            hint="correct the contract (`response`, `columns`); `admit: none` allows a load without a row that fits",
        )
