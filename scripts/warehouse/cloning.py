"""Copies of a database file that write as little as the file system allows.

A file system with reflinks shares the blocks. On other file systems, the copy reuses a retired file and writes only the
blocks that differ. It compares contents and not DuckDB's checksums of its blocks: a checksum does not change when two
values of a block change places.
"""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

_FICLONE = 0x40049409
_READ_BYTES = 1 << 20
_WRITE_BYTES = 1 << 14
_LOCAL_FILE_SYSTEMS = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})
"""File systems whose files only this machine's kernel opens, so that it knows every reader."""


def share(source: Path, target: Path) -> bool:
    """Make `target` a new file that shares the blocks of `source`; return False if the file system cannot."""
    with source.open("rb") as original, target.open("wb") as copy:
        try:
            fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
        except OSError:
            pass
        else:
            return True
    target.unlink()
    return False


def copy(source: Path, target: Path) -> int:
    """Make `target` equal to `source` and write only what differs; if there is no `target`, write all of it.

    Returns the number of bytes written. A copy that was interrupted can be started again.
    """
    written = 0
    handle = os.open(target, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with source.open("rb", buffering=0) as original:
            offset = 0
            while piece := original.read(_READ_BYTES):
                written += _write_difference(handle, piece, offset)
                offset += len(piece)
        os.ftruncate(handle, offset)
    finally:
        os.close(handle)
    return written


def is_unused(path: Path) -> bool:
    """Return whether it is certain that no process has the file open, and that it has no second hard link."""
    if not hasattr(fcntl, "F_SETLEASE") or _file_system(path) not in _LOCAL_FILE_SYSTEMS:
        return False
    handle = os.open(path, os.O_RDWR)
    try:
        # the kernel grants a write lease only if there is no other descriptor of the file
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return os.fstat(handle).st_nlink == 1
    except OSError:
        return False
    finally:
        os.close(handle)


def _write_difference(handle: int, piece: bytes, offset: int) -> int:
    held = os.pread(handle, len(piece), offset)
    if held == piece:
        return 0
    written = 0
    for start in range(0, len(piece), _WRITE_BYTES):
        part = piece[start : start + _WRITE_BYTES]
        if held[start : start + _WRITE_BYTES] != part:
            written += _write_all(handle, part, offset + start)
    return written


def _write_all(handle: int, part: bytes, offset: int) -> int:
    done = 0
    while done < len(part):
        done += os.pwrite(handle, part[done:], offset + done)
    return done


def _file_system(path: Path) -> str:
    """Return the kernel's name for the type of the file system that holds a file; empty if the kernel gives none."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found = [line.partition(" - ")[2].split()[0] for line in lines if line.split()[2] == wanted]
    return found[-1] if found else ""
