"""Which store keeps Bronze: a folder, or a bucket if the location is a URL."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bronze.folder_store import FolderStore
from scripts.config import settings

if TYPE_CHECKING:
    from scripts.bronze.store import Store


def open_store(location: str | Path | None = None) -> Store:
    """Return the store of a folder or of a URL such as `s3://bucket/prefix`; by default, the one of the settings."""
    place = str(location or settings().bronze_location)
    if "://" not in place:
        return FolderStore(Path(place))
    from scripts.bronze.bucket_store import BucketStore  # noqa: PLC0415 — one machine with a folder needs no client

    return BucketStore(place, settings().data_dir / "bucket")
