"""The candidate: what is known of the private copy of the warehouse that a build works on, and whether it can go on.

The record lies beside the copy, in `builds/.next/candidate.json`, until the copy is published.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Literal

import msgspec

from scripts.config import settings
from scripts.errors import WarehouseError
from scripts.utils.files import write_atomically
from scripts.warehouse import build_state
from scripts.warehouse.runner import BAD_STATUSES, NodeResult, target_dir
from scripts.warehouse.versions import reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from scripts.bronze.store import Store
    from scripts.warehouse.versions import Warehouse

Layer = Literal["all", "silver", "gold"]
State = Literal["building", "failed", "built"]


class Candidate(msgspec.Struct, frozen=True):
    """A build under way, ended in a failure, or waiting for its next layer."""

    build_id: str
    base: str | None
    """The published version that it is a copy of; None for an empty warehouse."""
    layer: Layer
    """The layer that is being made, or was made last."""
    state: State
    full_refresh: bool
    project: dict[str, str]
    """The SQL and YAML files of the dbt project that it is made with, and their hashes."""
    results: tuple[NodeResult, ...] = ()
    """How each model and test of the layer ended."""

    @property
    def holds_silver(self) -> bool:
        """Whether Silver is complete in it."""
        return self.layer == "gold" or (self.layer == "silver" and self.state == "built")

    def awaits_gold(self, project: Mapping[str, str]) -> bool:
        """Return whether Gold can be built on it with the project as it is now."""
        return (self.layer, self.state) == ("silver", "built") and hash_of(self.project) == hash_of(project)


def read(target: Warehouse) -> Candidate | None:
    """Return the record of the candidate; None where there is no candidate, or its base is not published any more."""
    try:
        found = msgspec.json.decode(_file(target).read_bytes(), type=Candidate)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return found if found.base == target.current() and target.build_path.exists() else None


def write(target: Warehouse, candidate: Candidate) -> None:
    """Keep the record of the candidate."""
    write_atomically(_file(target), msgspec.json.encode(candidate))


def forget(target: Warehouse) -> None:
    """Take the record away: the candidate is about to be published."""
    _file(target).unlink(missing_ok=True)


def is_up_to_date(target: Warehouse, store: Store, known: Candidate | None, project: Mapping[str, str]) -> bool:
    """Return whether Silver holds all that the ledger does: in the candidate, or in the published version."""
    try:
        if known is not None and known.holds_silver and hash_of(known.project) == hash_of(project):
            with reading(target.build_path) as connection:
                if build_state.holds_ledger(connection, store, built=False):
                    return True
        if target.current() is None:
            return False
        with reading(target.path) as connection:
            return not build_state.models_changed(connection, hash_of(project)) and build_state.holds_ledger(
                connection, store, built=True
            )
    except WarehouseError:
        # what cannot be read is built again
        return False


def can_retry(target: Warehouse, store: Store, known: Candidate | None, project: Mapping[str, str]) -> bool:
    """Return whether `dbt retry` can go on from the nodes of the candidate that failed.

    It can while the ledger is what it was, and no file has changed but those of models that are yet to be made.
    """
    if known is None or known.state != "failed" or all(result.status not in BAD_STATUSES for result in known.results):
        return False
    changed = {path for path in {*known.project, *project} if known.project.get(path) != project.get(path)}
    if changed - set(_files_to_make(target, known.results)):
        return False
    with reading(target.build_path) as connection:
        return build_state.holds_ledger(connection, store, built=False)


def merged(before: Sequence[NodeResult], now: Sequence[NodeResult]) -> Sequence[NodeResult]:
    """Return the results of a retry together with those of the nodes that it did not have to repeat."""
    repeated = {(result.kind, result.name) for result in now}
    return [*(result for result in before if (result.kind, result.name) not in repeated), *now]


def project_files() -> dict[str, str]:
    """Return a hash of every SQL and YAML file of the dbt project, by its path in it."""
    root = settings().dbt_dir
    folders = ("models", "snapshots", "macros", "tests")
    paths = [path for folder in folders for suffix in ("sql", "yml") for path in (root / folder).rglob(f"*.{suffix}")]
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(paths)}


def hash_of(project: Mapping[str, str]) -> str:
    """Return a hash of the SQL that makes tables: the tests and descriptions may change without making them anew."""
    made = {path: digest for path, digest in project.items() if path.endswith(".sql") and path[:5] != "tests"}
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()


def _files_to_make(target: Warehouse, results: Iterable[NodeResult]) -> Iterable[str]:
    manifest = json.loads((target_dir(target) / "manifest.json").read_text())
    names = {result.name for result in results if result.status in BAD_STATUSES or result.status == "skipped"}
    return [
        node["original_file_path"]
        for node in manifest["nodes"].values()
        if node["name"] in names and node["resource_type"] == "model"
    ]


def _file(target: Warehouse) -> Path:
    return target.workspace / "candidate.json"
