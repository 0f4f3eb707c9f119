"""The ledger: one record per partition, written last; a partition without a record does not exist."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import os
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from scripts.errors import BronzeError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class Partition(NamedTuple):
    """The unit of loading, replacing, validating and backfilling: one resource on one day (UTC)."""

    source: str
    resource: str
    day: dt.date

    def __str__(self) -> str:
        """Return the partition as `source/resource/day`."""
        return f"{self.source}/{self.resource}/{self.day}"


INCOMPLETE = " without rows in quarantine"
"""Suffix of the content state of a partition that lacks rows of the source."""
Status = Literal["ingested", "validated", "failed"]


class DriftNote(msgspec.Struct, frozen=True):
    """A field in which the source differed from its contract, and the number of rows."""

    kind: str
    field: str
    action: str
    rows: int
    example: str


class RuleNote(msgspec.Struct, frozen=True):
    """A rule that rows broke, and the number of rows."""

    rule: str
    severity: str
    rows: int
    example: str


class Earlier(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Objects of a bucket that a partition held earlier."""

    names: tuple[str, ...]
    replaced_at: dt.datetime


class Objects(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The objects of a partition in a bucket besides its data file, by their names relative to Bronze."""

    quarantine: str = ""
    """Empty if there is none."""
    report: str = ""
    """Empty if there is none."""
    earlier: tuple[Earlier, ...] = ()
    """What replaced loads wrote; maintenance keeps it for `BRONZE_KEEP_DAYS`."""


class LedgerEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was loaded into one partition. Counts are rows; moments are UTC, ISO 8601."""

    source: str
    resource: str
    day: dt.date
    status: Status
    declared: int | None
    """Rows that the API declared; None if it declared no total."""
    fetched: int
    bronze: int
    quarantined: int
    pages: int
    retries: int
    path: str
    """The data file, relative to the Bronze folder."""
    bytes: int
    content_hash: str
    """SHA-256 of the data file."""
    contract_version: str
    run_id: str
    triggered_by: str
    started_at: dt.datetime
    loaded_at: dt.datetime
    validated_at: dt.datetime | None = None
    drift: tuple[DriftNote, ...] = ()
    rules: tuple[RuleNote, ...] = ()
    rules_version: str = ""
    """Version of the rules that checked these rows; empty if the rows were not checked."""
    quarantine_hash: str = ""
    """SHA-256 of the quarantine file; empty if there is none."""
    report_hash: str = ""
    """SHA-256 of the validation report; empty if there is none."""
    objects: Objects | msgspec.UnsetType = msgspec.UNSET
    """Only in a bucket; in a folder, the partition and its day name the files."""

    @property
    def partition(self) -> Partition:
        """The partition that this entry is about."""
        return Partition(self.source, self.resource, self.day)

    @property
    def content_state(self) -> str:
        """What a build used of the partition: its content, and whether it lacks rows of the source."""
        return f"{self.content_hash}{INCOMPLETE}" if self.quarantined else self.content_hash

    def check(self) -> None:
        """Check the accounting.

        Raises:
            DataError: Rows are missing or doubled between source, Bronze and quarantine.
        """
        if self.fetched != self.bronze + self.quarantined:
            raise DataError(
                f"row accounting: fetched {self.fetched}, but Bronze {self.bronze} + quarantined {self.quarantined}",
                where=str(self.partition),
                expected=f"{self.fetched} in all",
                hint=reload_hint(self.partition),
            )
        if self.declared is not None and self.declared != self.fetched:
            raise DataError(
                f"row accounting: the API declares {self.declared} rows, {self.fetched} were fetched",
                where=str(self.partition),
                hint=reload_hint(self.partition),
            )


def encode(entry: LedgerEntry) -> bytes:
    """Return the record as JSON."""
    return msgspec.json.format(msgspec.json.encode(entry), indent=2) + b"\n"


def decode(path: Path) -> LedgerEntry:
    """Return the record in a file.

    Raises:
        BronzeError: The file is not a record.
    """
    try:
        return _decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unreadable(error, str(path), _reload_hint_of(path)) from None


def _decode(content: bytes) -> LedgerEntry:
    try:
        return msgspec.json.decode(content, type=LedgerEntry)
    except msgspec.ValidationError:
        return _decode_old(content)


def _decode_old(content: bytes) -> LedgerEntry:
    """Return a record of version 0.1, which called the entry point `door`."""
    document = msgspec.json.decode(content, type=dict[str, Any])
    if "door" in document:
        document["triggered_by"] = document.pop("door")
    return msgspec.convert(document, LedgerEntry)


def read_entry(path: Path) -> LedgerEntry:
    """Return the record in a file of the ledger.

    Raises:
        BronzeError: The file is not a record, or it is about another partition than its path says.
    """
    return _about(decode(path), _partition_of(path), str(path))


def entry_of(content: bytes, partition: Partition, where: str) -> LedgerEntry:
    """Return the record in the content of a partition's record; `where` is its place, for messages.

    Raises:
        BronzeError: The content is not a record, or it is about another partition.
    """
    try:
        entry = _decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unreadable(error, where, reload_hint(partition)) from None
    return _about(entry, partition, where)


def _unreadable(error: Exception, where: str, hint: str) -> BronzeError:
    return BronzeError(
        f"ledger record cannot be read: {error}",
        where=where,
        expected="a record that the pipeline wrote",
        hint=hint,
    )


def _about(entry: LedgerEntry, partition: Partition, where: str) -> LedgerEntry:
    if entry.partition != partition:
        raise BronzeError(
            f"ledger record is about {entry.partition}",
            where=where,
            expected="the partition that the path names",
            hint=reload_hint(partition),
        )
    return entry


def folders(root: Path) -> Sequence[Path]:
    """Return the folder of each resource below a ledger folder, in the order of source and resource."""
    if not root.is_dir():
        return []
    sources = sorted(path for path in root.iterdir() if path.is_dir())
    return [path for source in sources for path in sorted(source.iterdir()) if path.is_dir()]


def signatures(folder: Path) -> Mapping[str, str]:
    """Return the signature of each record in a resource's folder, by day."""
    found = {}
    with os.scandir(folder) as files:
        for file in files:
            if _is_record(file.name):
                with contextlib.suppress(FileNotFoundError):
                    found[file.name.removesuffix(".json")] = signature(file.stat())
    return found


def signature(stat: os.stat_result) -> str:
    """Return a signature that changes with the content of a record, since each change replaces the file by a rename."""
    return f"{stat.st_ino}-{stat.st_mtime_ns}-{stat.st_size}"


def strangers(root: Path) -> Sequence[Path]:
    """Return the files in the folders of a ledger that the pipeline did not write, such as copies that a tool made."""
    return [
        folder / name
        for folder in folders(root)
        for name in sorted(file.name for file in os.scandir(folder) if not _is_record(file.name))
        if not name.startswith(".")
    ]


def stranger(path: Path | str) -> BronzeError:
    """Return the error about a file in the ledger that the pipeline did not write."""
    return BronzeError(
        "a file that the pipeline did not write",
        where=str(path),
        expected="only records, named YYYY-MM-DD.json",
        hint="move it out of the ledger; the record of the day is another file",
    )


@functools.lru_cache(maxsize=100_000)
def day_of_file(name: str) -> dt.date | None:
    """Return the day in the name of a file; None if the pipeline does not write files of that name."""
    text = name.removesuffix(".json")
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        return None
    return day if f"{day}.json" == name else None


def _is_record(name: str) -> bool:
    return day_of_file(name) is not None


def _partition_of(path: Path) -> Partition:
    return Partition(path.parent.parent.name, path.parent.name, dt.date.fromisoformat(path.stem))


def _reload_hint_of(path: Path) -> str:
    return reload_hint(_partition_of(path)) if _is_record(path.name) else "load the day again with `pipeline run`"


def reload_hint(partition: Partition) -> str:
    """Return what to do about a partition that is damaged or missing."""
    return f"load it again: {reload_command(partition, partition)}"


def reload_command(first: Partition, last: Partition) -> str:
    """Return the command that loads, validates and builds the partitions of a resource from `first` to `last`."""
    return (
        f"`pipeline run --source {first.source} --resource {first.resource}"
        f" --start-date {first.day} --end-date {last.day}`"
    )
