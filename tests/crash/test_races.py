"""Races: eight processes load, reload, validate, replay, build, roll back and prune beside readers, and nothing breaks.

`RACE_SECONDS` says for how long; a few seconds in CI, minutes with `make test-crash`.
"""

import os
import random
import threading
import time

import duckdb
import pytest

from tests.crash import kill_checks
from tests.crash.kill_campaign import COMMANDS, DAYS, Campaign, CampaignError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(20_000)]

SECONDS = float(os.environ.get("RACE_SECONDS", "15"))
PROCESSES = 8


class Racers:
    """Threads that run commands and read until the time is over; `wrong` is what went wrong."""

    def __init__(self, campaign):
        self.campaign, self.until = campaign, time.monotonic() + SECONDS
        self.wrong, self.counts = [], {}

    def run(self):
        """Run commands, one after the other."""
        chance = random.Random(threading.get_ident())
        while time.monotonic() < self.until and not self.wrong:
            name, day = chance.choice([*COMMANDS]), chance.choice(DAYS)
            try:
                self.campaign.work(name, day, LOCK_TIMEOUT="1800")
            except CampaignError as error:
                self.wrong.append(str(error))
            self.counts[name] = self.counts.get(name, 0) + 1

    def read(self):
        """Open the published version again and again; what it holds belongs together."""
        while time.monotonic() < self.until and not self.wrong:
            try:
                kill_checks.published(self.campaign.data)
            except Exception as error:  # noqa: BLE001 — whatever a reader meets
                self.wrong.append(f"a reader: {type(error).__name__}: {error}")

    def hold(self):
        """Keep one version open; it stays as it is."""
        query = "select count(*), sum(hash(s)) from silver.stg_demo__items as s"
        with duckdb.connect(str(self.campaign.data / "warehouse.duckdb"), read_only=True) as connection:
            first = connection.execute(query).fetchall()
            while time.monotonic() < self.until and not self.wrong:
                if connection.execute(query).fetchall() != first:
                    self.wrong.append("a version that a reader holds has changed")


@pytest.mark.long
def test_eight_processes_and_readers_meet_no_error_and_everything_adds_up(tmp_path):
    campaign = Campaign(tmp_path, seed=1)
    with campaign.serving():
        campaign.finish_all()
        racers = Racers(campaign)
        work = [racers.run] * PROCESSES + [racers.read, racers.hold]
        threads = [threading.Thread(target=one) for one in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert racers.wrong == []
        assert sum(racers.counts.values()) >= PROCESSES
        campaign.finish_all()
