"""Files that are generated from declarations and committed to git: dbt's sources and the reference pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.admin import contract_page, settings_page
from scripts.config import settings
from scripts.contracts import source_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def generated_files() -> Mapping[Path, str]:
    """Return the content of every generated file by its path, except the page of the command line."""
    return {
        **source_yaml.source_files(),
        settings_page.PAGE: settings_page.settings_page(),
        contract_page.PAGE: contract_page.contract_page(),
    }


def stale_files(wanted: Mapping[Path, str]) -> list[Path]:
    """Return the files that differ from the wanted content, and files of sources that the catalog no longer has."""
    different = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    folder = settings().dbt_dir / "models" / "staging"
    return different + [path for path in sorted(folder.glob("*/__*__sources.yml")) if path not in wanted]


def write_files(wanted: Mapping[Path, str]) -> list[Path]:
    """Write the stale files, remove those whose source does not exist, and return all of them."""
    stale = stale_files(wanted)
    for path in stale:
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path])
        else:
            path.unlink()
    return stale
