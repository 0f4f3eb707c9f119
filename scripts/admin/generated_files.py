"""Files that are generated from declarations and committed: dbt's sources and the page of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.admin.settings_page import PAGE, settings_page
from scripts.config import settings
from scripts.contracts import source_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def generated_files() -> Mapping[Path, str]:
    """Return the content of every generated file by its path."""
    return {**source_yaml.source_files(), PAGE: settings_page()}


def stale_files() -> list[Path]:
    """Return the generated files that differ from the catalog, and those of sources that it no longer has."""
    wanted = generated_files()
    different = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    folder = settings().dbt_dir / "models" / "staging"
    return different + [path for path in sorted(folder.glob("*/__*__sources.yml")) if path not in wanted]


def write_files() -> list[Path]:
    """Write the generated files that are stale, remove those that have no source, and return them."""
    stale, wanted = stale_files(), generated_files()
    for path in stale:
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path])
        else:
            path.unlink()
    return stale
