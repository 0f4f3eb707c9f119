"""Logs: one JSON object a line on stderr, with the run, source, resource and day of the work at hand."""

from __future__ import annotations

import contextlib
import contextvars
import datetime as dt
import logging
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO

from pythonjsonlogger.json import JsonFormatter
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

_context: contextvars.ContextVar[dict[str, str] | None] = contextvars.ContextVar("log_context", default=None)
_secrets: set[str] = set()
_URL_CREDENTIALS = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_SHORTEST_SECRET = 4
_MASK = "***"


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


def register_secret(value: str) -> None:
    """Mask a value in every line from now on."""
    if len(value) >= _SHORTEST_SECRET:
        _secrets.add(value)


def redact(text: str) -> str:
    """Return the text with registered secrets, URL credentials and authorization headers masked."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return _BEARER.sub(rf"\1 {_MASK}", _URL_CREDENTIALS.sub(_MASK, text))


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

    @override
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _TextFormatter(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        where = " ".join((_context.get() or {}).get(key, "") for key in ("source", "resource", "day")).split()
        place = f"[{' '.join(where)}] " if where else ""
        line = f"{_utc(record)[11:19]} {record.levelname:<7} {place}{record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return redact(line)


def _utc(record: logging.LogRecord) -> str:
    moment = dt.datetime.fromtimestamp(record.created, tz=dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
