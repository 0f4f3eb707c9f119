"""Files: atomic writes, and locks that the operating system releases when a process ends."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import time
import uuid
from typing import TYPE_CHECKING

from scripts.errors import LockedError, from_os_error
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_log = get_logger("storage")
_POLL_SECONDS = 0.1


def write_atomically(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write a file so that every reader, also after a crash, finds the old content or the new one.

    The file is created with `mode`, without the bits of the umask. If threads, processes and containers write the same
    file at the same time, the complete content of one of them remains.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")  # process ids repeat in containers and threads
    try:
        with open(temporary, "xb", opener=functools.partial(os.open, mode=mode)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_dir(path.parent)


def sync_file(path: Path, *, mode: int | None = None) -> None:
    """Write the file's content to the disk; with `mode`, set the mode of the file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        if mode is not None:
            os.fchmod(handle, mode)
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_dir(path: Path) -> None:
    """Write the folder's entries (creations, renames, removals) to the disk."""
    sync_file(path)


def make_dir(path: Path) -> None:
    """Create a folder and its parents, for owner and group only; each new entry is on the disk when this returns."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o750, exist_ok=True)
        sync_dir(folder.parent)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def storage_errors(where: object = "") -> Iterator[None]:
    """Turn every `OSError` of the block into a `StorageError` that says what to do."""
    try:
        yield
    except OSError as error:
        raise from_os_error(error, where=str(where)) from error


@contextlib.contextmanager
def locked(path: Path, *, purpose: str, timeout: float, keep_file: bool = True) -> Iterator[int]:
    """Hold an exclusive lock for the block; yields its descriptor, which a child process may inherit.

    The operating system releases the lock when its last holder ends. A process that waits logs who holds the lock.
    Without `keep_file` the lock's file is removed at the end.

    Raises:
        LockedError: Another process held it for all of `timeout` seconds.
    """
    make_dir(path.parent)
    handle = _acquire(path, purpose, timeout)
    try:
        holder = {"pid": os.getpid(), "purpose": purpose, "since_epoch_s": round(time.time(), 3)}
        os.truncate(handle, 0)
        os.pwrite(handle, json.dumps(holder).encode(), 0)
        yield handle
    finally:
        if not keep_file:
            path.unlink(missing_ok=True)
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock now."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def lock_holder(path: Path) -> str:
    """Return a description of the process that holds a lock."""
    return _in_words(_holder(path))


def _in_words(content: bytes) -> str:
    try:
        holder = json.loads(content)
        return f"{holder['purpose']} (process {holder['pid']}, for {time.time() - holder['since_epoch_s']:.0f} s)"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _acquire(path: Path, purpose: str, timeout: float) -> int:
    deadline = time.monotonic() + timeout
    told = b""  # empty: the holder has not written its name yet, but is about to
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
        else:
            if _is_current(handle, path):
                return handle
            os.close(handle)
            continue
        if time.monotonic() >= deadline:
            raise LockedError(
                f"{purpose} waited {timeout:g} s for {lock_holder(path)}",
                where=str(path),
                hint="let it finish or stop it, then retry",
            )
        if (holder := _holder(path)) != told:
            _log.info("waiting for %s", _in_words(holder), extra={"lock": str(path)})
            told = holder
        time.sleep(_POLL_SECONDS)


def _holder(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _is_current(handle: int, path: Path) -> bool:
    # the previous holder may have removed the file when it released the lock
    try:
        return os.fstat(handle).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False
