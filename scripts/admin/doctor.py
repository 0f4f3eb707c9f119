"""The doctor: the problems of this installation, and how to fix them."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.admin import generated_files, warehouse_checks
from scripts.admin.bucket_checks import examine_bucket
from scripts.admin.check_result import CheckResult
from scripts.admin.spark_checks import examine_spark
from scripts.bronze.store import verify
from scripts.bronze.stores import open_store
from scripts.config import settings
from scripts.contracts import catalog
from scripts.errors import PipelineError
from scripts.monitoring import overdue
from scripts.planning.reconcile import examine as examine_due
from scripts.utils.files import is_locked, lock_holder
from scripts.warehouse.build import warehouse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LEAST_FREE_BYTES = 1 << 30
_LEAST_FREE_FOR_LOADS_BYTES = 1 << 26
_SHOWN = 80
"""Characters of a problem that `pipeline health` shows whole."""


def examine(*, deep: bool = False) -> Sequence[CheckResult]:
    """Return the finding of every check; a check that cannot run is a finding too.

    Args:
        deep: Also read every block of the published warehouse.
    """
    checks: Sequence[Callable[[], CheckResult]] = (
        _python,
        _settings,
        _catalog,
        _data_folder,
        _free_space,
        _ledger,
        _staging,
        _builder,
        functools.partial(warehouse_checks.published_file, deep=deep),
        warehouse_checks.build_record,
        warehouse_checks.publications,
        warehouse_checks.versions_set_aside,
        _due,
    )
    return [*map(_guarded, checks), *examine_bucket(), *examine_spark()]


def _guarded(check: Callable[[], CheckResult]) -> CheckResult:
    try:
        return check()
    except PipelineError as error:
        return CheckResult(_name(check), ok=False, found=error.what, fix=error.hint)
    except OSError as error:
        return CheckResult(_name(check), ok=False, found=str(error), fix="fix the folder")


def _name(check: Callable[[], CheckResult]) -> str:
    function = check.func if isinstance(check, functools.partial) else check
    return str(function.__name__).strip("_").replace("_", " ")


def _python() -> CheckResult:
    version = ".".join(map(str, sys.version_info[:3]))
    duckdb = importlib.metadata.version("duckdb")
    wanted = next(
        (
            requirement.removeprefix("duckdb==").split(";")[0].strip()
            for requirement in importlib.metadata.requires("data-pipeline") or ()
            if requirement.startswith("duckdb==")
        ),
        duckdb,
    )
    return CheckResult(
        "versions",
        ok=duckdb == wanted,
        found=f"Python {version}, duckdb {duckdb}, dbt {importlib.metadata.version('dbt-core')}",
        fix=f"the project needs duckdb {wanted}: `uv sync --locked`",
    )


def _settings() -> CheckResult:
    config = settings()
    return CheckResult("settings", ok=True, found=f"data {config.data_dir}, warehouse {config.warehouse_path}")


def _catalog() -> CheckResult:
    sources, broken = catalog.read_all()
    if broken:
        named = "; ".join(map(str, broken.values()))
        return CheckResult("catalog", ok=False, found=named, fix="correct the file, then `pipeline sources check`")
    stale = generated_files.stale_files(generated_files.generated_files())
    return CheckResult(
        "catalog",
        ok=not stale,
        found=f"{len(sources)} sources" if not stale else f"{len(stale)} generated files are out of date",
        fix="`pipeline sources generate`",
    )


def _due() -> CheckResult:
    due = examine_due(open_store())
    problems = overdue.problems_since_first_load(catalog.read_all(), due)
    found = "every day that can be loaded is loaded and published" if due.ledger else "nothing is loaded yet"
    if problems:
        found = f"{len(problems)} problems, which `pipeline health` lists; the first: {problems[0].text[:_SHOWN]}"
    # the data is late, and the installation is right
    return CheckResult("due", ok=True, found=found)


def _data_folder() -> CheckResult:
    folder = settings().data_dir
    existing = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        owner = existing.stat().st_uid
        return CheckResult(
            "data folder",
            ok=False,
            found=f"{existing} cannot be written: {error.strerror} (owner {owner}, this user {os.getuid()})",
            fix=f"`sudo chown -R {os.getuid()} {existing}`, mount it writable, or set DATA_DIR to another folder",
        )
    return CheckResult("data folder", ok=True, found=f"{folder} can be written")


def _free_space() -> CheckResult:
    data, location = _existing(settings().data_dir), settings().bronze_location
    # loads into a bucket prepare their files in DATA_DIR
    bronze = data if "://" in location else _existing(Path(location))
    free, free_for_loads = shutil.disk_usage(data).free, shutil.disk_usage(bronze).free
    published = warehouse().path
    needed = max(_LEAST_FREE_BYTES, 2 * published.stat().st_size if published.exists() else 0)
    found = f"{free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB wanted for a build"
    if bronze.stat().st_dev != data.stat().st_dev:
        wanted = f"{_LEAST_FREE_FOR_LOADS_BYTES / 1e9:.1f} GB wanted for loads"
        found += f"; {free_for_loads / 1e9:.1f} GB free on the disk of Bronze, {wanted}"
    return CheckResult(
        "free space",
        ok=free >= needed and free_for_loads >= _LEAST_FREE_FOR_LOADS_BYTES,
        found=found,
        fix="free space, or set DATA_DIR (or BRONZE_DIR) to a folder on a larger disk",
    )


def _ledger() -> CheckResult:
    store = open_store()
    with store.index() as index:
        entries, problems = list(index.entries()), index.problems()
    if problems:
        shown = "; ".join(f"{problem.where}: {problem.what}" for problem in problems[:3])
        return CheckResult("ledger", ok=False, found=shown, fix="; ".join(problem.hint for problem in problems[:3]))
    is_present = store.presence()
    for entry in entries:
        entry.check()
        if not is_present(entry):
            verify(store, entry, content=False)
    strangers = store.foreign_files({entry.path for entry in entries})
    return CheckResult(
        "ledger",
        ok=not strangers,
        found=(f"{len(entries)} partitions" if entries else "nothing is loaded yet")
        if not strangers
        else f"files that belong to no partition: {', '.join(strangers[:3])}",
        fix=store.foreign_files_hint(strangers) if strangers else "",
    )


def _staging() -> CheckResult:
    left = open_store().left_behind()
    return CheckResult("killed loads", ok=True, found=f"{len(left)}; the next run completes them" if left else "none")


def _builder() -> CheckResult:
    target = warehouse()
    busy = is_locked(target.lock)
    return CheckResult("builder", ok=True, found=f"busy: {lock_holder(target.lock)}" if busy else "no build is running")


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
