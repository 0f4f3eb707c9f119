"""The metrics of the dbt project, run by MetricFlow on a published warehouse, in an environment of its own."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import duckdb
import pytest

from scripts.config import PROJECT_DIR
from scripts.loading.partitions import load, partitions
from scripts.utils.days import day_range, parse_day
from scripts.warehouse.build import build_warehouse, warehouse
from tests.support.project import copy_dbt

PAGE = (PROJECT_DIR / "docs/lineage.md").read_text()
(SHOWN,) = re.findall(r"```sh\n(uv tool install .*?)```", PAGE, re.DOTALL)
pytestmark = pytest.mark.slow


@pytest.fixture
def metricflow(tmp_path):
    """Run `mf` as docs/lineage.md shows it; its packages stay out of this project's environment."""
    project = copy_dbt(tmp_path)
    uv = shutil.which("uv") or str(PROJECT_DIR / ".tools/bin/uv")
    packages = shlex.split(SHOWN.splitlines()[0].removeprefix("uv tool install "))
    command = [uv, "tool", "run", "--quiet", "--python", sys.executable, "--from", *packages]
    environ = os.environ | {
        "DBT_PROFILES_DIR": str(PROJECT_DIR / "docs" / "metrics"),
        "WAREHOUSE": str(warehouse().path),
        "PYTHONPATH": "",
    }

    def ask(*arguments):
        return subprocess.run(
            [*command, *arguments], cwd=project, env=environ, capture_output=True, text=True, timeout=1500, check=False
        )

    return ask


@pytest.mark.long
def test_metrics_are_valid_and_give_what_sql_gives(api, run, metricflow, tmp_path):
    days = day_range(parse_day("2024-01-02"), parse_day("2024-01-03"))
    load(run, partitions(days, ["jsonplaceholder", "coin_prices"]))
    build_warehouse(run)
    for line in SHOWN.splitlines()[3:]:
        done = metricflow(*shlex.split(line))
        assert done.returncode == 0, line + done.stdout + done.stderr
    checked = metricflow("mf", "validate-configs")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("ERRORS: 0") == checked.stdout.count("ERRORS: ") > 5

    result = tmp_path / "result.csv"
    asked = metricflow(
        *("mf", "query", "--metrics", "comments,authors", "--group-by", "metric_time", "--order", "metric_time"),
        *("--csv", str(result)),
    )
    assert asked.returncode == 0, asked.stdout + asked.stderr
    with duckdb.connect(str(warehouse().path), read_only=True) as connection:
        expected = connection.execute(
            "select event_date, sum(comment_count), count(distinct user_id) from gold.fct_events group by 1 order by 1"
        ).fetchall()
        found = connection.execute(f"select cast(columns(*) as varchar) from '{result}'").fetchall()
        layers = connection.execute("select table_schema from information_schema.tables where table_name like 'time%'")
        assert layers.fetchall() == [("metrics",)], "the days that MetricFlow joins are not in Gold"
    assert [(row[0][:10], int(float(row[1])), int(float(row[2]))) for row in found] == [
        (str(day), comments, authors) for day, comments, authors in expected
    ]
