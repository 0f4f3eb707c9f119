"""The candidate: what is known of the private copy of the warehouse that a build works on, and whether it can go on.

The record lies beside the copy, in `builds/.next/candidate.json`, until the copy is published.
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
    """A build under way, ended in a failure, or waiting for its next layer."""

    build_id: str
    base: str | None
    """The published version that it is a copy of; None for an empty warehouse."""
    layer: Layer
    """The layer that is being made, or was made last."""
    state: State
    full_tests: bool = False
    """Its tests run over all rows."""
    results: tuple[NodeResult, ...] = ()
    """How each node and test ended."""
    dropped: tuple[str, ...] = ()
    """Tables and views that it does not have any more."""
    partitions: tuple[Partition, ...] = ()
    """Partitions that were brought into it since it was copied."""
    validated_digest: str = ""
    """Of the validated partitions that it was built from, once it is built; see `digest`."""

    @property
    def awaits_gold(self) -> bool:
        """Whether Silver is complete in it, and Gold can be built on it."""
        return (self.layer, self.state) == ("silver", "built")


def digest(validated: Mapping[Partition, str]) -> str:
    """Return a hash of partitions and the hashes of their contents.

    It is kept with the candidate, whose file nobody opens but the build: a reader's lock would stop the build.
    """
    content = sorted((str(partition), content) for partition, content in validated.items())
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


def read(target: Warehouse) -> Candidate | None:
    """Return the record of the candidate; None where there is no candidate, or its base is not published any more."""
    try:
        found = msgspec.json.decode(_file(target).read_bytes(), type=Candidate)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if found.base == target.current() and target.build_path.exists() else None


def write(target: Warehouse, candidate: Candidate) -> None:
    """Keep the record of the candidate."""
    write_atomically(_file(target), msgspec.json.encode(candidate))


def forget(target: Warehouse) -> None:
    """Take the record away: the candidate is about to be published."""
    _file(target).unlink(missing_ok=True)


def can_go_on(known: Candidate | None, layer: Layer, *, retry: bool) -> bool:
    """Return whether a build works on the candidate that is there, instead of on a new copy of what is published.

    What it holds is known node by node: what has changed since is made again, whatever it is.
    """
    if known is None or known.state == "building":
        return False
    return retry if known.state == "failed" else layer != "all" and known.layer == "silver"


def merged(before: Sequence[NodeResult], now: Sequence[NodeResult]) -> Sequence[NodeResult]:
    """Return the results of a build that went on together with those of the nodes that it did not have to repeat."""
    repeated = {(result.kind, result.id) for result in now}
    return [*(result for result in before if (result.kind, result.id) not in repeated), *now]


def _file(target: Warehouse) -> Path:
    return target.workspace / "candidate.json"
