"""Files of dbt models that are generated from contracts, until a person takes over a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.config import settings
from scripts.contracts.mart_model import mart_name, mart_sql, mart_yaml
from scripts.contracts.staging_model import staging_name, staging_sql, staging_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from scripts.contracts.source import Source

MARK = (
    "Made by `pipeline sources generate` from scripts/sources/{name}.yml; delete this line to make the file your own."
)


def model_files(source: Source, resources: Iterable[str]) -> Mapping[Path, str]:
    """Return the staging models and the starting marts of some resources, each with its YAML, by path."""
    models = settings().dbt_dir / "models"
    mark = MARK.format(name=source.source)
    files: dict[Path, str] = {}
    for name in resources:
        resource = source.resources[name]
        asked = (source.source, name)
        staging = models / "staging" / source.source / staging_name(*asked)
        mart = models / "marts" / mart_name(*asked)
        for model, sql, yaml in (
            (staging, staging_sql(*asked, resource), staging_yaml(*asked, resource)),
            (mart, mart_sql(*asked, resource), mart_yaml(*asked, resource)),
        ):
            files[model.with_name(f"{model.name}.sql")] = f"-- {mark}\n{sql}"
            files[model.with_name(f"{model.name}.yml")] = f"# {mark}\n{yaml}"
    return files


def generated_models(source: Source) -> Mapping[Path, str]:
    """Return the existing model files of a source whose first line says that they are generated."""
    mark = MARK.format(name=source.source)
    return {path: text for path, text in model_files(source, source.resources).items() if _is_generated(path, mark)}


def _is_generated(path: Path, mark: str) -> bool:
    if not path.exists():
        return False
    with path.open(encoding="utf-8") as file:
        return mark in file.readline()
