"""`pipeline sources new`: documented shapes of real APIs and a real one, from an address to Gold, no file edited.

`JSONPLACEHOLDER_URL` names the real one; `REQUIRE_JSONPLACEHOLDER=1` makes its absence a failure.
"""

import contextlib
import datetime as dt
import os

import duckdb
import pytest
from click.testing import CliRunner

from scripts.bronze.run import Run
from scripts.cli.new_source import sources_new
from scripts.contracts import catalog
from scripts.loading.partitions import load, partitions
from scripts.warehouse.build import warehouse
from tests.support.answering import answering
from tests.support.project import empty_project
from tests.support.shapes import SHAPES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
URL = os.environ.get("JSONPLACEHOLDER_URL")
ROWS = 7
ADDRESSES = {
    "airtable": ("/items", "bearer:AIRTABLE_TOKEN"),
    "csv_file": ("/day.csv", None),
    "fred": ("/observations?series_id=GNPCA&file_type=json", "query:api_key=FRED_TOKEN"),
    "github_issues": ("/repos/o/r/issues?per_page=2", None),
    "hubspot_objects": ("/items?archived=false", None),
    "jsonl_gz_file": ("/day.jsonl.gz", None),
    "nasa_neo": ("/feed", "query:api_key=NASA_NEO_TOKEN"),
    "rss": ("/feed", None),
    "shopify_orders": ("/orders?limit=2", "header:X-Shopify-Access-Token=SHOPIFY_ORDERS_TOKEN"),
    "stripe_charges": ("/charges", None),
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    return empty_project(tmp_path / "project", monkeypatch)


@pytest.fixture
def bases(env):
    """A server for each shape, by its name."""
    with contextlib.ExitStack() as stack:
        found = {}
        for name, (_, auth) in ADDRESSES.items():
            answer = SHAPES[name][2]
            found[name], _ = stack.enter_context(answering(lambda ask, answer=answer: answer(ask, ROWS)))
            if auth:
                env(f"{name.upper()}_TOKEN", "secret")
        yield found


def new(name, url, *options, answers=""):
    done = CliRunner().invoke(sources_new, [name, url, *options], input=answers, standalone_mode=False)
    if done.exception:
        raise done.exception
    assert done.return_value == 0, done.output
    return done.output


def files(folder):
    return {
        path: path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and not {"target", "logs"} & {*path.parts} and path.suffix in {".yml", ".sql", ".example"}
    }


def test_from_addresses_to_gold(project, bases):
    """Ten sources are written and loaded, and the last one builds: all of them are in Gold, complete."""
    if not URL:
        assert not os.environ.get("REQUIRE_JSONPLACEHOLDER"), "JSONPLACEHOLDER_URL is not set"
    asked = {
        name: (bases[name] + path, *(["--auth", auth] if auth else [])) for name, (path, auth) in ADDRESSES.items()
    }
    for name, arguments in asked.items():
        assert "next: `pipeline run" in new(name, *arguments, answers="y\nn\n")
    written = files(project)
    today = dt.datetime.now(dt.UTC).date()
    last = ("todos", f"{URL}/todos") if URL else ("last", f"{bases['csv_file']}/day.csv")
    outcomes = load(Run.create(triggered_by="test"), partitions([today], list(ADDRESSES)))
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    assert sum(outcome.entry.quarantined for outcome in outcomes) == 0

    shown = new(*last, "--yes")

    assert f"gold.fct_{last[0]}__" in shown
    assert "from the address to Gold in" in shown
    with duckdb.connect(str(warehouse().path), read_only=True) as connection:
        for name in ADDRESSES:
            for resource in catalog.pick(name).resources:
                table = f"gold.fct_{name}__{resource}"
                assert connection.execute(f"select count(*) from {table}").fetchone() == (ROWS,), table
        rows = connection.execute(f"select count(*) from gold.fct_{last[0]}__{'todos' if URL else 'day'}").fetchone()
        assert rows == (200 if URL else ROWS,)
    assert {path: text for path, text in files(project).items() if path in written} == written

    for name, arguments in asked.items():
        assert "nothing was written" in new(name, *arguments), name
    assert {path: text for path, text in files(project).items() if path in written} == written
