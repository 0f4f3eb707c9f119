"""A process of the pipeline: its logs, and its end as an exit code and one line on stderr."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from scripts.config import settings
from scripts.errors import PipelineError, from_os_error
from scripts.utils.logging_config import setup_logging

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED = 130


def start_logging() -> None:
    """Log as the settings say: text on a terminal, JSON lines elsewhere, on stderr."""
    config = settings()
    text = config.log_format == "text" or (config.log_format == "auto" and sys.stderr.isatty())
    setup_logging("pipeline", config.log_level, text=text)


def run_to_exit_code(work: Callable[[], int | None]) -> int:
    """Do the work, and return the exit code; an error that a person can cause is one line on stderr."""
    try:
        start_logging()
        return work() or 0
    except PipelineError as error:
        return fail(error)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what was loaded stays; run the same command again\n")
        sys.stderr.flush()
        # threads may be waiting for a source; whatever they are at, the next run finishes or clears it
        os._exit(INTERRUPTED)
    except BrokenPipeError:
        return 0
    except OSError as error:
        return fail(from_os_error(error))


def fail(error: PipelineError) -> int:
    """Write an error as one line, and return its exit code."""
    sys.stderr.write(f"error: {error}\n")
    return error.exit_code
