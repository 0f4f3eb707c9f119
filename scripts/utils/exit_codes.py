"""A process of the pipeline: its logs, and its end as an exit code and one line on stderr."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from scripts.config import settings
from scripts.errors import PipelineError, UsageError, from_os_error
from scripts.utils.logging_config import setup_logging

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED = 130
NOBODY_READS = 141
"""What a shell makes of a program that the end of its reader ends, as in `pipeline status | head -1`."""


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
        start_logging()
        return _flushed(work() or 0)
    except PipelineError as error:
        return fail(error)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what was loaded stays; run the same command again\n")
        sys.stderr.flush()
        # threads may be waiting for a source; whatever they are at, the next run finishes or clears it
        os._exit(INTERRUPTED)
    except BrokenPipeError:
        # what is still to be written would fail again when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    except OSError as error:
        return fail(from_os_error(error))


def _flushed(code: int) -> int:
    # here, where an error is a line; when Python ends it would be a traceback
    sys.stdout.flush()
    return code


def fail(error: PipelineError) -> int:
    """Write an error as one line, and return its exit code."""
    sys.stderr.write(f"error: {error}\n")
    return error.exit_code
