"""Damage to a file: one bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def flip(path: Path, at: float | None = None, mask: int = 0x80) -> None:
    """Flip bits of one byte: at a position, or at a share of the file, such as 0.5 or 1.0; in the middle by default."""
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    place = len(content) // 2 if at is None else at if isinstance(at, int) else int((len(content) - 1) * at)
    content[place] ^= mask
    path.write_bytes(content)
