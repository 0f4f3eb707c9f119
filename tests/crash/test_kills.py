"""Kills of random commands at random moments; a few here, a thousand with `make test-crash`."""

import os

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.crash import kill_checks
from tests.crash.kill_campaign import DAYS, Campaign

pytestmark = pytest.mark.timeout(36000)
KILLS = int(os.environ.get("KILLS", "15"))
SEED = int(os.environ.get("KILLS_SEED", "20261126"))


def test_no_kill_shows_readers_half_of_anything_and_the_next_commands_repair_it(tmp_path):
    campaign = Campaign(tmp_path, SEED)

    campaign.run(KILLS)

    assert campaign.counts["kills"] == KILLS
    assert campaign.counts["repairs"] >= KILLS // 10
    _damage_is_found(campaign)


def _damage_is_found(campaign):
    """The checks find a row that is lost, doubled, or counted twice."""
    (file,) = (campaign.data / "bronze" / "demo" / "items" / f"dt={DAYS[0]}").glob("*.parquet")
    table = pq.read_table(file, partitioning=None)
    pq.write_table(table.slice(1), file)
    with pytest.raises(AssertionError, match="lost or doubled"):
        kill_checks.check_bronze(campaign.data, campaign.versions)

    pq.write_table(table, file)
    validated = kill_checks.check_bronze(campaign.data, campaign.versions)
    kill_checks.check_complete(campaign.data, validated)
    for statement, words in (
        ("update gold.item_counts set item_count = item_count + 1", "other counts"),
        ("insert into silver.stg_demo__items from silver.stg_demo__items limit 1", "twice"),
        ("delete from silver.stg_demo__items", "other counts"),
    ):
        with duckdb.connect(str(campaign.data / "warehouse.duckdb")) as connection:
            connection.execute(statement)
        with pytest.raises(AssertionError, match=words):
            kill_checks.published(campaign.data)
        if "gold" in statement:
            with pytest.raises(AssertionError, match="another version"):
                kill_checks.check_gold_files(campaign.data)
        with duckdb.connect(str(campaign.data / "warehouse.duckdb")) as connection:
            if "update" in statement:
                connection.execute("update gold.item_counts set item_count = item_count - 1")
