"""Start and end of a process of the pipeline: logging, exit code, and errors as one line on stderr."""

from __future__ import annotations

import os
import resource
import sys
from typing import TYPE_CHECKING

from scripts.config import settings
from scripts.errors import MemoryLimitError, PipelineError, UsageError, from_os_error, out_of_memory
from scripts.utils.logging_config import setup_logging

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED = 130
NOBODY_READS = 141
"""Exit code of a program whose reader has closed the pipe, as in `pipeline status | head -1`."""
_LEAST_ADDRESS_SPACE = 2_000_000_000
"""Libraries reserve far more memory than they use; with less, some fail to load or abort the process."""


def start_logging() -> None:
    """Log as the settings say: text on a terminal, JSON lines elsewhere, on stderr."""
    config = settings()
    text = config.log_format == "text" or (config.log_format == "auto" and sys.stderr.isatty())
    setup_logging("pipeline", config.log_level, text=text)


def run_to_exit_code(work: Callable[[], int | None]) -> int:
    """Do the work, and return the exit code; an error that a person can cause is one line on stderr."""
    try:
        if sys.stdout is None:
            raise UsageError("stdout is closed", hint="send it to a file or to /dev/null instead")
        _check_memory()
        start_logging()
        return _flushed(work() or 0)
    except PipelineError as error:
        return fail(error)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: loaded partitions stay; run the same command again\n")
        sys.stderr.flush()
        # threads may still wait for a source; the next run completes or removes their loads
        os._exit(INTERRUPTED)
    except BrokenPipeError:
        # otherwise, Python would try to write the remaining output at exit, and fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    except OSError as error:
        return fail(from_os_error(error))
    except MemoryError as error:
        return fail(out_of_memory(error))
    except ImportError as error:
        # the messages of the dynamic loader if memory runs out
        if not any(words in str(error) for words in ("failed to map segment", "annot allocate memory")):
            raise
        return fail(out_of_memory(error))


def _check_memory() -> None:
    """Refuse a memory limit at which libraries abort the process, since an abort cannot be caught."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit not in {resource.RLIM_INFINITY, -1} and limit < _LEAST_ADDRESS_SPACE:
        raise MemoryLimitError(
            f"the address space is limited to {limit // 1_000_000} MB",
            where="ulimit -v",
            expected=f"at least {_LEAST_ADDRESS_SPACE // 1_000_000} MB",
            hint="`ulimit -v unlimited`; limit a container's memory instead; nothing was lost",
        )


def _flushed(code: int) -> int:
    # an error here is reported as one line; at the exit of Python it would be a traceback
    sys.stdout.flush()
    return code


def fail(error: PipelineError) -> int:
    """Write an error as one line, and return its exit code."""
    sys.stderr.write(f"error: {error}\n")
    return error.exit_code
