"""What is due, and why: a pure function of contracts, ledger, published version, failed attempts and clock."""

from __future__ import annotations

import collections
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from scripts.bronze.ledger import LedgerEntry, Partition
from scripts.contracts.load import SnapshotLoad
from scripts.planning.calendar import complete_at, expected_days, last_complete_day
from scripts.utils.days import is_ahead

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from scripts.bronze.attempts import Attempt
    from scripts.contracts.catalog import Catalog
    from scripts.contracts.source import Source
    from scripts.planning.published import Published

_T = TypeVar("_T")
State = Literal["loaded", "missing", "failed", "not validated", "provisional", "outdated"]
"""The state of a partition by the ledger.

`provisional`: it was loaded before its day was complete, or its record is dated in the future because a clock was
wrong. `outdated`: it was loaded with another version of its contract.
"""


class Planned(NamedTuple):
    """A partition of a request, and its state."""

    partition: Partition
    state: State


class Work(NamedTuple):
    """A partition that has to be loaded or validated."""

    partition: Partition
    state: State
    step: Literal["load", "validate"]
    """The step that it needs."""
    waits_for: str
    """What has to happen first; empty if the step can be done now."""
    attempt: Attempt | None = None
    """The last failed attempt; None if none has failed since the last success."""


class UnderWay(NamedTuple):
    """What processes are doing at one moment."""

    sources: frozenset[str] = frozenset()
    """The sources of which a process loads or validates a partition."""
    build: bool = False
    """Whether a process builds."""


class BuildDue(NamedTuple):
    """Whether a build is due, and why."""

    partitions: Sequence[Partition]
    """Validated partitions whose present content the published version does not hold, and those that it holds although
    they were removed, or were loaded again with rows that break a rule."""
    reasons: Sequence[str]
    """Why a build is due; empty if no build is due."""
    waits_for: str
    """What has to happen first; empty if the build can run now."""
    awaits_gold: bool
    """Whether Silver is already built and only Gold is missing."""
    attempt: Attempt | None = None
    """The last build, if it failed; otherwise None."""

    @property
    def is_ready(self) -> bool:
        """Whether a build is due and can run now."""
        return bool(self.reasons) and not self.waits_for


class Due(NamedTuple):
    """Everything that is due at one moment."""

    at: dt.datetime
    work: Sequence[Work]
    """Partitions to load or validate, and those that wait for something."""
    build: BuildDue
    broken: Mapping[str, str]
    """The errors of invalid contracts, by name; their sources cannot be loaded."""
    ledger: Mapping[Partition, LedgerEntry]
    """The record of each partition, as it was then."""
    held: Mapping[Partition, str]
    """The content hash of each partition that the published tables held then."""
    unavailable: Mapping[str, str] = MappingProxyType({})
    """The messages about sources that do not answer, by name."""
    under_way: UnderWay = UnderWay()
    """What processes were doing then."""

    @property
    def ready(self) -> Sequence[Work]:
        """The partitions that can be loaded or validated now."""
        return [item for item in self.work if not item.waits_for]

    @property
    def waiting(self) -> Sequence[Work]:
        """The partitions that wait for a person, for a later moment, or for the end of their day."""
        return [item for item in self.work if item.waits_for]

    @property
    def is_ready(self) -> bool:
        """Whether a reconciling run has work to do now."""
        return bool(self.ready) or self.build.is_ready

    @property
    def problems(self) -> Sequence[Work]:
        """The waiting partitions, without those that wait for the end of their day or for a reload after a change."""
        return [item for item in self.waiting if item.state not in {"provisional", "outdated"}]

    def as_document(self) -> dict[str, Any]:
        """Return everything as plain data, for programs."""
        return {
            "at_utc": self.at.isoformat(timespec="seconds"),
            "partitions": [{**item.partition._asdict(), **_without_partition(item)} for item in self.work],
            "build": {
                "due": bool(self.build.reasons),
                "reasons": list(self.build.reasons),
                "partitions": [str(partition) for partition in self.build.partitions],
                "waits_for": self.build.waits_for,
            },
            "broken_contracts": dict(self.broken),
            "unavailable_sources": dict(self.unavailable),
        }


def due(
    catalog: Catalog,
    ledger: Mapping[Partition, LedgerEntry],
    attempts: Mapping[Partition, Attempt],
    published: Published,
    now: dt.datetime,
) -> Due:
    """Return what has to be loaded, validated and built now, and why.

    Args:
        catalog: The contracts.
        ledger: The record of each partition.
        attempts: The failed attempts.
        published: What the published version and the candidate hold.
        now: The present moment.
    """
    loaded, attempted = _by_resource(ledger), _by_resource(attempts)
    work = [
        item
        for source in catalog.sources.values()
        for resource in source.resources
        for item in _of_resource(
            source, resource, loaded[source.source, resource], attempted[source.source, resource], now
        )
    ]
    broken = {name: str(error) for name, error in catalog.broken.items()}
    return Due(now, sorted(work), _build(ledger, published, now), broken, ledger, published.held)


def state_of(source: Source, partition: Partition, entry: LedgerEntry | None, now: dt.datetime) -> State:
    """Return the state of a partition by its ledger record; `now` is the present moment."""
    if entry is None:
        return "missing"
    if entry.status == "failed":
        return "failed"
    if entry.contract_version != source.resources[partition.resource].version:
        return "outdated"
    if entry.status == "ingested":
        return "not validated"
    began = entry.started_at
    return "provisional" if began < complete_at(source, partition.day) or is_ahead(began, now) else "loaded"


def plan(
    catalog: Catalog, ledger: Mapping[Partition, LedgerEntry], wanted: Iterable[Partition], now: dt.datetime
) -> Sequence[Planned]:
    """Return the state of each partition of a request; all but `loaded` are due by default."""
    return [Planned(item, state_of(catalog.sources[item.source], item, ledger.get(item), now)) for item in wanted]


def _by_resource(values: Mapping[Partition, _T]) -> Mapping[tuple[str, str], Mapping[dt.date, _T]]:
    found: dict[tuple[str, str], dict[dt.date, _T]] = collections.defaultdict(dict)
    for (source, resource, day), value in values.items():
        found[source, resource][day] = value
    return found


def _of_resource(
    source: Source,
    resource: str,
    loaded: Mapping[dt.date, LedgerEntry],
    attempts: Mapping[dt.date, Attempt],
    now: dt.datetime,
) -> Iterator[Work]:
    last = last_complete_day(source, now)
    expected = expected_days(source, min(loaded, default=None), now)
    for day in sorted({*loaded, *attempts, *expected}):
        partition = Partition(source.source, resource, day)
        entry = loaded.get(day)
        state = state_of(source, partition, entry, now)
        if state == "loaded" or (state != "not validated" and day < last and _is_of_now(source, resource)):
            continue
        attempt = attempts.get(day)
        # a requested load that failed is retried, also when its day is no longer the last one
        is_asked_for = day == last or source.catchup or attempt is not None
        waits_for = _reason_to_wait(source, partition, state, is_asked_for=is_asked_for, now=now)
        if entry is not None and is_ahead(entry.started_at, now):
            # at once: when its date has come, it can no longer be told from a load after the day's end
            waits_for = ""
        if not waits_for and attempt:
            waits_for = attempt.reason_to_wait(source.resources[resource].version, now)
        yield Work(partition, state, _step(source, partition, state, entry, now), waits_for, attempt)


def _is_of_now(source: Source, resource: str) -> bool:
    """Return whether the API returns only the present state: days before the last one can no longer be loaded."""
    load = source.resources[resource].load
    return isinstance(load, SnapshotLoad) and load.of == "now"


def _step(
    source: Source, partition: Partition, state: State, entry: LedgerEntry | None, now: dt.datetime
) -> Literal["load", "validate"]:
    if state != "not validated" or entry is None:
        return "load"
    complete = complete_at(source, partition.day)
    return "load" if entry.started_at < complete <= now else "validate"


def _reason_to_wait(source: Source, partition: Partition, state: State, *, is_asked_for: bool, now: dt.datetime) -> str:
    day = partition.day
    command = f"`pipeline backfill --source {source.source} --start-date {day} --end-date {day}`"
    if state == "missing" and not is_asked_for:
        return f"{command}, since the contract does not say `catchup: true`"
    if state == "outdated":
        return f"{command}, which loads it with the present contract"
    if state == "provisional" and (complete := complete_at(source, day)) > now:
        return f"the end of its day, {complete:%Y-%m-%d %H:%M} (UTC)"
    return ""


def _build(ledger: Mapping[Partition, LedgerEntry], published: Published, now: dt.datetime) -> BuildDue:
    valid = {partition: entry.content_state for partition, entry in ledger.items() if entry.status == "validated"}
    behind = sorted(
        [partition for partition, content in valid.items() if published.held.get(partition) != content]
        + [partition for partition in published.held if _is_gone(ledger.get(partition))]
    )
    reasons = list(published.reasons)
    if behind:
        reasons.insert(0, f"{len(behind)} partitions are not in the published version")
    attempt = published.attempt
    waits_for = attempt.reason_to_wait(published.fingerprint, now) if attempt and reasons else ""
    return BuildDue(behind, reasons, waits_for, published.awaits_gold, attempt)


def _is_gone(entry: LedgerEntry | None) -> bool:
    """Return whether a build removes the rows of a partition that the tables hold, and nothing else is due first."""
    return entry is None or entry.status == "failed"


def _without_partition(item: Work) -> dict[str, str]:
    return {"state": item.state, "step": item.step, "waits_for": item.waits_for}
