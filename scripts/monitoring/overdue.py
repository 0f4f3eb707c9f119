"""What is overdue: days that are missing, failed or not published, as problems with their reason and what to do."""

from __future__ import annotations

import collections
import datetime as dt
from typing import TYPE_CHECKING, Literal, NamedTuple

from scripts.bronze.run import RECONCILE
from scripts.config import settings
from scripts.planning.calendar import complete_at, in_words, is_future
from scripts.utils.days import is_ahead

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from scripts.bronze.attempts import Attempt
    from scripts.bronze.ledger import LedgerEntry, Partition
    from scripts.contracts.catalog import Catalog
    from scripts.planning.due import Due, Work

Told = Literal["never", "by its run", "later"]
GRACE = dt.timedelta(minutes=15)
"""Work that has been due for longer than this, and that nobody is doing, should have been done by a scheduled run."""
_FEWEST_NEW = 10
"""The quarantine of a resource counts as growing only from this number of rows above the average."""


class Problem(NamedTuple):
    """A problem of what is due."""

    name: str
    """Stays the same as long as the problem, whatever its days."""
    text: str
    """What is wrong, and what to do."""
    told: Told = "never"
    """Whether an alert has told it: the run that failed sends one, unless it is a reconciling run, whose failures are
    told when they need a person, or when retries do not help."""
    days: frozenset[dt.date] = frozenset()
    """The days that have it; empty for a problem that has no days."""


def problems(catalog: Catalog, found: Due) -> Sequence[Problem]:
    """Return the problems of what is due."""
    silent = [Problem(name, text) for name, text in _silent(catalog, found)]
    return [*silent, *_missing(found), *_late(catalog, found), *_failing(found), *_red_build(found)]


def problems_since_first_load(catalog: Catalog, found: Due) -> Sequence[Problem]:
    """Return the same; none if nothing was ever loaded, since nothing is late then."""
    return problems(catalog, found) if found.ledger else []


def _silent(catalog: Catalog, found: Due) -> Iterator[tuple[str, str]]:
    """Yield the problems that no failed run has reported, by name."""
    for name, error in found.broken.items():
        yield f"contract {name}", f"contract `{name}` is broken, its source is not loaded: {error}"
    for name, words in found.unavailable.items():
        yield (
            f"unavailable {name}",
            f"source `{name}` does not answer: {words} (next: when it answers, `pipeline reconcile` loads what is due)",
        )
    yield from _not_published(found)
    yield from _growing_quarantine(found.ledger)
    yield from _future(catalog, found.ledger, found.at)


def _missing(found: Due) -> Iterator[Problem]:
    days: dict[tuple[str, str], list[dt.date]] = collections.defaultdict(list)
    for item in found.problems:
        if _is_gap(item):
            days[item.partition[:2]].append(item.partition.day)
    for (source, resource), gaps in days.items():
        text = (
            f"{source}/{resource}: {in_words(gaps)} missing, {len(gaps)} days (next: `pipeline"
            f" backfill --source {source} --start-date {gaps[0]} --end-date {gaps[-1]}`; the contract's"
            " `catchup: true` makes scheduled runs load missing days, and its `start_date` is the first expected"
            " day)"
        )
        yield Problem(f"missing {source}/{resource}", text, days=frozenset(gaps))


def _failing(found: Due) -> Iterator[Problem]:
    by_cause: dict[tuple[str, str, str, Told], list[Work]] = collections.defaultdict(list)
    for item in found.problems:
        if not _is_gap(item):
            by_cause[(*item.partition[:2], item.state, _told(item.attempt))].append(item)
    for (source, resource, state, told), items in by_cause.items():
        days = in_words([item.partition.day for item in items])
        more = f"; {len(items)} days (next: `pipeline due` lists them)" if len(items) > 1 else ""
        text = f"{source}/{resource}/{days}: {state}, waits for {items[-1].waits_for}{more}"
        yield Problem(f"failing {source}/{resource}", text, told, frozenset(item.partition.day for item in items))


def _told(attempt: Attempt | None) -> Told:
    if attempt is None:
        return "never"
    if not attempt.is_final and attempt.count <= settings().task_retries:
        return "later"
    return "never" if attempt.triggered_by == RECONCILE else "by its run"


def _late(catalog: Catalog, found: Due) -> Iterator[Problem]:
    """Yield the days that no run has loaded or validated, although it was possible for longer than the grace time."""
    late: dict[tuple[str, str, str], list[dt.date]] = collections.defaultdict(list)
    for item in found.ready:
        if item.partition.source in found.under_way.sources:
            continue
        source, entry = catalog.sources[item.partition.source], found.ledger.get(item.partition)
        since = complete_at(source, item.partition.day)
        if entry is not None and item.step == "validate":
            since = entry.loaded_at
        if found.at - since > GRACE or (entry is not None and is_ahead(entry.loaded_at, found.at)):
            late[(*item.partition[:2], item.state)].append(item.partition.day)
    for (source_name, resource, state), days in late.items():
        text = (
            f"{source_name}/{resource}: {in_words(days)} {state}, and no run has corrected it (next: check that"
            " the schedules of Airflow or Prefect are on; `pipeline reconcile` does it now)"
        )
        yield Problem(f"late {source_name}/{resource}", text, days=frozenset(days))


def _red_build(found: Due) -> Iterator[Problem]:
    if found.build.waits_for:
        text = (
            f"Gold is not up to date, {'; '.join(found.build.reasons)}: the last build failed, and the next waits for"
            f" {found.build.waits_for}"
        )
        yield Problem("build", text, _told(found.build.attempt))


def _not_published(found: Due) -> Iterator[tuple[str, str]]:
    build = found.build
    if not build.is_ready or found.under_way.build:
        return
    entries = [found.ledger[partition] for partition in build.partitions if partition in found.ledger]
    since = min((entry.validated_at or entry.loaded_at for entry in entries), default=None)
    if since is not None and (found.at - since > GRACE or is_ahead(since, found.at)):
        days = in_words({entry.day for entry in entries})
        yield (
            "not published",
            (
                f"Gold is not up to date: {days} loaded since {since:%Y-%m-%d %H:%M} (UTC) and not published, since"
                " no build has run (next: check that `pipeline_silver`, `dbt_dag` and `reconcile` are on;"
                " `pipeline build` does it now)"
            ),
        )


def _growing_quarantine(ledger: Mapping[Partition, LedgerEntry]) -> Iterator[tuple[str, str]]:
    """Yield the resources whose last day has more than twice the quarantined rows of the week before it."""
    days: dict[tuple[str, str], list[LedgerEntry]] = collections.defaultdict(list)
    for partition in sorted(ledger):
        days[partition[:2]].append(ledger[partition])
    for (source, resource), entries in days.items():
        *before, last = entries[-8:]
        if not before:
            continue
        usual = sum(entry.quarantined for entry in before) / len(before)
        if last.quarantined > 2 * usual and last.quarantined - usual >= _FEWEST_NEW:
            yield (
                f"quarantine {source}/{resource} {last.day}",
                (
                    f"{source}/{resource}: {last.quarantined} rows of {last.day} in quarantine, {usual:.0f} a day"
                    f" before (next: `pipeline quarantine list --source {source} --resource {resource}`)"
                ),
            )


def _future(catalog: Catalog, ledger: Mapping[Partition, LedgerEntry], now: dt.datetime) -> Iterator[tuple[str, str]]:
    """Yield loaded days that have not begun; a wrong clock or a wrong request caused these loads."""
    days: dict[tuple[str, str], list[dt.date]] = collections.defaultdict(list)
    for source, resource, day in ledger:
        if source in catalog.sources and is_future(catalog.sources[source], day, now):
            days[source, resource].append(day)
    for (source, resource), future in days.items():
        yield (
            f"future {source}/{resource} {in_words(future)}",
            (
                f"{source}/{resource}: {in_words(future)} in the future; its rows replace the rows of every day until"
                f" then (next: remove `{source}/{resource}/dt={min(future)}` and"
                f" `_ledger/{source}/{resource}/{min(future)}.json` from the Bronze folder, then `pipeline build`)"
            ),
        )


def _is_gap(item: Work) -> bool:
    return item.state == "missing" and item.waits_for.startswith("`pipeline backfill")
