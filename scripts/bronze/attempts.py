"""Failed attempts: a small record of each work that failed and was not done since, so that it is repeated sensibly.

A load's lies in `_attempts/`, beside the ledger; success removes it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from scripts.bronze.ledger import Partition, day_of_file
from scripts.errors import (
    BronzeError,
    ContractError,
    DataError,
    PipelineError,
    SourceRejectedError,
    UsageError,
    WarehouseError,
)
from scripts.redaction import redact
from scripts.utils.files import make_dir, write_atomically
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from scripts.bronze.run import Run
    from scripts.bronze.store import Store

_log = get_logger("attempts")
_FIRST_WAIT = dt.timedelta(minutes=2)
_LONGEST_WAIT = dt.timedelta(hours=6)
_LONGEST_MESSAGE = 2000
_FOR_A_PERSON = (BronzeError, ContractError, DataError, SourceRejectedError, UsageError, WarehouseError)
"""Errors of the data, the source or its contract: another try gives the same until somebody changes something."""


class Attempt(msgspec.Struct, frozen=True):
    """The last of the attempts that failed."""

    failed_at: dt.datetime
    error: str
    """The class of the error."""
    message: str
    is_final: bool
    """Whether another try gives the same, until what `fingerprint` stands for changes."""
    count: int
    """Attempts that failed, one after another."""
    fingerprint: str
    """Of what it was made with: the version of the contract for a load."""
    run_id: str
    triggered_by: str

    @property
    def retry_at(self) -> dt.datetime:
        """When another try makes sense, for an error that may pass."""
        wait: dt.timedelta = _FIRST_WAIT * 2 ** min(self.count - 1, 12)
        return self.failed_at + min(wait, _LONGEST_WAIT)

    def reason_to_wait(self, fingerprint: str, now: dt.datetime) -> str:
        """Return what the next try waits for, in words; empty where it may be made now."""
        if self.is_final:
            return "" if fingerprint != self.fingerprint else f"a person: {self.message}"
        if now >= self.retry_at:
            return ""
        return f"the next try at {self.retry_at:%H:%M} (UTC), {self.count} failed: {self.message}"


def path_of(store: Store, partition: Partition) -> Path:
    """Return where the attempt at a partition is noted."""
    return store.root / "_attempts" / partition.source / partition.resource / f"{partition.day}.json"


def all_of(store: Store) -> Mapping[Partition, Attempt]:
    """Return the attempts that failed, by partition."""
    found = {}
    for path in sorted((store.root / "_attempts").glob("*/*/*.json")):
        # a copy of such a file, as tools that sync folders make them, is about no day
        if (day := day_of_file(path.name)) is not None and (attempt := read(path)) is not None:
            found[Partition(path.parent.parent.name, path.parent.name, day)] = attempt
    return found


def read(path: Path) -> Attempt | None:
    """Return the attempt that is noted in a file; None where there is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Attempt)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None


@contextlib.contextmanager
def noting(path: Path, run: Run, *, fingerprint: str) -> Iterator[None]:
    """Note a failure of the block, and take the note of an earlier one away when it succeeds."""
    try:
        yield
    except Exception as error:
        _note(path, error, run, fingerprint)
        raise
    path.unlink(missing_ok=True)


def _note(path: Path, error: Exception, run: Run, fingerprint: str) -> None:
    known = read(path)
    attempt = Attempt(
        failed_at=dt.datetime.now(dt.UTC),
        error=type(error).__name__,
        message=redact(" ".join(str(error).split()))[:_LONGEST_MESSAGE],
        # an error that is no PipelineError is a bug
        is_final=isinstance(error, _FOR_A_PERSON) or not isinstance(error, (PipelineError, OSError)),
        count=known.count + 1 if known and known.fingerprint == fingerprint else 1,
        fingerprint=fingerprint,
        run_id=run.run_id,
        triggered_by=run.triggered_by,
    )
    try:
        make_dir(path.parent)
        write_atomically(path, msgspec.json.format(msgspec.json.encode(attempt)) + b"\n", mode=0o640)
    except OSError as problem:
        # where the disk is full the work fails for the same reason, and is tried again
        _log.warning("the failed attempt could not be noted: %s", problem)
