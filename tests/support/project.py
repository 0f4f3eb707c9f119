"""Projects of tests: a copy of the shipped one, and one without sources and models."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from scripts import config
from scripts.admin import new_source
from scripts.config import PROJECT_DIR
from scripts.contracts import catalog

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

_WRITTEN_BY_DBT = shutil.ignore_patterns("target", "logs", "dbt_packages", "data")


def copy_dbt(folder: Path) -> Path:
    """Copy this project's dbt project to `folder`, without what dbt wrote; return the copy."""
    return shutil.copytree(PROJECT_DIR / "dbt", folder / "dbt", ignore=_WRITTEN_BY_DBT)


def copy_project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `folder` the project, with a copy of this one's dbt project; return the copy."""
    copied = copy_dbt(folder)
    monkeypatch.setattr(config, "PROJECT_DIR", folder)
    return copied


def empty_project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `folder` the project, with the macros, generic tests and profile of this one; return it."""
    for name in ("dbt/macros", "dbt/tests"):
        shutil.copytree(PROJECT_DIR / name, folder / name)
    for name in ("dbt/dbt_project.yml", "dbt/profiles.yml", ".env.example"):
        shutil.copy2(PROJECT_DIR / name, folder / name)
    (folder / "sources").mkdir()
    monkeypatch.setattr(config, "PROJECT_DIR", folder)
    monkeypatch.setattr(new_source, "PROJECT_DIR", folder)
    monkeypatch.setattr(catalog, "SOURCES_DIR", folder / "sources")
    return folder
