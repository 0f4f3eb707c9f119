"""Files that are generated from declarations and committed: dbt's sources and the pages of the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.admin import contract_page, settings_page
from scripts.config import settings
from scripts.contracts import source_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def generated_files() -> Mapping[Path, str]:
    """Return the content of every generated file by its path, without the page of the command line."""
    return {
        **source_yaml.source_files(),
        settings_page.PAGE: settings_page.settings_page(),
        contract_page.PAGE: contract_page.contract_page(),
    }


def stale_files(wanted: Mapping[Path, str]) -> list[Path]:
    """Return the files that differ from what is wanted, and those of sources that the catalog no longer has."""
    different = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    folder = settings().dbt_dir / "models" / "staging"
    return different + [path for path in sorted(folder.glob("*/__*__sources.yml")) if path not in wanted]


def write_files(wanted: Mapping[Path, str]) -> list[Path]:
    """Write the files that are stale, remove those that have no source, and return them."""
    stale = stale_files(wanted)
    for path in stale:
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path])
        else:
            path.unlink()
    return stale
