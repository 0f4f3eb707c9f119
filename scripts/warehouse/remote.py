"""The published warehouse in a bucket: each version is an object of its own, and a pointer names the published one.

The pointer is replaced by one conditional request, so that readers find the old version or the new one as a whole.
"""

from __future__ import annotations

import datetime as dt
import secrets
from typing import TYPE_CHECKING

import msgspec

from scripts.config import bucket_variables, settings
from scripts.errors import UsageError, WarehouseError
from scripts.utils.files import hash_file, make_dir, storage_errors
from scripts.utils.logging_config import get_logger
from scripts.warehouse import gold_files, history

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.utils.buckets import Bucket, Listed
    from scripts.warehouse.versions import Warehouse

_log = get_logger("publish")
POINTER = "current.json"
_VERSIONS = "versions"
_AGE = dt.timedelta(days=1)
"""Readers that have the address of a replaced version get a day to read it."""


class Pointer(msgspec.Struct, frozen=True):
    """The published version in a bucket."""

    version: str
    run_id: str
    path: str
    """The file, relative to the URL."""
    bytes: int
    sha256: str
    published_at: dt.datetime
    gold: dict[str, str] = {}
    """The Parquet file of each table of Gold that has one, relative to the URL."""


def publish_to_bucket(target: Warehouse) -> None:
    """Publish the current version below `WAREHOUSE_URL` too, unless it is there; without the setting, do nothing.

    Raises:
        StorageUnavailableError: The bucket does not answer; the next build publishes the version there.
        LockedError: Another machine has published in the meantime.
    """
    url, version = settings().warehouse_url, target.current()
    if url is None or version is None:
        return
    bucket = _bucket(url)
    found = bucket.get(POINTER)
    known = _decode(found.content, bucket) if found else None
    run_id = str((history.about(target, version) or {}).get("run_id", ""))
    if known is not None and (known.version, known.run_id) == (version, run_id):
        return
    file = target.file(version)
    name = f"{version}-{secrets.token_hex(6)}"
    path = f"{_VERSIONS}/{name}/{file.name}"
    bucket.put(path, file)
    folder = target.gold_of(version)
    tables = [table.table for table in gold_files.read(folder).tables if not table.why_missing]
    gold = {table: f"{_VERSIONS}/{name}/gold/{table}.parquet" for table in tables}
    for table in tables:
        bucket.put(gold[table], gold_files.file_of(folder, table))
    now = dt.datetime.now(dt.UTC)
    pointer = Pointer(version, run_id, path, file.stat().st_size, hash_file(file), now, gold)
    bucket.commit(POINTER, msgspec.json.format(msgspec.json.encode(pointer)) + b"\n", found.etag if found else None)
    _log.info("published version %s to %s", version, bucket.place(path))
    _prune(bucket, name)


def fetch(path: Path) -> Pointer | None:
    """Write the version that `WAREHOUSE_URL` names to a file; readers of the file find the old version or the new one.

    Returns:
        The version, or None if the file holds it already.

    Raises:
        UsageError: `WAREHOUSE_URL` is not set.
        WarehouseError: Nothing is published there, or what arrived is not what was published.
    """
    if (url := settings().warehouse_url) is None:
        raise UsageError("WAREHOUSE_URL is not set", hint="set it to a bucket, such as s3://bucket/warehouse")
    bucket = _bucket(url)
    if (found := bucket.get(POINTER)) is None:
        raise WarehouseError("no version is published there", where=url, hint="`pipeline build` with WAREHOUSE_URL set")
    pointer = _decode(found.content, bucket)
    with storage_errors(path):
        if path.exists() and path.stat().st_size == pointer.bytes and hash_file(path) == pointer.sha256:
            return None
        make_dir(path.parent)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            if not bucket.download(pointer.path, temporary) or hash_file(temporary) != pointer.sha256:
                raise WarehouseError(
                    f"version {pointer.version} is not there as it was published",
                    where=bucket.place(pointer.path),
                    expected=f"a file with SHA-256 {pointer.sha256[:12]}…",
                    hint="run the same command again; if it stays so, `pipeline build` publishes a new version",
                )
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return pointer


def _bucket(url: str) -> Bucket:
    from scripts.utils.buckets import Bucket  # noqa: PLC0415 — one machine needs no client

    return Bucket(url, bucket_variables())


def _decode(content: bytes, bucket: Bucket) -> Pointer:
    try:
        return msgspec.json.decode(content, type=Pointer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WarehouseError(
            f"the pointer cannot be read: {error}",
            where=bucket.place(POINTER),
            hint="remove the object; the next build writes it again",
        ) from None


def _prune(bucket: Bucket, current: str) -> None:
    """Remove versions beyond those that are kept on this machine too, but none that was published within a day."""
    versions: dict[str, list[Listed]] = {}
    for found in bucket.list(_VERSIONS):
        versions.setdefault(found.name.split("/")[1], []).append(found)
    newest = {name: max(found.modified for found in files) for name, files in versions.items()}
    last = max(newest.values())
    others = [name for name in versions if name != current]
    # a bucket dates objects in seconds: of those of one second, the higher number is the newer one
    others.sort(key=lambda name: (newest[name], name), reverse=True)
    for name in others[settings().warehouse_keep_versions - 1 :]:
        if last - newest[name] > _AGE:
            bucket.delete(found.name for found in versions[name])
