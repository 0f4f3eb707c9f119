"""A clock that jumps, a process that is stopped while others work, and two checkouts on one data folder.

A few commands in CI, more with `make test-crash` (CRASH_STATES=all).
"""

import concurrent.futures
import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest

from tests.crash import kill_checks
from tests.crash.kill_campaign import COMMANDS, CONTRACT, DAYS, LOADS, MART, Campaign, make_project, victims
from tests.support.required import without

pytestmark = [pytest.mark.slow, pytest.mark.timeout(20_000)]

IS_WHOLE = os.environ.get("CRASH_STATES") == "all"
STEPS = 40 if IS_WHOLE else 4
STOPPED = [("build", "log", "build"), ("reload", "asked", "reload"), ("full refresh", "log", "rollback")]
MOMENTS = ("-400d", "-1h", "+0", "+0", "+1h", "+400d")


@pytest.fixture
def campaign(tmp_path):
    found = Campaign(tmp_path, seed=1)
    with found.serving():
        found.finish_all()
        yield found


@pytest.fixture
def clock(tmp_path):
    """The environment of processes whose clock jumps back and forth all the time, while the fixture lives."""
    libraries = [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1")]
    if not libraries:
        without("REQUIRE_FAKETIME", "needs libfaketime: apt-get install faketime")
    file, is_over, chance = tmp_path / "clock", threading.Event(), random.Random(1)

    def jump():
        while True:
            file.with_suffix(".new").write_text(chance.choice(MOMENTS))
            file.with_suffix(".new").replace(file)
            if is_over.wait(0.05):
                return

    thread = threading.Thread(target=jump)
    thread.start()
    yield {
        "LD_PRELOAD": str(libraries[0]),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        # as where the clock of a machine jumps: only the time of day does, and files keep their times
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    is_over.set()
    thread.join()


@pytest.mark.long
def test_a_clock_that_jumps_loses_nothing_and_what_it_dated_wrongly_is_loaded_again(campaign, clock):
    for name in [*random.Random(2).choices([*COMMANDS], k=STEPS), "reload and build"]:
        campaign.work(name, random.Random(name).choice(DAYS), **clock)
        kill_checks.check_bronze(campaign.data, campaign.versions)
        kill_checks.published(campaign.data)

    campaign.finish_all()

    found = json.loads(campaign.command("due", "--json").stdout)
    assert [item for item in found["partitions"] if str(item["day"]) in DAYS] == []
    assert not found["build"]["due"]


def stopped(campaign, name, day, event):
    """Start a command, and stop all its processes at an event; return the command."""
    if name in LOADS:
        campaign.versions[day] += 1
    asked, is_stopped = threading.Event(), threading.Event()

    def hold():
        asked.set()
        assert is_stopped.wait(600)

    campaign.on_request = hold
    process = subprocess.Popen(
        [sys.executable, *COMMANDS[name](day)],
        cwd=campaign.home,
        env=campaign.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert asked.wait(600) if event == "asked" else campaign.wait(process, event, 0)
    for victim in victims(process.pid, "session"):
        os.kill(victim, signal.SIGSTOP)
    campaign.on_request = lambda: None
    is_stopped.set()
    return process


@pytest.mark.long
@pytest.mark.parametrize(("name", "event", "refused"), STOPPED if IS_WHOLE else STOPPED[:1])
def test_others_work_while_a_process_is_stopped_and_it_ends_well_when_it_goes_on(campaign, name, event, refused):
    mine, other = DAYS[:2]
    campaign.work("reload and build", other)
    if name != "reload":
        campaign.work("reload", mine)
        campaign.work("validate", mine)
    process = stopped(campaign, name, mine, event)
    try:
        assert campaign.work("status", mine).returncode == 0
        kill_checks.published(campaign.data)
        assert campaign.work("reload", other).returncode == 0
        done = campaign.work(refused, mine, LOCK_TIMEOUT="1")
        assert done.returncode != 0
        assert f"process {process.pid}" in done.stderr, done.stderr
    finally:
        os.killpg(process.pid, signal.SIGCONT)
        _, said = process.communicate()

    assert process.returncode == 0, said
    campaign.finish_all()


@pytest.mark.long
def test_two_checkouts_with_other_contracts_and_models_share_one_data_folder(campaign, tmp_path):
    theirs = make_project(tmp_path / "theirs")
    more = "\n      - {name: extra, type: string, description: Sent by nobody.}\n    rules:"
    (theirs / "scripts/sources/demo.yml").write_text(CONTRACT.lstrip().replace("\n    rules:", more))
    (theirs / "dbt/models/marts/item_sums.sql").write_text(
        MART.lstrip().replace("count(*) as item_count", "sum(n) as item_sum")
    )

    def use(home, seed):
        chance = random.Random(seed)
        for name in chance.choices([*COMMANDS], k=STEPS // 2):
            campaign.work(name, chance.choice(DAYS), home, LOCK_TIMEOUT="1800")

    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        list(executor.map(use, (campaign.home, theirs), range(2)))

    for home in (theirs, campaign.home, theirs):
        campaign.home = home
        campaign.environ["PYTHONPATH"] = str(home)
        campaign.finish_all()
        with duckdb.connect(str(campaign.data / "warehouse.duckdb"), read_only=True) as connection:
            marts = connection.execute("select table_name from duckdb_tables() where schema_name = 'gold'").fetchall()
        assert {name for (name,) in marts} == ({"item_counts", "item_sums"} if home == theirs else {"item_counts"})
