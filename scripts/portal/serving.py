"""Which files of the portal a server may send: its pages, the parts of the SQL page, and Gold as Parquet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from scripts.config import PROJECT_DIR
from scripts.warehouse.build import warehouse
from scripts.warehouse.data_docs import docs_dir
from scripts.warehouse.gold_files import LIST, is_file_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PARTS = (PROJECT_DIR / "sql_page", PROJECT_DIR / "data" / "sql_page")
"""The folders of the parts of the SQL page: in the image, and of `make sql-page`."""
_PART = re.compile(r"\w[\w.-]*\.(js|wasm|txt)")
_VERSION = re.compile(r"current|\d{6,}")
_PAGE = re.compile(r"(index|sql)\.html|portal\.js|tables/[^/]+\.html")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
}


class Served(NamedTuple):
    """A file that may be sent."""

    path: Path
    media_type: str
    encoding: str = ""
    """The `Content-Encoding` of the file; empty for none."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the answer; a browser asks each time whether the file has changed."""
        encoding = {"Content-Encoding": self.encoding} if self.encoding else {}
        return {"Cache-Control": "no-cache", "Vary": "Accept-Encoding", **encoding}


def portal_page(name: str) -> Served | None:
    """Return a page of the portal by its path from the front page; None if there is none."""
    return _served(docs_dir() / name) if _PAGE.fullmatch(name) and ".." not in name else None


def sql_part(name: str, *, gzip: bool) -> Served | None:
    """Return a part of the SQL page; None if there is none, or `make sql-page` has not installed them.

    Args:
        name: The name of the file.
        gzip: The browser can read gzip.
    """
    if not _PART.fullmatch(name):
        return None
    for folder in _PARTS:
        if found := _served(folder / name):
            packed = folder / f"{name}.gz"
            return found._replace(path=packed, encoding="gzip") if gzip and packed.is_file() else found
    return None


def gold_file(version: str, name: str) -> Served | None:
    """Return a file of Gold of a kept version, or of the version `current`; None if there is none."""
    is_table = name.endswith(".parquet") and is_file_name(name)
    if not _VERSION.fullmatch(version) or not (is_table or name == LIST):
        return None
    return _served(warehouse().gold / version / name)


def _served(path: Path) -> Served | None:
    return Served(path, _TYPES[path.suffix]) if path.is_file() else None
