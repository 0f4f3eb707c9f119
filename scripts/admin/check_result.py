"""The finding of one check of the doctor."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """One check, what it found, and the fix where it is not well."""

    check: str
    ok: bool
    found: str
    fix: str = ""
