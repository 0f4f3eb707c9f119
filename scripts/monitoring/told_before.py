"""What messages have told before: JSON files in `alerts` of `DATA_DIR`, so that the next message tells what is new."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from scripts.config import settings
from scripts.utils.files import make_dir, write_atomically
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_log = get_logger("digest")
T = TypeVar("T")


def read(name: str, kind: type[T]) -> Mapping[str, T]:
    """Return what a file says, by the name of each problem; nothing if there is no such file or it cannot be read."""
    try:
        return msgspec.json.decode(_file(name).read_bytes(), type=dict[str, kind])  # type: ignore[valid-type]
    except (FileNotFoundError, ValueError, msgspec.DecodeError):
        return {}


def keep(name: str, told: Mapping[str, object]) -> None:
    """Replace a file; if it cannot be written, the next message tells the same again."""
    try:
        make_dir(_file(name).parent)
        write_atomically(_file(name), msgspec.json.format(msgspec.json.encode(told)))
    except OSError as error:
        _log.warning("%s may be told twice: %s", name, error)


def _file(name: str) -> Path:
    return settings().data_dir / "alerts" / f"{name}.json"
