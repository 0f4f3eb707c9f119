"""Health: how fresh the data is, which problems it has, and which rows are in quarantine."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from scripts.config import settings
from scripts.contracts import catalog
from scripts.errors import DataError
from scripts.monitoring import airflow_findings, overdue
from scripts.monitoring.status import Status, read_status
from scripts.planning.calendar import end_of, is_future
from scripts.planning.reconcile import examine
from scripts.utils.days import is_ahead
from scripts.utils.files import make_dir, storage_errors, write_atomically
from scripts.warehouse import spark_versions
from scripts.warehouse.build import published_build, warehouse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from scripts.bronze.ledger import LedgerEntry, Partition
    from scripts.bronze.store import Store
    from scripts.planning.due import Due

_HOUR = dt.timedelta(hours=1)


class ResourceFreshness(NamedTuple):
    """The age of the data of a resource."""

    source: str
    resource: str
    last_day: dt.date | None
    """The last day that is loaded and validated; None if there is none."""
    published_day: dt.date | None
    """The last day that the published version holds."""
    age_hours: float | None
    """Hours since the end of the last day that is loaded."""
    gold_age_hours: float | None
    """Hours since the end of the last day that the published version holds, which determines the state; None if it
    holds no day."""
    state: Literal["ok", "warn", "stale"]
    limit_hours: float
    """The age from which the data is stale."""
    owner: str


class OldQuarantine(NamedTuple):
    """Rows of a partition that have been in quarantine for a long time."""

    source: str
    resource: str
    day: dt.date
    rows: int
    rules: Sequence[str]
    age_days: int


def freshness(due: Due) -> Sequence[ResourceFreshness]:
    """Return the age of the data of each resource of the daily sources, also if no day was ever loaded.

    Args:
        due: What was due at the moment for which the age is computed.
    """
    moment = due.at
    last = _last_days((partition for partition, entry in due.ledger.items() if entry.status == "validated"), moment)
    published = _last_days(due.held, moment)
    found = []
    for source_name in catalog.daily_sources():
        source = catalog.pick(source_name)
        for name, resource in source.resources.items():
            limits = resource.freshness
            days = last.get((source_name, name)), published.get((source_name, name))
            age, gold_age = (None if day is None else max(0.0, (moment - end_of(source, day)) / _HOUR) for day in days)
            state: Literal["ok", "warn", "stale"] = "ok"
            oldest = age if gold_age is None else gold_age
            if oldest is None or oldest >= limits.error_after_hours:
                state = "stale"
            elif oldest >= limits.warn_after_hours:
                state = "warn"
            limit = limits.error_after_hours
            found.append(ResourceFreshness(source_name, name, *days, age, gold_age, state, limit, source.owner))
    return found


def check_freshness(due: Due) -> Sequence[ResourceFreshness]:
    """Return the age of the data of each resource, or fail if the data of a source is stale, or its age is unknown.

    Raises:
        DataError: Resources are stale, or contracts are broken: their sources have no limits, and are not loaded.
    """
    found = freshness(due)
    stale = [row for row in found if row.state == "stale"]
    words = [f"{row.source}/{row.resource}: last day {row.last_day or 'never'} (owner {row.owner})" for row in stale]
    words = [f"stale: {'; '.join(words)}"] if words else []
    words += [f"contract `{name}` is broken, its source is not loaded: {error}" for name, error in due.broken.items()]
    if not words:
        return found
    hints = ["check the runs of pipeline_bronze; backfill the missing days"] if stale else []
    hints += ["`pipeline sources check` shows what is wrong in a contract"] if due.broken else []
    raise DataError(
        "; ".join(words),
        where="freshness",
        expected=f"a day that ended less than {stale[0].limit_hours} h ago" if stale else "valid contracts",
        hint="; ".join(hints),
    )


def old_quarantine(store: Store, *, days: int = 7, now: dt.datetime | None = None) -> Sequence[OldQuarantine]:
    """Return the partitions whose rows have been in quarantine for more than `days` days."""
    moment = now or dt.datetime.now(dt.UTC)
    with store.index(trust_folders=True) as index:
        entries = index.quarantined()
    return [
        OldQuarantine(entry.source, entry.resource, entry.day, entry.quarantined, _rules(entry), age)
        for entry in entries
        if (age := (moment - entry.loaded_at).days) > days or is_ahead(entry.loaded_at, moment)
    ]


def health(store: Store, state: Status | None = None, now: dt.datetime | None = None) -> dict[str, Any]:
    """Return the health of the pipeline: `ok`, the published version, problems, what is due, freshness. Times are UTC.

    It describes the published version, never a candidate, and includes expected days that are missing.
    """
    state = state or read_status(store)
    moment = now or dt.datetime.now(dt.UTC)
    found = examine(store, moment)
    fresh = freshness(found)
    named = [*airflow_findings.problems(), *overdue.problems(catalog.read_all(), found)]
    problems = [*(problem.text for problem in named), *state.problems]
    built_at = _built_at()
    states = Counter(item.state for item in found.work)
    return {
        "ok": not problems and all(row.state == "ok" for row in fresh),
        "checked_at_utc": moment.isoformat(timespec="seconds"),
        "version": state.version,
        "built_at_utc": built_at,
        "gold_age_hours": round((moment - dt.datetime.fromisoformat(built_at)) / _HOUR, 1) if built_at else None,
        "partitions": len(state.partitions),
        "partitions_not_published": len(found.build.partitions),
        "partitions_by_state": dict(states),
        "build_waits_for": found.build.waits_for,
        "rows_fetched": sum(row.fetched for row in state.partitions),
        "rows_in_bronze": sum(row.bronze for row in state.partitions),
        "rows_in_quarantine": sum(row.quarantined for row in state.partitions),
        "oldest_verification_utc": _oldest_verification(store),
        "models": {row.model: row.rows for row in state.models},
        "problems": problems,
        "freshness": [row._asdict() for row in fresh],
    }


def write_health(found: Mapping[str, Any]) -> Path:
    """Write what `health` returned as JSON to `health.json` in `DATA_DIR`, and return its path."""
    path = settings().data_dir / "health.json"
    with storage_errors(path):
        make_dir(path.parent)
        write_atomically(path, json.dumps(found, indent=2, default=str).encode() + b"\n")
    return path


def _last_days(partitions: Iterable[Partition], now: dt.datetime) -> Mapping[tuple[str, str], dt.date]:
    """Return the last day of each resource, without days that have not begun: such days are errors."""
    last: dict[tuple[str, str], dt.date] = {}
    sources = catalog.read_all().sources
    for source, resource, day in partitions:
        if source in sources and not is_future(sources[source], day, now):
            last[source, resource] = max(day, last.get((source, resource), day))
    return last


def _rules(entry: LedgerEntry) -> Sequence[str]:
    broken = [note.rule for note in entry.rules if note.severity == "quarantine"]
    return [*broken, *(f"{note.kind} {note.field}" for note in entry.drift if note.action == "quarantine")]


def _oldest_verification(store: Store) -> str | None:
    with store.index(trust_folders=True) as index:
        oldest = index.oldest_verification()
    return oldest.isoformat(timespec="seconds") if oldest else None


def _built_at() -> str | None:
    if settings().on_spark:
        found = spark_versions.published(warehouse())
        return found.built_at if found else None
    about = published_build()
    return str(about["built_at"]) if about else None
