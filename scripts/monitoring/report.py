"""The health page: one file without scripts that says whether the data can be used, and if not, why."""

from __future__ import annotations

import collections
import contextlib
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import jinja2

from scripts.errors import PipelineError
from scripts.monitoring.charts import Bar, bars, columns, lines
from scripts.monitoring.health import health, write_health
from scripts.monitoring.results import results_page
from scripts.monitoring.status import read_status
from scripts.utils.files import make_dir, storage_errors, write_atomically
from scripts.utils.logging_config import get_logger
from scripts.warehouse import history
from scripts.warehouse.build import published_build, warehouse
from scripts.warehouse.data_docs import docs_dir, docs_page
from scripts.warehouse.versions import reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.bronze.ledger import LedgerEntry
    from scripts.bronze.store import Store
    from scripts.monitoring.status import Status
    from scripts.warehouse.history import Publication

_log = get_logger("report")
_DAYS = 31
_RULES = 12
_TONES = {"ok": "ok", "warn": "warn", "stale": "bad"}
_GOLD_BY_DAY = """
select table_name, column_name from duckdb_columns()
where schema_name = 'gold' and data_type = 'DATE' and column_name not in ('first_seen_date', 'last_seen_date')
qualify row_number() over (partition by table_name order by column_index) = 1
"""


class Section(NamedTuple):
    """A part of the page: a title, a text that explains it, and a chart."""

    anchor: str
    title: str
    text: str
    chart: str
    """Markup; charts escape what they show."""
    notes: Sequence[tuple[str, str]] = ()
    """Notes on single items: a name, and a text."""


def write_report(store: Store, state: Status | None = None, found: Mapping[str, Any] | None = None) -> Path:
    """Write the page to `docs/health.html` in `DATA_DIR`, and return its path.

    Raises:
        StorageError: It cannot be written.
    """
    path = docs_dir() / "health.html"
    with storage_errors(path):
        make_dir(path.parent)
        write_atomically(path, report(store, state, found).encode())
    return path


def write_pages(store: Store) -> Sequence[Path]:
    """Write the page, and the same for programs as `health.json`, from one read of the status; return their paths.

    Raises:
        StorageError: They cannot be written.
    """
    state = read_status(store)
    found = health(store, state)
    paths = [write_health(found), write_report(store, state, found)]
    with contextlib.suppress(LookupError):
        results, path = results_page(with_rows=False), docs_dir() / "results.html"
        with storage_errors(path):
            write_atomically(path, results.encode())
        paths.append(path)
    return paths


def refresh(store: Store) -> None:
    """Write the page and `health.json` after a run; log a failure, since it must not fail the finished run."""
    try:
        write_pages(store)
    except (PipelineError, OSError, duckdb.Error) as error:
        _log.warning("the health page could not be written: %s", error)


def report(store: Store, state: Status | None = None, found: Mapping[str, Any] | None = None) -> str:
    """Return the page, of a status and a health that were read before, or of the present ones. Times are UTC."""
    state, entries = state or read_status(store), list(store.entries())
    found, published = found or health(store, state), history.read(warehouse())
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
    sections = [
        _rows(state),
        _freshness(found["freshness"]),
        _quarantine(store, entries),
        _times(entries, published),
        _tests(),
        _late(),
        _changes(published),
    ]
    return environment.get_template("report.html.j2").render(
        health=found,
        sections=[section for section in sections if section],
        fetched_is=f"{found['rows_in_bronze']:,} + {found['rows_in_quarantine']:,}",
        has_results=published_build() is not None,
        dbt_site="dbt/index.html" if docs_page().exists() else "",
    )


def _rows(state: Status) -> Section:
    received, silver, bad = (collections.Counter[dt.date]() for _ in range(3))
    for row in state.partitions:
        received[row.day] += row.bronze
        bad[row.day] += row.quarantined
        silver[row.day] += row.silver or 0
    gold = _gold_by_day()
    days = sorted(received)[-_DAYS:]
    series = {
        "Bronze": [received[day] for day in days],
        "Silver": [silver[day] for day in days],
        "Gold": [gold[day] for day in days],
        "Quarantine": [bad[day] for day in days],
    }
    text = (
        "Bronze: rows received on a day. Silver: rows whose latest version is of that day; for a source that sends all "
        "rows every day, all of them count for the last day. Gold: facts that happened on that day."
    )
    chart = columns("Rows by day and layer", [day.isoformat()[5:] for day in days], series, unit="rows")
    return Section("rows", "Rows by day and layer", text, chart)


def _rows_in_words(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _gold_by_day() -> collections.Counter[dt.date]:
    found: collections.Counter[dt.date] = collections.Counter()
    if warehouse().current() is None:
        return found
    with reading(warehouse().path) as connection:
        for table, column in connection.execute(_GOLD_BY_DAY).fetchall():
            query = f'select "{column}", count(*) from gold."{table}" where "{column}" is not null group by all'  # noqa: S608 — names of our own tables
            for day, count in connection.execute(query).fetchall():
                found[day] += count
    return found


def _freshness(rows: Sequence[Mapping[str, Any]]) -> Section:
    shown = []
    for row in rows:
        in_gold = row["published_day"] is not None
        age, limit = row["gold_age_hours" if in_gold else "age_hours"], row["limit_hours"]
        loaded, held = row["last_day"], row["published_day"]
        text = "never loaded" if age is None else f"{age:.0f} of {limit:.0f} h"
        days = f"{held} in Gold" if loaded == held else f"{loaded} loaded, {held or 'nothing'} in Gold"
        label = f"{row['source']} / {row['resource']}: {row['state']}" + ("" if age is None else f", {days}")
        # a resource that is years old would make the other bars invisible
        value = limit * 1.5 if age is None else min(age, limit * 1.5)
        shown.append(Bar(label, value, text, limit, _TONES[row["state"]]))
    text = "Hours since the end of the last day in Gold. The mark is the limit of the contract."
    return Section("freshness", "Freshness", text, bars("Freshness", shown))


def _quarantine(store: Store, entries: Sequence[LedgerEntry]) -> Section:
    counts: collections.Counter[str] = collections.Counter()
    for entry in entries:
        for row in store.quarantined(entry) if entry.quarantined else ():
            name = f"{row.source} / {row.resource}: {row.rule}"
            counts[name] += 1
    top = counts.most_common(_RULES)
    shown = [Bar(name, count, _rows_in_words(count), tone="warn") for name, count in top]
    text = (
        "Rows of all days that were received and not admitted, by the rule that they broke."
        " `pipeline quarantine list` shows them."
        if top
        else "No row is in quarantine."
    )
    # the page is served without a login, so it shows counts and no values
    return Section("quarantine", "Quarantine", text, bars("Quarantined rows by rule", shown) if top else "")


def _times(entries: Sequence[LedgerEntry], published: Sequence[Publication]) -> Section | None:
    loads: dict[str, tuple[dt.datetime, dt.datetime]] = {}
    for entry in entries:
        first, last = loads.get(entry.run_id, (entry.started_at, entry.loaded_at))
        loads[entry.run_id] = (min(first, entry.started_at), max(last, entry.loaded_at))
    recent = sorted(loads.values())[-_DAYS:]
    builds = published[-_DAYS:]
    if not recent and not builds:
        return None
    text = "Seconds, oldest first: the loads of each run, from its first to its last load, and each published build."
    charts = lines(
        "Seconds of loads",
        [f"{a:%m-%d %H:%M}" for a, _ in recent],
        {"loads": [(b - a).total_seconds() for a, b in recent]},
        unit="s",
    )
    if builds:
        charts += lines(
            "Seconds of builds",
            [p.version.lstrip("0") for p in builds],
            {"builds, by version": [p.seconds for p in builds]},
            unit="s",
        )
    return Section("times", "Run times", text, charts)


def _tests() -> Section | None:
    about = published_build()
    if about is None:
        return None
    nodes = [node for node in about["nodes"] if node["kind"] in {"test", "unit_test"}]
    counts = collections.Counter("passed" if node["status"] == "pass" else node["status"] for node in nodes)
    shown = [
        Bar(status, count, f"{count} test{'' if count == 1 else 's'}", tone="ok" if status == "passed" else "warn")
        for status, count in counts.most_common()
    ]
    notes = [(node["name"], node["message"]) for node in nodes if node["status"] != "pass"]
    text = "Results of the published build. A failed test prevents the publication of a version; a warning does not."
    return Section("tests", "dbt tests", text, bars("dbt tests by result", shown), notes)


def _late() -> Section | None:
    if warehouse().current() is None:
        return None
    with reading(warehouse().path) as connection:
        tables = connection.execute(
            "select table_name from duckdb_columns() where schema_name = 'gold' and column_name = 'arrival_lag_days'"
        ).fetchall()
        counts: collections.Counter[int] = collections.Counter()
        for (table,) in tables:
            query = f'select arrival_lag_days, count(*) from gold."{table}" where arrival_lag_days > 0 group by all'  # noqa: S608 — our own table
            counts.update(dict(connection.execute(query).fetchall()))
    late = sorted(counts.items())
    shown = [
        Bar(f"{days} day{'s' if days > 1 else ''} late", count, _rows_in_words(count), tone="warn")
        for days, count in late[:_RULES]
    ]
    text = (
        "Rows that arrived on a later day than the day they happened; Gold counts them on the day they happened."
        if late
        else "No row arrived late."
    )
    return Section("late", "Late arrivals", text, bars("Late rows by days", shown) if late else "")


def _changes(published: Sequence[Publication]) -> Section | None:
    if not published:
        return None
    now, before = published[-1], published[-2] if len(published) > 1 else None
    old = before.rows if before else {}
    changes = {name: rows - old.get(name, 0) for name, rows in now.rows.items()}
    changes |= {name: -rows for name, rows in old.items() if name not in now.rows}
    shown = [
        Bar(name, delta, f"{delta:+,} rows, now {now.rows.get(name, 0):,}", tone="ok" if delta >= 0 else "warn")
        for name, delta in changes.items()
    ]
    text = f"Version {now.version} of {now.built_at[:16].replace('T', ' ')} against " + (
        f"version {before.version}." if before else "nothing: it is the first."
    )
    return Section("changes", "What changed since the last publication", text, bars("Change of rows by model", shown))
