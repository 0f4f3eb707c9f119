"""The finding of one check of the doctor."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """One check, what it found, and the fix if it found a problem."""

    check: str
    ok: bool
    found: str
    fix: str = ""
