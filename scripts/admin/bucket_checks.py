"""The checks of the doctor about a bucket: access, the clock, and conditional writes."""

from __future__ import annotations

import datetime as dt
import secrets
from typing import TYPE_CHECKING, cast

from scripts.admin.check_result import CheckResult
from scripts.bronze.folder_store import FolderStore
from scripts.bronze.stores import open_store
from scripts.errors import LockedError, PipelineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.bronze.bucket_store import BucketStore
    from scripts.utils.buckets import Bucket

_PROBES = "_doctor"
_MOST_SKEW = dt.timedelta(minutes=2)
"""S3 refuses requests from fifteen minutes on."""


def examine_bucket() -> Sequence[CheckResult]:
    """Return the findings about the bucket of Bronze; none if Bronze is in a folder."""
    try:
        store = open_store()
        if isinstance(store, FolderStore):
            return []
        bucket = cast("BucketStore", store).bucket
        found = _access(bucket)
    except PipelineError as error:
        return [CheckResult("bucket", ok=False, found=error.what, fix=error.hint)]
    return [found, _clock(bucket), _conditions(bucket)]


def _access(bucket: Bucket) -> CheckResult:
    probe = f"{_PROBES}/{secrets.token_hex(6)}"
    content = probe.encode()
    bucket.put(probe, content)
    read = bucket.get(probe)
    listed = [found.name for found in bucket.list(_PROBES)]
    bucket.delete([probe])
    if read is None or read.content != content or probe not in listed:
        return CheckResult(
            "bucket",
            ok=False,
            found=f"{bucket.url} does not show an object right after it was written",
            fix="use a bucket with strong consistency, as S3 has",
        )
    if bucket.get(probe) is not None:
        return CheckResult(
            "bucket", ok=False, found=f"{bucket.url}: a removed object is still there", fix="allow to delete objects"
        )
    return CheckResult("bucket", ok=True, found=f"{bucket.url} can be listed, read, written and deleted from")


def _clock(bucket: Bucket) -> CheckResult:
    before = dt.datetime.now(dt.UTC)
    skew = bucket.now() - before
    return CheckResult(
        "bucket clock",
        ok=abs(skew) <= _MOST_SKEW,
        found=f"{abs(skew).total_seconds():.0f} s from the clock of this machine",
        fix="set the clock of this machine right (NTP): S3 refuses requests from fifteen minutes on",
    )


def _conditions(bucket: Bucket) -> CheckResult:
    probe = f"{_PROBES}/{secrets.token_hex(6)}"
    refused = []
    try:
        bucket.commit(probe, b"first", None)
        known = bucket.get(probe)
        for what, etag in (("create it again", None), ("replace what has changed", "0" * 32)):
            try:
                bucket.commit(probe, what.encode(), etag)
            except LockedError:
                refused.append(what)
        bucket.commit(probe, b"last", known.etag if known else None)
        last = bucket.get(probe)
    finally:
        bucket.delete([probe])
    is_right = len(refused) == 2 and last is not None and last.content == b"last"  # noqa: PLR2004 — the two above
    return CheckResult(
        "bucket conditions",
        ok=is_right,
        found="If-None-Match and If-Match are kept"
        if is_right
        else "conditional writes are not kept: two loads of one partition could overwrite each other",
        fix="use a store with conditional writes (S3, Google, Azure, MinIO, Ceph, SeaweedFS)",
    )
