"""A clock that a test moves: the modules that read the present moment read it instead."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib
import types
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec

from scripts.bronze import attempts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CLOCKED = (
    "scripts.ingest_api",
    "scripts.validate_data",
    "scripts.bronze.attempts",
    "scripts.loading.breaker",
    "scripts.loading.replay",
    "scripts.planning.reconcile",
)
# msgspec looks up the types of a record when it is first used, and keeps them: it must not find the clock of a test
msgspec.inspect.type_info(attempts.Attempt)


@contextlib.contextmanager
def clocked(now: Callable[[], dt.datetime]) -> Iterator[None]:
    """Let the modules that plan and load read `now` in the block."""

    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:  # noqa: ARG003 — always UTC here
            return now()

    module = types.SimpleNamespace(**{**vars(dt), "datetime": Clock})
    with contextlib.ExitStack() as stack:
        for name in _CLOCKED:
            if hasattr(importlib.import_module(name), "dt"):
                stack.enter_context(mock.patch(f"{name}.dt", module))
        yield
