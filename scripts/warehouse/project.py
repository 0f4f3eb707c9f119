"""The dbt project as data for a build: its nodes and tests with their fingerprints, read from dbt's manifest."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from scripts.config import settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Layer = Literal["silver", "gold"]

_FORMAT = "3"
"""Change it when the contents of a `Project` change: dbt then compiles the project again in the next build."""
_NOT_THE_PROJECT = {"target", "logs", ".user.yml"}
"""What dbt itself writes to the folder of the project."""
_ENV_VAR = re.compile(r"""env_var\(\s*['"]([^'"]+)['"]""")
_SET_BY_US = {
    "WAREHOUSE_BUILD",
    "WAREHOUSE_FILES",
    "BRONZE_DIR",
    "DUCKDB_MEMORY_LIMIT",
    "DUCKDB_THREADS",
    "DUCKDB_TEMP_DIR",
    "DUCKDB_ALLOWED_DIRS",
    "DBT_ENV_SECRET_PSEUDONYM_KEY",
    "DBT_ENV_SECRET_BUCKET",
    "PIPELINE_DBT_MODE",
    "SPARK_HOST",
    "SPARK_PORT",
    "SPARK_VERSION",
    "SPARK_BRONZE_URL",
    "SPARK_WAREHOUSE",
}


class Node(msgspec.Struct, frozen=True):
    """A model, seed, snapshot or function that dbt builds. An ephemeral model is part of the models that read it."""

    id: str
    """dbt's `unique_id`."""
    name: str
    kind: str
    materialized: str
    schema: str
    identifier: str
    path: str
    """The file in the dbt project."""
    selector: str
    """Its name in dbt's `--select`."""
    fingerprint: str
    layer: Layer = "silver"
    parents: tuple[str, ...] = ()
    """The nodes that it reads, directly or through ephemeral models."""
    resources: tuple[tuple[str, str], ...] = ()
    """The Bronze resources that it reads: source and name."""
    unique_key: tuple[str, ...] = ()
    strategy: str = ""
    """The incremental strategy that records its changed rows; empty for nodes that each change rebuilds in full."""
    why_full: str = ""
    """Why each change rebuilds it in full; empty if it can be built incrementally."""
    affected_by: tuple[str, ...] = ()
    """The parents whose changed rows determine which keys change in it."""
    keeps_history: bool = False
    """It holds rows that cannot be computed from Bronze: a dbt snapshot, or a model with `full_refresh: false`."""
    reads_last_seen: bool = False
    """Its SQL names the column `last_seen_date`."""
    expected_rows_sql: str | None = None
    expected_rows_reason: str | None = None

    @property
    def relation(self) -> str:
        """The table or view, quoted."""
        return f'"{self.schema}"."{self.identifier}"'

    @property
    def has_relation(self) -> bool:
        """Whether it is a table or view."""
        return self.kind != "function"


class Test(msgspec.Struct, frozen=True):
    """A data test."""

    id: str
    name: str
    selector: str
    fingerprint: str
    path: str
    layer: Layer = "silver"
    parents: tuple[str, ...] = ()
    node: str | None = None
    """The node over whose changed rows the test may run; None for tests that always need all rows."""
    always: bool = False
    """It reads something other than nodes, so it runs in every build."""


class Project(msgspec.Struct, frozen=True):
    """All nodes, each after those that it reads, and all tests."""

    digest: str
    nodes: dict[str, Node]
    tests: dict[str, Test]
    pseudonym_key: str = ""
    """The id of the key that the fingerprints depend on; empty if no node reads pseudonyms."""
    kept: msgspec.Raw = msgspec.Raw(b"{}")
    """What a version keeps of dbt's manifest, as JSON; see `kept_manifest`."""

    def bronze_below(self, node: str) -> set[str]:
        """Return the resources of Bronze (`source/resource`) that a node reads, directly or by other nodes."""
        found = {"/".join(resource) for resource in self.nodes[node].resources}
        return found.union(*(self.bronze_below(parent) for parent in self.nodes[node].parents if parent in self.nodes))

    def readers(self) -> Iterable[tuple[str, str, str]]:
        """Yield each node that reads Bronze, with the source and the resource."""
        for node in self.nodes.values():
            for source, resource in node.resources:
                yield node.id, source, resource


def project_digest() -> str:
    """Return a hash of everything that determines the manifest: files, packages, variables, target and versions.

    As long as the hash is the same, the nodes and their fingerprints are the same, and dbt need not compile them.
    """
    found = hashlib.sha256(_FORMAT.encode())
    names: set[str] = set()
    root = settings().dbt_dir
    for path in _files(root):
        content = path.read_bytes()
        names |= set(_ENV_VAR.findall(content.decode(errors="replace")))
        found.update(f"\0{path.relative_to(root).as_posix()}\0{hashlib.sha256(content).hexdigest()}".encode())
    for name in sorted((names | _dbt_variables(os.environ)) - _SET_BY_US):
        found.update(f"\0{name}={os.environ.get(name)}".encode())
    found.update(f"\0{settings().dbt_target}".encode())
    for package in ("dbt-core", "dbt-adapters", "dbt-duckdb", "duckdb"):
        found.update(f"\0{package}={importlib.metadata.version(package)}".encode())
    return found.hexdigest()


def named_variables() -> set[str]:
    """Return the environment variables that files of the dbt project read."""
    return {name for path in _files(settings().dbt_dir) for name in _ENV_VAR.findall(path.read_text(errors="replace"))}


def _dbt_variables(environ: Mapping[str, str]) -> set[str]:
    return {name for name in environ if name.startswith("DBT_ENV_")}


def _files(root: Path) -> Iterable[Path]:
    seen: set[str] = set()
    # dbt installs a package of this machine as a link to its folder
    for folder, folders, names in os.walk(root, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(real)
        written = _NOT_THE_PROJECT if Path(folder) == root else set()
        folders[:] = sorted({*folders} - written - {"__pycache__"})
        for name in sorted({*names} - written):
            yield Path(folder, name)
