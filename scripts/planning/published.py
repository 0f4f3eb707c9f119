"""What the published version and the candidate hold, as input for the computation of what is due."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

from scripts.bronze import attempts
from scripts.bronze.documents import FileDocument
from scripts.bronze.stores import open_store
from scripts.config import settings
from scripts.errors import WarehouseError
from scripts.warehouse import candidate, spark_versions
from scripts.warehouse.build import warehouse
from scripts.warehouse.next_plan import held_partitions, plan_of_build
from scripts.warehouse.project import project_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.bronze.attempts import Attempt
    from scripts.bronze.ledger import LedgerEntry, Partition


class Published(NamedTuple):
    """What the published version holds, and what a build would change in it apart from partitions."""

    version: str | None
    held: Mapping[Partition, str]
    """The content hash of each partition that the tables hold."""
    reasons: Sequence[str] = ()
    """Why a build is due although no partition has changed."""
    awaits_gold: bool = False
    """Whether a candidate holds a complete Silver, and only Gold has to be built."""
    attempt: Attempt | None = None
    """The last build, if it failed."""
    fingerprint: str = ""
    """A hash of all inputs of a build; a build that failed with a terminal error is repeated when the hash changes."""


def read_published(ledger: Mapping[Partition, LedgerEntry]) -> Published:
    """Return what the published version and the candidate hold."""
    if settings().on_spark:
        return _read_on_spark(ledger)
    target = warehouse()
    version = target.current()
    held: Mapping[Partition, str] = {}
    reasons: list[str] = []
    if version is not None:
        try:
            held = held_partitions()
            plan = plan_of_build(open_store())
        except WarehouseError as error:
            reasons.append(f"the published version cannot be read: {error}")
        else:
            if plan is None:
                reasons.append("the dbt project has changed")
            elif not plan.is_empty and not plan.partitions:
                reasons.append("nodes or tests of the dbt project have changed")
    known = candidate.read(target)
    validated = candidate.digest(_valid(ledger))
    return Published(
        version,
        held,
        reasons,
        awaits_gold=known is not None and known.awaits_gold and known.validated_digest == validated,
        attempt=attempts.read(attempt_document()),
        fingerprint=fingerprint_of_build(ledger),
    )


def _read_on_spark(ledger: Mapping[Partition, LedgerEntry]) -> Published:
    found = spark_versions.published(warehouse())
    attempt, fingerprint = attempts.read(attempt_document()), fingerprint_of_build(ledger)
    if found is None:
        return Published(None, {}, attempt=attempt, fingerprint=fingerprint)
    reasons = [] if found.project == project_digest() else ["the dbt project has changed"]
    return Published(found.name, found.held, reasons, attempt=attempt, fingerprint=fingerprint)


def attempt_document() -> FileDocument:
    """Return the record of a failed build."""
    return FileDocument(warehouse().root / "attempt.json")


def _valid(ledger: Mapping[Partition, LedgerEntry]) -> Mapping[Partition, str]:
    return {partition: entry.content_state for partition, entry in ledger.items() if entry.status == "validated"}


def fingerprint_of_build(ledger: Mapping[Partition, LedgerEntry]) -> str:
    """Return a hash of all inputs of a build: the project and the validated partitions."""
    return hashlib.sha256(json.dumps([project_digest(), candidate.digest(_valid(ledger))]).encode()).hexdigest()
