"""Kill a piece of work with -9 before every instruction that touches a file, one after the other.

The work runs in a forked child, in which an audit hook counts openings, renames, removals, folders, links and locks
below a folder, and `os.fsync`; at the given count the child kills itself. The process that forks uses no threads.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import FileDescriptorLike

_EVENTS = frozenset(
    {
        "open",
        "os.rename",
        "os.remove",
        "os.mkdir",
        "os.rmdir",
        "os.symlink",
        "os.truncate",
        "os.chmod",
        "fcntl.flock",
        "shutil.rmtree",
        "subprocess.Popen",
    }
)


def die_at(count: int, *, tell: int | None = None) -> None:
    """From now on kill this process before instruction number `count`; with `tell`, note the number of each."""
    seen = 0

    def step() -> None:
        nonlocal seen
        seen += 1
        if tell is not None:
            os.write(tell, b".")
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _EVENTS:
            return
        if event == "open" and (
            not isinstance(arguments[0], (str, os.PathLike))
            or not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        ):
            return
        step()

    real = os.fsync

    def fsync(fd: FileDescriptorLike) -> None:
        step()
        real(fd)

    os.fsync = fsync
    sys.addaudithook(hook)


def in_child(work: Callable[[], None]) -> int:
    """Do the work in a forked child; returns its exit code, or minus the signal that ended it."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
