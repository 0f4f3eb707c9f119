"""The result of a build."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.bronze.ledger import Partition
    from scripts.warehouse.runner import NodeResult


class BuildResult(NamedTuple):
    """What a build did."""

    version: str | None
    """The published version; None if the build published nothing: it ended after Silver, or had nothing to do."""
    partitions: Sequence[Partition]
    """The partitions that it processed, or on Spark those for which the build of Gold is due."""
    results: Sequence[NodeResult]
    """The result of each node and test that ran."""
    seconds: float
    dropped: Sequence[str] = ()
    """Tables and views that the version no longer has."""

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to do."""
        return self.version is None and not self.results and not self.partitions
