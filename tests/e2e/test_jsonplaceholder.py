"""The main job on real input: JSONPlaceholder's data, behind the server that it runs on.

`JSONPLACEHOLDER_URL` names the server; `REQUIRE_JSONPLACEHOLDER=1` makes its absence a failure.
"""

import json
import os
import sys

import pytest

from scripts.config import PROJECT_DIR
from tests.support.tables import tables

URL = os.environ.get("JSONPLACEHOLDER_URL")


def test_three_days_of_jsonplaceholder(tmp_path, start):
    if not URL:
        assert not os.environ.get("REQUIRE_JSONPLACEHOLDER"), "JSONPLACEHOLDER_URL is not set"
        pytest.skip("JSONPLACEHOLDER_URL is not set")
    source = {"API_BASE_URL": URL, "DATA_DIR": str(tmp_path)}

    done = start("run", "--start-date", "2024-01-01", "--end-date", "2024-01-03", "--json", **source)

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    rows = {model["model"]: model["rows"] for model in result["models"]}
    assert rows["stg_events"] == 100
    assert rows["stg_jsonplaceholder__users"] == 10
    assert rows["stg_jsonplaceholder__comments"] == 500
    assert rows["stg_jsonplaceholder__todos"] == 200
    assert rows["fct_events"] == 100
    assert result["problems"] == []
    assert {node["status"] for node in result["build"]["nodes"]} == {"success", "pass"}
    assert sum(row["fetched"] for row in result["partitions"]) == 3 * (100 + 10 + 500 + 200)
    assert start("status", **source).returncode == 0

    flow = (sys.executable, str(PROJECT_DIR / "prefect/flows/elt_flow.py"))
    environ = source | {"DATA_DIR": str(tmp_path / "prefect"), "PREFECT_HOME": str(tmp_path / "home")}
    done = start("2024-01-01", "2024-01-03", program=flow, **environ)
    assert done.returncode == 0, done.stderr
    assert tables(tmp_path / "prefect/warehouse.duckdb") == tables(tmp_path / "warehouse.duckdb")
