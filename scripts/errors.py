"""Error classes: one for each kind of error that a person or an entry point handles differently.

The class alone decides about retries: a `TransientError` is retried, a `TerminalError` is not.
Each class has its own process exit code, so that a script can branch on it.
"""

from __future__ import annotations

import contextlib
import errno
import re
from typing import TYPE_CHECKING

from scripts.security.outside_text import LONGEST_MESSAGE, cut, one_line
from scripts.security.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHORTEST_WHAT = 200


class PipelineError(Exception):
    """An error with a message for a person; secrets in it are masked when it is created.

    Args:
        what: What is wrong: the value that was received or found.
        where: The source, resource, day, file or variable in which it was found.
        expected: What was expected instead.
        hint: What to do next.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", expected: str = "", hint: str = "") -> None:
        """Keep the parts, so that an entry point can show them separately."""
        self.what = what = redact(what)
        super().__init__(what)
        self.where = redact(where)
        self.expected = redact(expected)
        self.hint = hint

    def __str__(self) -> str:
        """Return the whole message on one line; if it is too long, `what` is shortened, and the hint stays."""
        before = f"{self.where}: " if self.where else ""
        after = f"; expected {self.expected}" if self.expected else ""
        if self.hint:
            after += f" (next: {self.hint})"
        before, what, after = (one_line(re.sub(r"\s+", " ", part)) for part in (before, self.what.strip(), after))
        return one_line(before + cut(what, max(LONGEST_MESSAGE - len(before) - len(after), _SHORTEST_WHAT)) + after)


@contextlib.contextmanager
def naming_partition(place: object) -> Iterator[None]:
    """Add a place, such as a partition, to every `PipelineError` of the block whose message does not name it."""
    try:
        yield
    except PipelineError as error:
        if str(place) not in str(error):
            error.where = f"{place}: {error.where}" if error.where else str(place)
        raise


class UnexpectedError(PipelineError):
    """An exception that no code expected: a bug of the pipeline."""


class TerminalError(PipelineError):
    """Trying again gives the same result: a person has to change something first."""


class TransientError(PipelineError):
    """Trying again later may succeed."""


class UsageError(TerminalError):
    """The request itself is wrong: a date that does not exist, a reversed range, an unknown name."""

    exit_code = 2


class SettingsError(TerminalError):
    """An environment variable has an invalid value."""

    exit_code = 3


class ContractError(TerminalError):
    """A file of the source catalog is wrong."""

    exit_code = 4


class SourceUnavailableError(TransientError):
    """The source gave no usable answer after all retries."""

    exit_code = 5


class SourceRejectedError(TerminalError):
    """The source refused the request, or its answer does not have the shape that the contract declares."""

    exit_code = 6


class DataError(TerminalError):
    """The data breaks a rule of severity `fail`, or the row accounting does not add up."""

    exit_code = 7


class BronzeError(TerminalError):
    """A file in the Bronze folder does not match the ledger."""

    exit_code = 8


class WarehouseError(TerminalError):
    """A build failed; the published version has not changed."""

    exit_code = 9


class LockedError(TransientError):
    """Another process held the lock for longer than this process may wait."""

    exit_code = 10


class KilledError(TransientError):
    """A process that the work needs was killed, for example by the kernel when memory ran out."""

    exit_code = 14


class StorageError(TerminalError):
    """A folder or file cannot be written or read."""

    exit_code = 11


class StorageFullError(StorageError):
    """The disk is full."""

    exit_code = 12


class StorageUnavailableError(TransientError):
    """The bucket gave no usable answer after all retries."""

    exit_code = 15


class MemoryLimitError(TerminalError):
    """The work needs more memory than the process may use."""

    exit_code = 13


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def from_os_error(error: OSError, *, where: str = "") -> StorageError | MemoryLimitError:
    """Return the error that explains an `OSError` to a person in one line."""
    place = str(error.filename or where)
    if error.errno == errno.ENOMEM:
        return out_of_memory(error)
    if error.errno in _FULL:
        return StorageFullError(
            "no space left on the disk",
            where=place,
            hint="free space or point DATA_DIR to a larger disk, then retry; nothing was lost",
        )
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return StorageError(
            f"cannot be written or read ({error.strerror})",
            where=place,
            expected="a folder that this user can write to",
            hint="correct its owner or mode, or set DATA_DIR to another folder; `pipeline doctor` checks it",
        )
    return StorageError(f"{error.strerror or error}", where=place, hint="`pipeline doctor` checks the data folder")


def out_of_memory(error: BaseException | str) -> MemoryLimitError:
    """Return the error that says in one line that memory ran out."""
    return MemoryLimitError(
        f"memory ran out: {str(error) or type(error).__name__}",
        hint="raise the limit of the process (`ulimit -v`, or of its container), then retry; nothing was lost",
    )
