"""dbt's own commands, as an analytics engineer runs them in the `dbt/` folder of a fresh clone."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests.support.clone import clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

DAYS = ["--start-date", "2024-01-01", "--end-date", "2024-01-02"]


@pytest.fixture
def fresh(tmp_path, api):
    """Run a program in a fresh clone, with nothing but its environment; the output of the program is returned."""
    home = clone(tmp_path / "clone")
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environ = kept | {"API_BASE_URL": api.url, "COIN_API_BASE_URL": api.url, "PYTHONPATH": str(home)}

    def run(name, *arguments, folder=".", fails=False, **more):
        program = [Path(sys.executable).with_name(name), *arguments]
        done = subprocess.run(
            program, cwd=home / folder, env=environ | more, text=True, capture_output=True, check=False
        )
        assert (done.returncode != 0) == fails, f"{name} {arguments}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout

    run.home = home
    return run


def rows(path, query):
    """Return what a query finds in a DuckDB file."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.long
def test_dbt_works_by_hand_and_never_changes_what_is_published(fresh):
    def dbt(*arguments, **more):
        return fresh("dbt", *arguments, folder="dbt", **more)

    dev = fresh.home / "data" / "dev.duckdb"
    dbt("deps")
    dbt("parse")
    dbt("compile", "--profiles-dir", ".", "--target", "ci")
    # before the first load: empty tables, and tests that pass
    dbt("build")
    assert rows(dev, "select count(*) from gold.fct_events") == [(0,)]

    fresh("pipeline", "run", "--source", "jsonplaceholder", *DAYS)
    published = fresh.home / "data" / "warehouse.duckdb"
    version, count = published.resolve(), rows(published, "select count(*) from gold.fct_events")
    dbt("build", "--target", "ci")
    assert rows(dev, "select count(*) from gold.fct_events") == count
    assert "event_id" in dbt("show", "--select", "fct_events", "--limit", "2")
    dbt("docs", "generate", "--no-compile")
    assert (fresh.home / "dbt" / "target" / "catalog.json").exists()

    # a mistake, the correction with `retry`, and a new column
    mart = fresh.home / "dbt/models/marts/dim_users.sql"
    good, properties = mart.read_text(), mart.with_suffix(".yml")
    mart.write_text(good.replace("        users.name,\n", "        users.no_such_column,\n", 1))
    assert "no_such_column" in dbt("run", "--select", "dim_users", fails=True)
    mart.write_text(
        good.replace("        users.name,\n", "        users.name,\n        users.name || '!' as loud_name,\n", 1)
    )
    described = "      - name: loud_name\n        data_type: varchar\n        description: Name, loud.\n"
    before, user, after = properties.read_text().partition("      - name: username\n")
    properties.write_text(before + described + user + after)
    dbt("retry")
    dbt("run", "--select", "stg_jsonplaceholder__users+", "--full-refresh")
    dbt("test", "--select", "dim_users")
    assert rows(dev, "select count(*) from gold.dim_users where loud_name = name || '!'") == [(10,)]

    assert published.resolve() == version
    assert rows(published, "select count(*) from gold.fct_events") == count
