"""Reads the dbt project: dbt compiles it if a file has changed; otherwise the stored result is read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from scripts.config import settings
from scripts.utils.files import write_atomically
from scripts.utils.logging_config import get_logger
from scripts.warehouse import kept_manifest
from scripts.warehouse.kept_manifest import KeptManifest
from scripts.warehouse.manifest import read_project
from scripts.warehouse.project import Project, project_digest
from scripts.warehouse.pseudonyms import key_id
from scripts.warehouse.refusals import check_project
from scripts.warehouse.runner import DbtFailedError, run_dbt, target_dir

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scripts.warehouse.versions import Warehouse

_log = get_logger("dbt")
_LEAVES_OUT_TESTS = ("NoNodeForYamlKey", "NodeNotFoundOrDisabled", "WrongResourceSchemaFile")
"""Warnings by which dbt says that it leaves out tests or models of the project."""


def last_project(target: Warehouse) -> Project | None:
    """Return the project as dbt last compiled it; None if it never has."""
    try:
        return msgspec.json.decode(_file(target).read_bytes(), type=Project)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def known_project(target: Warehouse) -> Project | None:
    """Return the project if it has not changed since dbt compiled it; None if dbt has to compile it."""
    found = last_project(target)
    return found if found is not None and found.digest == project_digest() else None


def project_to_build(target: Warehouse) -> Project | None:
    """Return the project if neither it nor the key of pseudonyms has changed since dbt compiled it."""
    found = known_project(target)
    return found if found is not None and found.pseudonym_key in {"", key_id()} else None


def read_manifest(target: Warehouse) -> tuple[KeptManifest, bool]:
    """Return what is kept of dbt's manifest, and whether the published version was made from it.

    A version that an earlier release of the pipeline published keeps none: the result is then of the project as dbt
    last compiled it.
    """
    version = target.current()
    if version is not None:
        if (kept := kept_manifest.read(target, version)) is not None:
            return kept, True
        _log.debug("version %s keeps no manifest", version)
    project = last_project(target)
    return msgspec.json.decode(project.kept, type=KeptManifest) if project is not None else KeptManifest(), False


def ask_dbt(target: Warehouse, bronze: str, *, inherit: Sequence[int]) -> Project:
    """Let dbt compile the project as for a full refresh, check it, and return it.

    Raises:
        DbtFailedError: dbt cannot parse or compile it.
        WarehouseError: The project has a node that later builds could not keep equal to a full refresh.
    """
    digest = project_digest()
    _log.info("the dbt project has changed since the last build: dbt compiles it")
    command = ["compile", "--full-refresh", "--no-partial-parse", "--no-use-colors"]
    command += ["--warn-error-options", json.dumps({"error": list(_LEAVES_OUT_TESTS)})]
    try:
        run_dbt(command, target, bronze, mode="fingerprint", inherit=inherit)
    except DbtFailedError as error:
        if not error.results or any("Compilation Error" in result.message for result in error.results):
            raise
        # SQL that queries the database at compile time may find no table yet: its fingerprint is then its source code
        _log.debug("dbt compiled with errors: %s", error)
    manifest = json.loads((target_dir(target) / "manifest.json").read_text())
    check_project(manifest)
    project = msgspec.structs.replace(
        read_project(manifest, digest, settings().dbt_dir), kept=msgspec.Raw(kept_manifest.keep(manifest))
    )
    write_atomically(_file(target), msgspec.json.encode(project))
    return project


def _file(target: Warehouse) -> Path:
    return target_dir(target) / "project.json"
