"""The doctor's checks of the warehouse: the published file, its build record, the history, damaged versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.admin.check_result import CheckResult
from scripts.warehouse import history
from scripts.warehouse.build import warehouse
from scripts.warehouse.database import find_damage

if TYPE_CHECKING:
    from collections.abc import Sequence

_REBUILD = "`pipeline build --full-refresh` rebuilds it from Bronze; or `pipeline rollback`"


def published_file(*, deep: bool) -> CheckResult:
    """Check that the published file can be opened; with `deep`, that every block in use can be read."""
    target = warehouse()
    version = target.current()
    if version is None:
        return CheckResult("warehouse", ok=True, found="nothing is published yet")
    damage = find_damage(target.file(version), deep=deep)
    how = "read" if deep else "opened"
    found = f"version {version} can be {how}" if damage is None else f"version {version} cannot be read: {damage}"
    return CheckResult("warehouse", ok=damage is None, found=found, fix=_REBUILD)


def build_record() -> CheckResult:
    """Check that the build record of the published version can be read."""
    target = warehouse()
    version = target.current()
    if version is None or history.about(target, version) is not None:
        return CheckResult("build record", ok=True, found="readable" if version else "none yet")
    path = target.builds / version / "build.json"
    return CheckResult("build record", ok=False, found=f"cannot be read: {path}", fix=_REBUILD)


def publications() -> CheckResult:
    """Check that all lines of the history can be read."""
    target = warehouse()
    lines = history.damaged_lines(target)
    path = target.root / "history.jsonl"
    return CheckResult(
        "history",
        ok=not lines,
        found=f"{len(history.read(target, last=None))} publications"
        if not lines
        else f"{path}: line {_in_words(lines)} cannot be read",
        fix=f"`sed -i '{';'.join(f'{number}d' for number in lines)}' {path}`;"
        " the next build writes the lines of the versions that are kept",
    )


def versions_set_aside() -> CheckResult:
    """Report damaged versions that were set aside."""
    aside = sorted(path.name for path in warehouse().builds.glob("damaged-*"))
    found = f"{', '.join(aside)} in {warehouse().builds}, to examine or remove" if aside else "none"
    return CheckResult("damaged versions", ok=True, found=found)


def _in_words(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
