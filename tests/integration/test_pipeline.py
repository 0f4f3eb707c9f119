"""The whole way of a row, by the command that people run: API to Bronze, Silver, Gold and the published file."""

import json

import pytest

from tests.support.tables import tables

DAYS = ("--start-date", "2024-01-01", "--end-date", "2024-01-02")
BOTH = ("--source", "jsonplaceholder", "--source", "coin_prices")


@pytest.mark.slow
def test_a_run_brings_every_row_to_the_published_file_and_a_second_one_changes_nothing(start, api, tmp_path):
    first = start("run", *DAYS, *BOTH, "--json")
    assert first.returncode == 0, first.stderr
    document = json.loads(first.stdout)

    assert document["problems"] == []
    assert {row["state"] for row in document["partitions"]} == {"built"}
    assert all(row["fetched"] == row["bronze"] + row["quarantined"] for row in document["partitions"])
    assert all(row["declared"] in (None, row["fetched"]) for row in document["partitions"])
    assert all(row["expected"] in (None, row["rows"]) for row in document["models"])

    path = tmp_path / "data" / "warehouse.duckdb"
    published = tables(path)
    assert len(published["gold.fct_events"]) == sum(
        row["silver"] for row in document["partitions"] if row["resource"] == "posts"
    )

    again = start("run", *DAYS, *BOTH, "--json")
    assert again.returncode == 0, again.stderr
    assert tables(path) == published


def test_a_run_whose_source_is_down_publishes_nothing_and_says_so_in_one_line(start, tmp_path):
    done = start("run", *DAYS, API_BASE_URL="http://127.0.0.1:9", API_RETRIES=0)

    assert done.returncode == 5
    assert "Traceback" not in done.stderr
    assert "jsonplaceholder/posts/2024-01-01" in done.stderr
    assert not (tmp_path / "data" / "warehouse.duckdb").exists()
