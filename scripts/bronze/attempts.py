"""Failed attempts: a small file for each piece of work that failed and has not succeeded since, to time its retries.

The file of a load is in `_attempts/`, next to the ledger. A success removes it. A source that does not answer has its
own file.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from scripts import errors
from scripts.bronze.ledger import Partition, day_of_file
from scripts.errors import (
    BronzeError,
    ContractError,
    DataError,
    PipelineError,
    SourceRejectedError,
    StorageError,
    StorageUnavailableError,
    UsageError,
    WarehouseError,
)
from scripts.security.redaction import redact
from scripts.utils.days import is_ahead
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scripts.bronze.documents import Document
    from scripts.bronze.run import Run
    from scripts.bronze.store import Store

_log = get_logger("attempts")
_FIRST_WAIT = dt.timedelta(minutes=2)
_LONGEST_WAIT = dt.timedelta(hours=6)
_LONGEST_MESSAGE = 2000
_FOR_A_PERSON = (BronzeError, ContractError, DataError, SourceRejectedError, UsageError, WarehouseError)
"""Errors of the data, the source or its contract: retries fail in the same way until a person changes something."""


class Attempt(msgspec.Struct, frozen=True):
    """The last failed attempt."""

    failed_at: dt.datetime
    error: str
    """The class of the error."""
    message: str
    is_final: bool
    """Whether retries fail in the same way until `fingerprint` changes."""
    count: int
    """Number of consecutive failed attempts."""
    fingerprint: str
    """Identifies the inputs of the attempt: for a load, the version of the contract."""
    run_id: str
    triggered_by: str

    @property
    def retry_at(self) -> dt.datetime:
        """When to retry after a transient error."""
        wait: dt.timedelta = _FIRST_WAIT * 2 ** min(self.count - 1, 12)
        return self.failed_at + min(wait, _LONGEST_WAIT)

    def as_error(self) -> PipelineError:
        """Return the error, for an entry point on another machine; one that is not of the pipeline has no class."""
        kind = getattr(errors, self.error, None)
        if isinstance(kind, type) and issubclass(kind, PipelineError):
            return kind(self.message)
        return PipelineError(self.message)

    def reason_to_wait(self, fingerprint: str, now: dt.datetime) -> str:
        """Return what the next try waits for, as text; empty if it can start now."""
        if self.is_final:
            return "" if fingerprint != self.fingerprint else f"a person: {self.message}"
        # after a clock that was ahead, `retry_at` can be far away
        if now >= self.retry_at or is_ahead(self.failed_at, now):
            return ""
        return f"the next try at {self.retry_at:%H:%M} (UTC), {self.count} failed: {self.message}"


def document_of(store: Store, partition: Partition) -> Document:
    """Return the document of the failed attempt of a partition."""
    return store.document(f"_attempts/{partition.source}/{partition.resource}/{partition.day}.json")


def document_of_source(store: Store, source: str) -> Document:
    """Return the document of the failed loads of a source that did not answer."""
    return store.document(f"_attempts/{source}.json")


class Attempts(NamedTuple):
    """All failed attempts."""

    partitions: dict[Partition, Attempt]
    sources: dict[str, Attempt]
    """The last load that failed because its source did not answer, by source. A successful load removes it."""


def read_all(store: Store) -> Attempts:
    """Return the failed attempts, by partition and by source."""
    found = Attempts({}, {})
    for name in store.documents("_attempts"):
        match name.split("/")[1:]:
            case [file] if (attempt := read(store.document(name))) is not None:
                found.sources[file.removesuffix(".json")] = attempt
            # tools that sync folders may make copies of such files, whose names are not days
            case [source, resource, file] if (day := day_of_file(file)) is not None:
                if (attempt := read(store.document(name))) is not None:
                    found.partitions[Partition(source, resource, day)] = attempt
    return found


def unavailable_sources(store: Store) -> Mapping[str, Attempt]:
    """Return the last load that failed because its source did not answer, by source."""
    return read_all(store).sources


def all_of(store: Store) -> Mapping[Partition, Attempt]:
    """Return the failed attempts by partition."""
    return read_all(store).partitions


def read(document: Document) -> Attempt | None:
    """Return the failed attempt in a document; None if there is none."""
    try:
        content = document.read()
        return None if content is None else msgspec.json.decode(content, type=Attempt)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


@contextlib.contextmanager
def noting(document: Document, run: Run, *, fingerprint: str) -> Iterator[None]:
    """Write a failed attempt if the block fails, and remove an earlier one if it succeeds."""
    try:
        yield
    except Exception as error:
        note(document, error, run, fingerprint)
        raise
    document.remove()


def note(document: Document, error: Exception, run: Run, fingerprint: str) -> None:
    """Write a failed attempt, with the number of consecutive failures that have the same fingerprint."""
    try:
        known = read(document)
        attempt = Attempt(
            failed_at=dt.datetime.now(dt.UTC),
            error=type(error).__name__,
            message=redact(" ".join(str(error).split()))[:_LONGEST_MESSAGE],
            # an error that is neither a PipelineError nor an OSError is a bug
            is_final=isinstance(error, _FOR_A_PERSON) or not isinstance(error, (PipelineError, OSError)),
            count=known.count + 1 if known and known.fingerprint == fingerprint else 1,
            fingerprint=fingerprint,
            run_id=run.run_id,
            triggered_by=run.triggered_by,
        )
        document.write(msgspec.json.format(msgspec.json.encode(attempt)) + b"\n")
    except (OSError, StorageError, StorageUnavailableError) as problem:
        # if the disk is full, the work fails for the same reason and is retried
        _log.warning("the failed attempt could not be written: %s", problem)
