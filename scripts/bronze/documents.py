"""Documents: small pieces of JSON that are read and replaced as a whole, in a folder or in a bucket."""

from __future__ import annotations

import abc
import contextlib
from typing import TYPE_CHECKING

from typing_extensions import override

from scripts.config import settings
from scripts.utils.files import locked, make_dir, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FILE_MODE = 0o640


class Document(abc.ABC):
    """One document; each reader finds its old content or its new one."""

    @property
    @abc.abstractmethod
    def place(self) -> str:
        """Its path or URL, for messages."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The last part of its place, without `.json`."""

    @abc.abstractmethod
    def read(self) -> bytes | None:
        """Return the content; None if there is no document."""

    @abc.abstractmethod
    def write(self, content: bytes) -> None:
        """Create or replace it."""

    @abc.abstractmethod
    def remove(self) -> None:
        """Remove it if it is there."""

    @contextlib.contextmanager
    def changing(self, purpose: str) -> Iterator[None]:
        """Let no other process change it during the block, where processes can lock; in a bucket, the last one wins."""
        del purpose
        yield


class FileDocument(Document):
    """A document in a file."""

    def __init__(self, path: Path) -> None:
        """Name the file."""
        self.path = path

    @property
    @override
    def place(self) -> str:
        return str(self.path)

    @property
    @override
    def name(self) -> str:
        return self.path.stem

    @override
    def read(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    @override
    def write(self, content: bytes) -> None:
        make_dir(self.path.parent)
        write_atomically(self.path, content, mode=_FILE_MODE)

    @override
    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    @override
    @contextlib.contextmanager
    def changing(self, purpose: str) -> Iterator[None]:
        with locked(self.path.with_suffix(".lock"), purpose=purpose, timeout=settings().lock_timeout):
            yield
