"""Bronze in a bucket: each file is an object under a name of its own, and the record is the commit.

An object is written once and never replaced. The record, which names the objects of a partition, is created or replaced
by one conditional request: if two processes load a partition, the first one wins, and the objects of the other are
debris that maintenance removes. Nothing is locked, renamed or completed later: a process that is killed between any two
requests leaves the old partition or the new one.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from typing_extensions import override

from scripts.bronze import ledger, quarantine
from scripts.bronze.bucket_records import AT_ONCE, FOLDER, BucketRecords, read_record, record_name
from scripts.bronze.documents import Document
from scripts.bronze.ledger import Earlier, LedgerEntry, Objects
from scripts.bronze.store import Staged, Store, check_counts
from scripts.config import bucket_variables, settings
from scripts.errors import BronzeError
from scripts.utils.buckets import Bucket
from scripts.utils.files import hash_file, make_dir, storage_errors
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from scripts.bronze.ledger import Partition
    from scripts.bronze.ledger_records import LedgerRecords
    from scripts.bronze.quarantine import QuarantinedRow
    from scripts.utils.buckets import Object

_log = get_logger("bronze")


class BucketStore(Store):
    """Bronze below the URL of a bucket; `scratch` is a folder of this machine for files in work and the index."""

    at_once = AT_ONCE

    def __init__(self, url: str, scratch: Path) -> None:
        """Connect to the bucket; no request is sent yet."""
        self.bucket = Bucket(url, bucket_variables())
        self._scratch = scratch

    @property
    @override
    def location(self) -> str:
        return self.bucket.url

    @property
    @override
    def index_path(self) -> Path:
        return self._scratch / f"ledger-{hashlib.sha256(self.location.encode()).hexdigest()[:12]}.sqlite"

    @override
    def records(self, *, trust_folders: bool = False) -> LedgerRecords:
        return BucketRecords(self.bucket)

    @override
    def document(self, name: str) -> ObjectDocument:
        return ObjectDocument(self.bucket, name)

    @override
    def documents(self, folder: str) -> Sequence[str]:
        return sorted(found.name for found in self.bucket.list(folder) if found.name.endswith(".json"))

    @override
    def entry(self, partition: Partition) -> LedgerEntry | None:
        return read_record(self.bucket, partition)

    @override
    @contextlib.contextmanager
    def data_file(self, entry: LedgerEntry) -> Iterator[Path]:
        with self._folder() as folder:
            path = folder / "data.parquet"
            if not self.bucket.download(entry.path, path):
                raise self._missing("data file", entry.path, entry)
            if (found := hash_file(path)) != entry.content_hash:
                raise self._changed("data file", entry.path, found, entry.content_hash, entry)
            yield path

    @override
    def quarantined(self, entry: LedgerEntry) -> Sequence[QuarantinedRow]:
        content = self.quarantine_content(entry) or b""
        return list(quarantine.decode(content.splitlines(), self.bucket.place(names_of(entry).quarantine)))

    @override
    def holds(self, path: str) -> bool:
        return self.bucket.size(path) is not None

    @override
    def quarantine_content(self, entry: LedgerEntry) -> bytes | None:
        return self._content("quarantine", names_of(entry).quarantine, entry)

    @override
    def report_content(self, entry: LedgerEntry) -> bytes | None:
        return self._content("validation report", names_of(entry).report, entry)

    def _content(self, what: str, name: str, entry: LedgerEntry) -> bytes | None:
        if not name:
            return None
        if (found := self.bucket.get(name)) is None:
            raise self._missing(what, name, entry)
        return found.content

    @override
    def report_place(self, entry: LedgerEntry) -> str:
        name = names_of(entry).report
        return self.bucket.place(name) if name else ""

    @override
    def difference(self, entry: LedgerEntry, *, content: bool) -> BronzeError | None:
        try:
            if content:
                with self.data_file(entry):
                    pass
            elif (size := self.bucket.size(entry.path)) is None:
                return self._missing("data file", entry.path, entry)
            elif size != entry.bytes:
                return self._changed("data file", entry.path, "", "", entry)
        except BronzeError as problem:
            return problem
        objects = names_of(entry)
        for what, name, known in (
            ("quarantine", objects.quarantine, entry.quarantine_hash),
            ("validation report", objects.report, entry.report_hash),
        ):
            if not known:
                continue
            if (found := self.bucket.get(name)) is None:
                return self._missing(what, name, entry)
            if content and (now := hashlib.sha256(found.content).hexdigest()) != known:
                return self._changed(what, name, now, known, entry)
        return None

    @override
    def presence(self) -> Callable[[LedgerEntry], bool]:
        sizes = {found.name: found.bytes for found in self.bucket.list()}

        def is_present(entry: LedgerEntry) -> bool:
            objects = names_of(entry)
            return sizes.get(entry.path) == entry.bytes and all(
                name in sizes for name in (objects.quarantine, objects.report) if name
            )

        return is_present

    @override
    def last_load(self) -> Sequence[dt.datetime]:
        return [found.modified for found in self.bucket.list(FOLDER)]

    @override
    @contextlib.contextmanager
    def replacing(self, partition: Partition, *, purpose: str, timeout: float) -> Iterator[_BucketStaged]:
        """Prepare a partition's new files; they take effect when the block calls `commit`.

        Another process may do the same: the commit of the first one counts, and the other one's raises `LockedError`.
        """
        with self._folder() as folder:
            yield _BucketStaged(self.bucket, partition, folder, self.bucket.get(record_name(partition)))

    @override
    def recover(self) -> None:
        """Nothing is ever left to complete."""

    @override
    def recover_partition(self, partition: Partition, *, timeout: float) -> None:
        """Nothing is ever left to complete."""

    @override
    def is_decided(self, partition: Partition) -> bool:
        return False

    @override
    def under_way(self) -> Sequence[Partition]:
        return ()

    @override
    def left_behind(self) -> Sequence[Partition]:
        return ()

    @override
    def foreign_files(self, known: Collection[str] | None = None) -> Sequence[str]:
        """Return none: builds read only objects that a record names."""
        return ()

    @override
    def foreign_files_hint(self, names: Sequence[str]) -> str:
        return ""

    @contextlib.contextmanager
    def _folder(self) -> Iterator[Path]:
        with storage_errors(self._scratch):
            make_dir(self._scratch)
            folder = Path(tempfile.mkdtemp(dir=self._scratch, prefix="work-"))
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _missing(self, what: str, name: str, entry: LedgerEntry) -> BronzeError:
        return BronzeError(
            f"the {what} of a loaded partition is missing",
            where=self.bucket.place(name),
            hint=ledger.reload_hint(entry.partition),
        )

    def _changed(self, what: str, name: str, found: str, known: str, entry: LedgerEntry) -> BronzeError:
        expected = f"SHA-256 {known[:12]}… that the ledger recorded" if known else f"{entry.bytes} bytes"
        return BronzeError(
            f"torn or changed {what}{f' with SHA-256 {found[:12]}…' if found else ''}",
            where=self.bucket.place(name),
            expected=expected,
            hint=ledger.reload_hint(entry.partition),
        )


class ObjectDocument(Document):
    """A document in an object of a bucket."""

    def __init__(self, bucket: Bucket, name: str) -> None:
        """Name the object."""
        self._bucket = bucket
        self._name = name

    @property
    @override
    def place(self) -> str:
        return self._bucket.place(self._name)

    @property
    @override
    def name(self) -> str:
        return self._name.rpartition("/")[2].removesuffix(".json")

    @override
    def read(self) -> bytes | None:
        found = self._bucket.get(self._name)
        return None if found is None else found.content

    @override
    def write(self, content: bytes) -> None:
        self._bucket.put(self._name, content)

    @override
    def remove(self) -> None:
        self._bucket.delete([self._name])


class _Upload(NamedTuple):
    """The name and the hash of a new object."""

    name: str
    hash: str


class _BucketStaged(Staged):
    """The new files of one partition on this machine, and the record that they replace."""

    def __init__(self, bucket: Bucket, partition: Partition, folder: Path, record: Object | None) -> None:
        """Set the paths of the files; `record` is the record as it is now."""
        super().__init__(partition, folder)
        self._bucket = bucket
        self._record = record

    @property
    @override
    def current(self) -> LedgerEntry | None:
        if self._record is None:
            return None
        return ledger.entry_of(self._record.content, self.partition, self._bucket.place(record_name(self.partition)))

    @property
    @override
    def current_quarantine(self) -> Path:
        path = self.folder / "quarantine.current"
        known = self._known()
        if known is not None and (name := names_of(known).quarantine) and not path.exists():
            self._bucket.download(name, path)
        return path

    @override
    def commit(self, entry: LedgerEntry) -> LedgerEntry:
        import pyarrow.parquet as pq  # noqa: PLC0415 — slow to import, and only commits need it

        known = self._known()
        rows = pq.read_metadata(self.data).num_rows if self.data.exists() else (known.bronze if known else 0)
        kept = (
            sum(1 for _ in quarantine.read(self.quarantine))
            if self.quarantine.exists()
            else (known.quarantined if known else 0)
        )
        check_counts(entry, rows, kept)
        entry = self._with_objects(entry, known)
        name = record_name(self.partition)
        self._bucket.commit(name, ledger.encode(entry), None if self._record is None else self._record.etag)
        _log.debug("partition replaced", extra={"path": entry.path})
        return entry

    def _known(self) -> LedgerEntry | None:
        try:
            return self.current
        except BronzeError:
            # a record that cannot be read is replaced
            return None

    def _with_objects(self, entry: LedgerEntry, known: LedgerEntry | None) -> LedgerEntry:
        """Write the objects, and return the record that names them."""
        before = names_of(known) if known else Objects()
        source, resource, day = self.partition
        if self.data.exists():
            data = self._upload(self.data, f"{source}/{resource}/dt={day}", ".parquet")
            entry = msgspec.structs.replace(
                entry, path=data.name, bytes=self.data.stat().st_size, content_hash=data.hash
            )
        rejected = _Upload(before.quarantine, known.quarantine_hash if known else "")
        if self.quarantine.exists() and entry.quarantined:
            rejected = self._upload(self.quarantine, f"_quarantine/{source}/{resource}/{day}", ".jsonl")
        elif not entry.quarantined:
            rejected = _Upload("", "")
        report = _Upload(before.report, known.report_hash if known else "")
        if self.report.exists():
            report = self._upload(self.report, f"_reports/{source}/{resource}/{day}", ".json")
        named = {entry.path, rejected.name, report.name}
        left = tuple(name for name in _objects(known) if name not in named) if known else ()
        now = dt.datetime.now(dt.UTC)
        oldest = now - dt.timedelta(days=settings().bronze_keep_days)
        earlier = tuple(one for one in before.earlier if one.replaced_at >= oldest)
        return msgspec.structs.replace(
            entry,
            quarantine_hash=rejected.hash,
            report_hash=report.hash,
            objects=Objects(rejected.name, report.name, (*earlier, Earlier(left, now)) if left else earlier),
        )

    def _upload(self, path: Path, folder: str, suffix: str) -> _Upload:
        """Write an object under a name that no process has used and none will use."""
        content_hash = hash_file(path)
        name = f"{folder}/{content_hash[:16]}-{secrets.token_hex(6)}{suffix}"
        self._bucket.put(name, path)
        return _Upload(name, content_hash)


def names_of(entry: LedgerEntry) -> Objects:
    """Return the names of a record's objects; none if a folder wrote the record."""
    return Objects() if isinstance(entry.objects, msgspec.UnsetType) else entry.objects


def _objects(entry: LedgerEntry) -> Sequence[str]:
    objects = names_of(entry)
    return [name for name in (entry.path, objects.quarantine, objects.report) if name]
