"""Metrics, the alert rules and the dashboard that are made from them."""

import datetime as dt
import json
import re
import shutil
import subprocess

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from scripts.config import PROJECT_DIR
from scripts.loading import partitions
from scripts.monitoring import alerts
from scripts.monitoring.metrics import metrics
from scripts.warehouse.build import build_warehouse
from tests.support.required import without

OBSERVABILITY = PROJECT_DIR / "infra" / "observability"
RULES = OBSERVABILITY / "alerts.yml"
FOREIGN = {"airflow_ti_failures_total", "up"}
"""Metrics that others make: Airflow, and Prometheus itself."""


def samples(store, **options):
    """Return the value of every sample by its name and labels."""
    text = metrics(store, **options).decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def used(expression):
    """Return the names of the metrics in an expression."""
    return set(re.findall(r"\b(?:pipeline|airflow)_\w+|\bup\b", expression))


def test_without_data_every_daily_resource_is_stale(run):
    found = samples(run.store)
    assert found[("pipeline_freshness_stale", ("resource", "posts"), ("source", "jsonplaceholder"))] == 1
    assert ("pipeline_publishes_total",) in found


@pytest.mark.slow
def test_rows_add_up_and_a_publication_counts(run, api):
    day = dt.date(2024, 1, 2)
    partitions.load(run, partitions.partitions([day], ["jsonplaceholder"]))
    build_warehouse(run)
    found = samples(run.store, now=dt.datetime(2024, 1, 3, 1, tzinfo=dt.UTC))
    key = (("resource", "posts"), ("source", "jsonplaceholder"))
    fetched, written, quarantined = (
        found[(f"pipeline_rows_{name}", *key)] for name in ("fetched", "written", "quarantined")
    )
    assert fetched == written + quarantined > written > 0
    assert found[("pipeline_freshness_age_seconds", *key)] == 3600
    assert found[("pipeline_freshness_stale", *key)] == 0
    assert found[("pipeline_publishes_total",)] == 1
    assert not any(name[0] == "pipeline_build_failed" for name in found)


def test_rules_and_dashboard_use_metrics_that_exist(run):
    rules = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    dashboard = json.loads((OBSERVABILITY / "grafana/dashboards/pipeline.json").read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    text = metrics(run.store).decode()
    known = {f"{line.split()[2]}" for line in text.splitlines() if line.startswith("# TYPE")} | FOREIGN
    # these have no sample, and no type, before the first publication
    known |= {"pipeline_publish_timestamp_seconds", "pipeline_build_duration_seconds"}
    for expression in [*rules, *panels]:
        assert used(expression) <= known, expression


def test_what_health_covers_has_a_metric(run):
    """The age of Gold, days that are missing or not published with their state, quarantine, red and missing builds."""
    text = metrics(run.store).decode()
    names = "gold_age_seconds unpublished_partitions due_partitions rows_quarantined build_failed health_problems"
    for name in names.split():
        assert f"# TYPE pipeline_{name} gauge" in text
    rules = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    # n8n is not measured
    assert {kind.title().replace(" ", "") for kind in alerts.RUNBOOK} - {"WorkflowFailed"} <= rules


def test_every_alert_links_to_an_entry_of_the_runbook():
    text = (PROJECT_DIR / "docs" / "runbook.md").read_text()
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", line[3:].lower()).replace(" ", "-")
        for line in re.findall(r"^## .*$", text, re.MULTILINE)
    }
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"]["runbook"].split("#")[1] in anchors, rule["alert"]


CASES = [
    ("pipeline_freshness_stale{source='a',resource='b'}", "1+0x60", "DataStale"),
    ("pipeline_build_failed{node='fct_events'}", "1+0x60", "DbtFailed"),
    ("pipeline_partitions{source='a',resource='b',status='failed'}", "2+0x60", "ValidationFailed"),
    ("airflow_ti_failures_total{dag_id='d',task_id='t'}", "0+1x60", "TaskFailed"),
    ("pipeline_health_problems", "2+0x60", "DataOverdue"),
    ("pipeline_ledger_unreadable_files", "1+0x60", "Ledger"),
    ("pipeline_load_timestamp_seconds{source='a',resource='b'}", "60+0x300", "RunLate"),
    ("pipeline_rows_quarantined{source='a',resource='b'}", "6+0x60", "RowsQuarantined"),
]


@pytest.mark.parametrize(("series", "values", "alert"), CASES)
def test_rules_fire_and_are_silent(tmp_path, series, values, alert):
    """Prometheus' own tool evaluates them."""
    if shutil.which("promtool") is None:
        without("REQUIRE_PROMTOOL", "promtool is missing; it comes with Prometheus")
    at = "180m" if alert == "RunLate" else "55m"

    def fires(wanted, values):
        # `up` keeps MetricsMissing silent
        tests = {
            "rule_files": [str(RULES)],
            "evaluation_interval": "1m",
            "tests": [
                {
                    "interval": "1m",
                    "input_series": [
                        {"series": series, "values": values},
                        {"series": "up{job='pipeline'}", "values": "1+0x300"},
                        {"series": "pipeline_rows_fetched{source='a',resource='b'}", "values": "100+0x300"},
                    ],
                    "promql_expr_test": [
                        {
                            "expr": f"count(ALERTS{{alertstate='firing',alertname='{alert}'}}) or vector(0)",
                            "eval_time": at,
                            "exp_samples": [{"labels": "{}", "value": wanted}],
                        }
                    ],
                }
            ],
        }
        path = tmp_path / "test.yml"
        path.write_text(yaml.safe_dump(tests))
        return subprocess.run(["promtool", "test", "rules", str(path)], text=True, capture_output=True, check=False)

    done = fires(1, values)
    assert done.returncode == 0, done.stdout + done.stderr
    quiet = "10800+0x300" if alert == "RunLate" else "0+0x60"
    done = fires(0, quiet)
    assert done.returncode == 0, done.stdout + done.stderr
