"""Projects of tests: a copy of the shipped one, and one without sources and models."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from scripts import config
from scripts.admin import new_source
from scripts.config import PROJECT_DIR
from scripts.contracts import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

DEMO_RESOURCE = {
    "description": "Rows.",
    "primary_key": ["id"],
    "columns": [
        {"name": "id", "type": "integer", "nullable": False, "description": "Key."},
        {"name": "g", "type": "integer", "description": "Group."},
        {"name": "n", "type": "integer", "description": "Number."},
    ],
}
"""A resource of a contract, without its path."""
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


def demo_contract(resource: Mapping[str, Any], **more: object) -> dict[str, Any]:
    """Return the contract of the source `demo`, whose resources `items` and `others` have the same columns."""
    return {
        "source": "demo",
        "description": "Rows of a test.",
        "owner": "me@example.com",
        "base_url_env": "DEMO_BASE_URL",
        "headers": {"X-Day": "{day}"},
        "default_resource": "items",
        "resources": {name: {**resource, "path": f"/{name}"} for name in ("items", "others")},
        **more,
    }
