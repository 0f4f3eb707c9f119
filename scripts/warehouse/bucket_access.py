"""How DuckDB reads Bronze in a bucket: a file system that only reads, so that no extension and no network is needed.

DuckDB still asks the list of allowed folders (`file_access`), so models read nothing else of the bucket.
"""

from __future__ import annotations

import fnmatch
import json
import re
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from scripts.config import bucket_variables

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    import duckdb
    from fsspec import AbstractFileSystem

_WILD = re.compile(r"[*?\[]")


def register_bucket(
    connection: duckdb.DuckDBPyConnection, location: str, names: Mapping[str, str] | None = None
) -> None:
    """Let a connection read the bucket of a URL; a folder changes nothing.

    Args:
        connection: The connection.
        location: The folder or the URL of Bronze.
        names: The variables that connect to the bucket; by default, those of the environment and `.env`.
    """
    if "://" not in location:
        return
    protocol = location.partition("://")[0]
    if connection.filesystem_is_registered(protocol):
        return
    connection.register_filesystem(_file_system(location, bucket_variables() if names is None else names))


def connection_for_dbt(location: str) -> str:
    """Return the variables that connect to a bucket as JSON, for the one variable that hides them from models."""
    return json.dumps(bucket_variables()) if "://" in location else ""


def _file_system(location: str, names: Mapping[str, str]) -> AbstractFileSystem:
    from obstore.fsspec import BufferedFile, FsspecStore  # noqa: PLC0415 — a folder needs no client

    from scripts.utils.buckets import connection  # noqa: PLC0415

    sizes: dict[str, dict[str, Any]] = {}

    class ReadOnly(FsspecStore):
        """The objects of a bucket, of which none can be written or removed."""

        @override
        async def _info(self, path: str, **options: Any) -> dict[str, Any]:
            # DuckDB asks for each file several times, and none of them changes while dbt runs
            if path not in sizes or not path.endswith(".parquet"):
                sizes[path] = await super()._info(path, **options)
            return sizes[path]

        @override
        def _open(self, path: str, mode: str = "rb", *rest: Any, **options: Any) -> BufferedFile:
            if mode != "rb":
                message = f"{path} is in the bucket of Bronze, which models only read"
                raise PermissionError(message)
            return super()._open(path, mode, *rest, **options)

        @override
        def modified(self, path: str) -> dt.datetime:
            changed: dt.datetime = self.info(path)["last_modified"]
            return changed

        @override
        async def _rm_file(self, path: str, **options: Any) -> None:
            message = f"{path} is in the bucket of Bronze, which models only read"
            raise PermissionError(message)

        @override
        def glob(self, path: str, **options: Any) -> Sequence[str]:
            """Return the objects that match a pattern; a name without wildcards costs one request, or none."""
            bucket, name = self._split_path(path)
            fixed = _WILD.split(name, maxsplit=1)[0]
            if fixed == name:
                return [path] if self.exists(path) else []
            store = self._construct_store(bucket)
            found = (one["path"] for page in store.list(fixed.rpartition("/")[0]) for one in page)
            depth = name.count("/")
            return [
                f"{bucket}/{one}" for one in sorted(found) if one.count("/") == depth and fnmatch.fnmatchcase(one, name)
            ]

    protocol: Any = location.partition("://")[0]
    return ReadOnly(protocol, **connection(location, names))
