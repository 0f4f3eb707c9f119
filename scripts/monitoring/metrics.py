"""The pipeline's metrics for Prometheus, computed from the ledger, the warehouse and the candidate.

No counter is kept in memory, so the numbers are the same in every process, after a restart, and for every entry point.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from scripts.contracts import catalog
from scripts.monitoring import airflow_findings, overdue
from scripts.monitoring.health import freshness
from scripts.planning.reconcile import examine
from scripts.warehouse import candidate
from scripts.warehouse.build import published_build, warehouse
from scripts.warehouse.runner import BAD_STATUSES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scripts.bronze.ledger import LedgerEntry
    from scripts.bronze.ledger_index import Totals
    from scripts.bronze.store import Store
    from scripts.monitoring.health import ResourceFreshness
    from scripts.planning.due import Due

_RESOURCE = ("source", "resource")


def metrics(store: Store, now: dt.datetime | None = None) -> bytes:
    """Return all metrics in Prometheus' text format; times are Unix seconds, durations are seconds."""
    registry = CollectorRegistry()
    registry.register(_Metrics(store, now or dt.datetime.now(dt.UTC)))
    return generate_latest(registry)


class _Metrics(Collector):
    def __init__(self, store: Store, now: dt.datetime) -> None:
        self._store, self._now = store, now

    @override
    def collect(self) -> Iterator[Metric]:
        with self._store.index(trust_folders=True) as index:
            totals, last_loads, problems = index.totals(), index.last_loads(), index.problems()
            verified = index.oldest_verification()
        yield from _of_partitions(totals, last_loads)
        text = "Files of the ledger that cannot be read"
        yield GaugeMetricFamily("pipeline_ledger_unreadable_files", text, len(problems))
        if verified is not None:
            text = "When the Bronze file whose last check is the oldest was compared with the ledger"
            yield GaugeMetricFamily("pipeline_oldest_verification_timestamp_seconds", text, verified.timestamp())
        found = examine(self._store, self._now)
        yield from _of_freshness(freshness(found))
        yield from _of_due(found)
        yield from _of_builds()


def _of_due(found: Due) -> Iterator[Metric]:
    partitions = _gauge("due_partitions", "Days that have to be loaded or validated", (*_RESOURCE, "state"))
    waits = Counter((*item.partition[:2], item.state) for item in found.work)
    for labels, count in waits.items():
        partitions.add_metric(labels, count)
    yield partitions
    behind = _gauge("unpublished_partitions", "Days that are loaded and valid, and not published", ())
    behind.add_metric((), len(found.build.partitions))
    yield behind
    problems = _gauge("health_problems", "Number of overdue things; `pipeline health` lists them", ())
    problems.add_metric((), len(airflow_findings.problems()) + len(overdue.problems(catalog.read_all(), found)))
    yield problems


def _of_freshness(rows: Sequence[ResourceFreshness]) -> Iterator[Metric]:
    age = _gauge("freshness_age_seconds", "Time since the end of the last day that is loaded and valid", _RESOURCE)
    gold_age = _gauge("gold_age_seconds", "Time since the end of the last day that is published", _RESOURCE)
    limit = _gauge("freshness_limit_seconds", "The age from which the contract calls it stale", _RESOURCE)
    stale = _gauge("freshness_stale", "1 if the data is stale or no day was ever loaded", _RESOURCE)
    for row in rows:
        labels = (row.source, row.resource)
        if row.age_hours is not None:
            age.add_metric(labels, row.age_hours * 3600)
        if row.gold_age_hours is not None:
            gold_age.add_metric(labels, row.gold_age_hours * 3600)
        limit.add_metric(labels, row.limit_hours * 3600)
        stale.add_metric(labels, float(row.state == "stale"))
    yield from (age, gold_age, limit, stale)


def _of_partitions(totals: Sequence[Totals], last_loads: Sequence[LedgerEntry]) -> Iterator[Metric]:
    rows = {
        name: _gauge(f"rows_{name}", f"Rows {name}, sum of all loaded days", _RESOURCE)
        for name in ("fetched", "written", "quarantined")
    }
    partitions = _gauge("partitions", "Number of days by the status of their load", (*_RESOURCE, "status"))
    seconds = _gauge("load_duration_seconds", "How long the last load took", _RESOURCE)
    retries = _gauge("load_retries", "Requests that were sent again in the last load", _RESOURCE)
    loaded = _gauge("load_timestamp_seconds", "When the last load ended", _RESOURCE)
    counts: dict[str, Counter[tuple[str, str]]] = {name: Counter() for name in rows}
    for total in totals:
        key = (total.source, total.resource)
        counts["fetched"][key] += total.fetched
        counts["written"][key] += total.bronze
        counts["quarantined"][key] += total.quarantined
        partitions.add_metric((*key, total.status), total.partitions)
    for name, metric in rows.items():
        for key, count in counts[name].items():
            metric.add_metric(key, count)
    for entry in last_loads:
        key = (entry.source, entry.resource)
        seconds.add_metric(key, (entry.loaded_at - entry.started_at).total_seconds())
        retries.add_metric(key, entry.retries)
        loaded.add_metric(key, entry.loaded_at.timestamp())
    yield from (*rows.values(), partitions, seconds, retries, loaded)


def _of_builds() -> Iterator[Metric]:
    target = warehouse()
    published = CounterMetricFamily("pipeline_publishes", "Versions of the warehouse that were published")
    versions = target.versions()
    published.add_metric((), int(versions[-1]) if versions else 0)
    yield published
    if (found := published_build()) is not None:
        built_at = dt.datetime.fromisoformat(found["built_at"]).timestamp()
        yield GaugeMetricFamily("pipeline_publish_timestamp_seconds", "When the published version was built", built_at)
        text = "How long the build of the published version took"
        yield GaugeMetricFamily("pipeline_build_duration_seconds", text, found["seconds"])
    failed = _gauge("build_failed", "1 for each model and test whose failure prevents the next version", ("node",))
    if (waiting := candidate.read(target)) is not None and waiting.state == "failed":
        for node in {result.name for result in waiting.results if result.status in BAD_STATUSES} or {"build"}:
            failed.add_metric((node,), 1)
    yield failed


def _gauge(name: str, text: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"pipeline_{name}", text, labels=labels)
