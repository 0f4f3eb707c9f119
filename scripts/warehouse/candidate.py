"""The candidate: the record of the private copy that a build works on, and whether a build can resume it.

The record is in the folder of the copy, as `builds/.next/candidate.json`, until the copy is published.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

import msgspec

from scripts.bronze.ledger import Partition
from scripts.utils.files import write_atomically
from scripts.warehouse.runner import NodeResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scripts.warehouse.versions import Warehouse

Layer = Literal["all", "silver", "gold"]
State = Literal["building", "failed", "built"]


class Candidate(msgspec.Struct, frozen=True):
    """A build that is running, has failed, or waits for its next layer."""

    build_id: str
    base: str | None
    """The published version that it is a copy of; None for an empty warehouse."""
    layer: Layer
    """The layer that is being built, or was built last."""
    state: State
    full_tests: bool = False
    """Its tests run over all rows."""
    results: tuple[NodeResult, ...] = ()
    """The result of each node and test."""
    dropped: tuple[str, ...] = ()
    """Tables and views that it no longer has."""
    partitions: tuple[Partition, ...] = ()
    """The partitions that builds have processed since it was copied."""
    validated_digest: str = ""
    """The `digest` of the validated partitions that it was built from; empty until it is built."""

    @property
    def awaits_gold(self) -> bool:
        """Whether Silver is complete in it, and Gold can be built on it."""
        return (self.layer, self.state) == ("silver", "built")


def digest(validated: Mapping[Partition, str]) -> str:
    """Return a hash of partitions and the hashes of their contents.

    The candidate's record holds it, so that readers need not open the candidate's file: their lock would stop the
    build.
    """
    content = sorted((str(partition), content) for partition, content in validated.items())
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


def read(target: Warehouse) -> Candidate | None:
    """Return the record of the candidate; None if there is no candidate, or its base is no longer published."""
    try:
        found = msgspec.json.decode(_file(target).read_bytes(), type=Candidate)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if found.base == target.current() and target.build_path.exists() else None


def write(target: Warehouse, candidate: Candidate) -> None:
    """Write the record of the candidate."""
    write_atomically(_file(target), msgspec.json.encode(candidate))


def forget(target: Warehouse) -> None:
    """Delete the record, before the candidate is published."""
    _file(target).unlink(missing_ok=True)


def can_go_on(known: Candidate | None, layer: Layer, *, retry: bool) -> bool:
    """Return whether a build resumes the candidate instead of copying the published version.

    The file records the state of each node, so the build rebuilds every node whose inputs have changed since.
    """
    if known is None or known.state == "building":
        return False
    return retry if known.state == "failed" else layer != "all" and known.layer == "silver"


def merged(before: Sequence[NodeResult], now: Sequence[NodeResult]) -> Sequence[NodeResult]:
    """Return the results of a resumed build, together with the earlier results of the nodes that it did not repeat."""
    repeated = {(result.kind, result.id) for result in now}
    return [*(result for result in before if (result.kind, result.id) not in repeated), *now]


def _file(target: Warehouse) -> Path:
    return target.workspace / "candidate.json"
