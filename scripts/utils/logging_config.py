"""Logs: one JSON object a line on stderr, with the run, source, resource and day of the current work."""

from __future__ import annotations

import contextlib
import contextvars
import datetime as dt
import logging
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, TextIO

from pythonjsonlogger.json import JsonFormatter
from typing_extensions import override

from scripts.security.outside_text import lines, one_line
from scripts.security.redaction import redact, without_secrets

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator

_context: contextvars.ContextVar[dict[str, str] | None] = contextvars.ContextVar("log_context", default=None)
_LONGEST_VALUE = 1_000_000
"""A longer value is shortened. Prefect's page shows shorter lines; the log of its worker has them whole."""


def setup_logging(
    name: str, level: str | int = "INFO", *, stream: TextIO | None = None, text: bool = False
) -> logging.Logger:
    """Return the logger `name`, writing each record once as one JSON object a line.

    Every line has `timestamp` (UTC, ISO 8601), `level`, `logger`, `message`, `module`, `function`, `line`, every
    `extra`, the context of `log_context`, and `exception` where there is one. Secrets are masked. Calling it again
    replaces the handler instead of adding one.

    Args:
        name: The logger's name; its children inherit the handler.
        level: The lowest level that is written.
        stream: Where to write; stderr by default.
        text: Write for a person at a terminal instead of JSON.
    """
    mask_every_log()
    logger = logging.getLogger(name)
    for handler in [handler for handler in logger.handlers if isinstance(handler, _PipelineHandler)]:
        logger.removeHandler(handler)
    handler = _PipelineHandler(stream)
    handler.setFormatter(_TextFormatter() if text else _UtcJsonFormatter())
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    return logger


def get_logger(name: str) -> logging.Logger:
    """Return a logger below the pipeline's own, which the entry point that started the process configures."""
    return logging.getLogger(f"pipeline.{name}")


@contextlib.contextmanager
def log_context(**values: object) -> Iterator[None]:
    """Add values to every line that is logged inside the block, in this thread or task."""
    token = _context.set({**(_context.get() or {}), **{key: str(value) for key, value in values.items()}})
    try:
        yield
    finally:
        _context.reset(token)


def mask_every_log() -> None:
    """Mask secrets in every record of every logger, for all handlers.

    The tracebacks of uncaught exceptions are masked too, in all threads.
    """
    if logging.getLogRecordFactory() is not _MaskedRecord:
        logging.setLogRecordFactory(_MaskedRecord)
        sys.excepthook = _show_uncaught
        threading.excepthook = _show_uncaught_of_thread


class _MaskedRecord(logging.LogRecord):
    """A record whose message and exception hold no secret."""

    def __init__(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401 — the arguments of logging
        super().__init__(*arguments, **more)
        if self.exc_info and self.exc_info[1] is not None:
            self.exc_text = _traceback(self.exc_info[1])
            error = without_secrets(self.exc_info[1])
            self.exc_info = (type(error), error, self.exc_info[2])
        if self.stack_info:
            self.stack_info = redact(self.stack_info)

    @override
    def getMessage(self) -> str:
        return redact(super().getMessage())


def _traceback(error: BaseException) -> str:
    return redact("".join(traceback.format_exception(error)).rstrip())


def _show_uncaught(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        sys.stderr.write(_traceback(error.with_traceback(trace)) + "\n")


def _show_uncaught_of_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None and not issubclass(found.exc_type, SystemExit):
        _show_uncaught(found.exc_type, found.exc_value, found.exc_traceback)


class _PipelineHandler(logging.StreamHandler[TextIO]):
    """Marks the handlers of `setup_logging`, and follows `sys.stderr` when no stream is given."""

    def __init__(self, stream: TextIO | None) -> None:
        self._fixed = stream is not None
        super().__init__(stream)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if not self._fixed:
            self.stream = sys.stderr
        super().emit(record)


class _UtcJsonFormatter(JsonFormatter):
    def __init__(self) -> None:
        super().__init__(
            "{levelname}{name}{message}{module}{funcName}{lineno}{exc_info}",
            style="{",
            rename_fields={
                "levelname": "level",
                "name": "logger",
                "funcName": "function",
                "lineno": "line",
                "exc_info": "exception",
            },
            rename_fields_keep_missing=False,
        )

    @override
    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data["timestamp"] = _utc(record)
        super().add_fields(log_data, record, message_dict)
        if log_data.get("exception") is None:
            log_data.pop("exception", None)
        log_data.update({key: value for key, value in (_context.get() or {}).items() if key not in log_data})
        for key, value in log_data.items():
            if isinstance(value, str):
                log_data[key] = lines(value, longest=_LONGEST_VALUE)

    @override
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _TextFormatter(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        where = " ".join((_context.get() or {}).get(key, "") for key in ("source", "resource", "day")).split()
        place = one_line(f"[{' '.join(where)}] ") if where else ""
        message = one_line(record.getMessage(), longest=_LONGEST_VALUE)
        line = f"{_utc(record)[11:19]} {record.levelname:<7} {place}{message}"
        if record.exc_info:
            # indented, so that no text of an error looks like a line of the log
            trace = lines(record.exc_text or self.formatException(record.exc_info), longest=_LONGEST_VALUE)
            line += "".join(f"\n    {part}" for part in trace.split("\n"))
        return line


def _utc(record: logging.LogRecord) -> str:
    moment = dt.datetime.fromtimestamp(record.created, tz=dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
