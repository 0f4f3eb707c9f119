"""Builds with the real dbt: fresh and incremental, in any order, failed, killed, together, and under readers."""

import datetime as dt
import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import duckdb
import pytest

from scripts import config
from scripts.bronze.ledger import Partition
from scripts.bronze.run import Run
from scripts.config import PROJECT_DIR
from scripts.errors import BronzeError, DataError, KilledError
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from scripts.monitoring.results import results_page
from scripts.monitoring.status import read_status
from scripts.sample_api import data
from scripts.validate_data import validate_partition
from scripts.warehouse.build import warehouse
from scripts.warehouse.data_docs import write_docs
from scripts.warehouse.runner import DbtFailedError, target_dir
from tests.crash.kill_campaign import victims
from tests.support.alert_sink import alert_sink
from tests.support.flip import flip
from tests.support.tables import tables

DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")


def published():
    return tables(warehouse().path)


def compiled(model):
    found = target_dir(warehouse()).glob(f"compiled/**/{model}.sql")
    # unit tests are compiled beside the model, below its YAML file
    (path,) = [path for path in found if ".yml" not in str(path)]
    return path.read_text()


READER = """
import select, sys, duckdb
count = 0
while True:
    with duckdb.connect(sys.argv[1], read_only=True) as connection:
        events = connection.execute("select count(*) from gold.fct_events").fetchone()[0]
        silver = connection.execute("select count(*) from silver.stg_events").fetchone()[0]
        assert events == silver, (events, silver)
    count += 1
    if select.select([sys.stdin], [], [], 0)[0]:
        break
print(count)
"""


def test_days_in_any_order_and_twice_give_the_same_tables_under_a_reader(load_days, build, tmp_path, env):
    """One build of all days, against five builds of shuffled and repeated ones, with a reader in a loop."""
    load_days(*DAYS)
    build()
    in_order = published()
    assert {name: len(rows) for name, rows in in_order.items()} == {
        "gold.dim_users": 10,
        "gold.fct_coin_prices_daily": 9,
        "gold.fct_events": 118,
        "gold.fct_user_activity_daily": 27,
        "silver.stg_coin_prices__prices": 9,
        "silver.stg_jsonplaceholder__comments": 600,
        "silver.stg_events": 118,
        "silver.stg_jsonplaceholder__todos": 200,
        "silver.stg_jsonplaceholder__users": 10,
        "silver.users_snapshot": 12,
    }

    env("DATA_DIR", tmp_path / "shuffled")
    reader = None
    for day in ("2024-01-03", "2024-01-01", "2024-01-03", "2024-01-02", "2024-01-01"):
        load_days(day)
        build()
        if reader is None:
            reader = subprocess.Popen(
                [sys.executable, "-c", READER, str(warehouse().path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
    build()
    count, _ = reader.communicate("stop\n", timeout=600)

    assert reader.returncode == 0
    assert int(count) > 20
    assert published() == in_order


def test_a_build_reads_only_the_files_that_changed(load_days, build):
    load_days(DAYS[0])
    build()
    load_days(DAYS[1])

    done = build()

    assert {partition.day for partition in done.partitions} == {dt.date(2024, 1, 2)}
    for model in ("stg_events", "users_snapshot", "stg_coin_prices__prices"):
        assert "dt=2024-01-02/part-0.parquet" in compiled(model)
        assert "dt=2024-01-01/part-0.parquet" not in compiled(model)
    incremental = published()
    build(full_refresh=True, full_tests=True)
    assert published() == incremental


def test_a_day_that_is_loaded_again_with_fewer_rows_takes_them_back(load_days, build, monkeypatch):
    """Rows of a reloaded or removed day go; keys that an earlier day has come back as they were there."""
    load_days(*DAYS)
    build()
    real = data.collection
    gone = {"posts": {1, 2, 105, 111}, "users": {2}, "comments": {1, 2, 600}, "todos": {3}}

    def fewer(name, day, *first_day):
        records = real(name, day, *first_day)
        if day != dt.date(2024, 1, 3):
            return records
        return tuple(record for record in records if record["id"] not in gone.get(name, ()))

    monkeypatch.setattr(data, "collection", fewer)
    load_days(DAYS[2])
    build()
    after_reload = published()
    build(full_refresh=True)
    assert published() == after_reload
    events = {row[0]: row for row in after_reload["silver.stg_events"]}
    assert events["1"][-1] == dt.date(2024, 1, 2)
    assert "111" not in events

    store = Run.create(triggered_by="test").store
    for name in ("posts", "users", "comments", "todos"):
        partition = Partition("jsonplaceholder", name, dt.date(2024, 1, 2))
        store.entry_path(partition).unlink()
        store.data_path(partition).unlink()
    build()
    after_removal = published()
    build(full_refresh=True)
    assert published() == after_removal
    assert read_status(store).problems == []


def test_a_red_test_publishes_nothing_and_names_model_and_test(load_days, build, project):
    load_days(DAYS[0])
    build()
    before, version = published(), warehouse().current()
    bad = project / "tests" / "no_user_one.sql"
    bad.write_text("select * from {{ ref('fct_events') }} where user_id = '1'")
    load_days(DAYS[1])

    with pytest.raises(DbtFailedError, match=r"test `no_user_one` fail: Got 1\d results"):
        build()
    assert (warehouse().current(), published()) == (version, before)
    page = results_page(with_rows=True)
    assert page.index("The last build failed: 1 of") < page.index("no_user_one") < page.index("fct_events</td>")
    assert "user_id=1" in page
    assert "user_id=1" not in results_page(with_rows=False)
    assert "Version 000001" in results_page(version, with_rows=True)

    bad.unlink()
    build()
    assert warehouse().current() == "000002"
    assert len(published()["gold.fct_events"]) == 108


def test_changed_sql_makes_the_models_from_scratch(load_days, build, project):
    load_days(DAYS[0])
    build()
    model = project / "models" / "marts" / "fct_coin_prices_daily.sql"
    model.write_text(model.read_text().replace("        price_usd\n", "        price_usd * 2 as price_usd\n"))

    build()

    silver = {(row[0], row[3]): row[2] for row in published()["silver.stg_coin_prices__prices"]}
    gold = {(row[0], row[1]): row[2] for row in published()["gold.fct_coin_prices_daily"]}
    assert gold == {key: price * 2 for key, price in silver.items()}


def test_a_day_that_fails_a_rule_stays_out_of_all_tables(load_days, build, blog, api):
    """Also if an earlier load of it was published: its rows are no longer in Bronze."""
    load_days(*DAYS[:2])
    build()
    before = published()
    run, day = Run.create(triggered_by="test"), dt.date(2024, 1, 2)
    document = blog.model_dump(mode="json", exclude_defaults=True)
    document["resources"]["posts"]["rules"] = [{"name": "many", "severity": "fail", "row_count": {"min": 1000}}]
    strict = type(blog).model_validate(document)
    with Client(strict) as connection:
        ingest_partition(strict, "posts", day, run, connection)
    with pytest.raises(DataError, match="number of rows at least 1000"):
        validate_partition(strict, "posts", day, run)

    build()

    left_out = published()
    assert len(left_out["silver.stg_events"]) < len(before["silver.stg_events"])
    build(full_refresh=True)
    assert published() == left_out


def test_a_torn_file_stops_the_build_and_reloading_mends_it(load_days, build):
    load_days(DAYS[0])
    store = Run.create(triggered_by="test").store
    path = store.data_path(Partition("jsonplaceholder", "posts", dt.date(2024, 1, 1)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(
        BronzeError, match=r"torn or changed file.*pipeline run --source jsonplaceholder --resource posts"
    ) as caught:
        build()
    assert caught.value.exit_code == 8
    assert warehouse().current() is None

    load_days(DAYS[0])
    assert path.read_bytes() == whole


def test_a_foreign_file_stops_the_build(load_days, build):
    load_days(DAYS[0], resources=["posts"], sources=["jsonplaceholder"])
    stranger = (
        Run.create(triggered_by="test").store.root / "jsonplaceholder" / "posts" / "dt=2024-01-05" / "copy.parquet"
    )
    stranger.parent.mkdir()
    stranger.write_bytes(b"PAR1")

    with pytest.raises(BronzeError, match=r"no ledger record names 1 Parquet files.*dt=2024-01-05/copy.parquet"):
        build()


def test_two_builds_started_together_both_succeed(load_days):
    load_days(DAYS[0])
    command = [sys.executable, "-m", "scripts.cli.main", "build", "--json"]
    both = [
        subprocess.Popen(
            command, cwd=PROJECT_DIR, env=os.environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    results = [process.communicate(timeout=2000) for process in both]

    assert [process.returncode for process in both] == [0, 0], results
    assert sorted(json.loads(out)["version"] or "nothing to do" for out, _ in results) == ["000001", "nothing to do"]
    assert any("waiting for build by cli" in log for _, log in results)


@pytest.mark.long
def test_a_build_killed_anywhere_changes_nothing_and_the_next_one_succeeds(load_days, build, start):
    """Kill -9 before eleven instructions of the builder; and while dbt runs, all processes, and only dbt."""
    load_days(*DAYS[:2])
    build()
    old = published()
    load_days(DAYS[2])
    killer = [sys.executable, "tests/support/kill_build.py"]
    count = start(0, program=killer, DATA_DIR=f"{config.settings().data_dir}-copy")
    total = len(count.stdout)
    assert total > 20, count.stderr[-2000:]
    # the first and the last instructions, and some between
    points = [2, 8, 14, 20, *range(total - 7, total + 1)]
    new = None
    for point in points:
        done = start(point, program=killer)
        state = published()
        if state != old:
            new = new or state
            assert state == new
        assert done.returncode in (-9, 0), done.stderr[-2000:]

    for kind, code in (("session", -signal.SIGKILL), ("dbt", KilledError.exit_code)):
        process = subprocess.Popen(
            [sys.executable, "-m", "scripts.cli.main", "build", "--full-refresh"],
            cwd=PROJECT_DIR,
            env=os.environ,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        for line in process.stderr:
            if "model stg_jsonplaceholder" in line:
                break
        for victim in victims(process.pid, kind):
            os.kill(victim, signal.SIGKILL)
        said = process.stderr.read()
        assert process.wait() == code, said
        assert "Traceback" not in said
        process.stderr.close()

    build()
    final = published()
    assert new in (None, final)
    build(full_refresh=True)
    assert published() == final
    assert not list(warehouse().workspace.parent.glob(".next*"))


def change_published(statement):
    """Change the published file behind the back of the pipeline."""
    path = warehouse().path.resolve()
    path.chmod(0o644)
    with duckdb.connect(str(path)) as connection:
        connection.execute(statement)


def test_status_adds_up_and_finds_a_lost_row(load_days, build):
    load_days(*DAYS[:2])
    build()
    store = Run.create(triggered_by="test").store
    assert read_status(store, content=True).problems == []

    change_published("delete from silver.stg_events where event_id = '5'")

    for content, words in ((True, "distinct keys in Bronze"), (False, "rows that the build counted")):
        (problem,) = [problem for problem in read_status(store, content=content).problems if "stg_events" in problem]
        assert f"107 rows, expected 108: {words}" in problem


@pytest.mark.long
def test_a_day_that_is_missing_is_found_although_another_day_has_its_keys(load_days, build, project):
    """The users of both days are the same: their number is right in a table that lacks the second day."""
    load_days(*DAYS[:2], sources=["jsonplaceholder"], resources=["users"])
    build()
    store = Run.create(triggered_by="test").store
    assert read_status(store, content=True).problems == []
    change_published(f"update silver.stg_jsonplaceholder__users set last_seen_date = date '{DAYS[0]}'")
    (problem,) = read_status(store, content=True).problems
    assert problem.startswith(f"stg_jsonplaceholder__users: 10 rows are of {DAYS[0]}, expected 0: the keys in Bronze")

    model = project / "models/staging/jsonplaceholder/stg_jsonplaceholder__users.sql"
    for date, sign in (("last_seen_date", "-"), ("first_seen_date", "+")):
        wrong = f"source as (\n\n    select * replace ({date} {sign} 1 as {date}) from {{{{"
        model.write_text(model.read_text().replace("source as (\n\n    select * from {{", wrong))
        with pytest.raises(DbtFailedError, match=r"covers_bronze_\S+` fail: .*rows_of_another_day=10"):
            build()
        model.write_text(model.read_text().replace(wrong, "source as (\n\n    select * from {{"))


@pytest.mark.parametrize(
    "place", [pytest.param(0.5, id="rows", marks=pytest.mark.long), pytest.param(1.0, id="footer")]
)
def test_status_names_a_damaged_file_and_the_command_that_repairs_it(load_days, build, start, place):
    load_days(*DAYS[:2], resources=["posts"], sources=["jsonplaceholder"])
    build()
    entry = next(iter(Run.create(triggered_by="test").store.entries()))
    flip(pathlib.Path(config.settings().bronze_location) / entry.path, place, 0x10)

    done = start("status", "--verify")
    assert done.returncode == 7, done.stderr
    command = re.search(r"`pipeline ([^`]+)`", done.stderr).group(1)
    assert command.startswith(f"run --source jsonplaceholder --resource posts --start-date {entry.day}")
    plain = start("status")
    assert plain.returncode in {0, 8}, plain.stderr
    assert ("torn or changed" in plain.stderr) == (plain.returncode == 8)
    assert start(*command.split()).returncode == 0
    assert start("status", "--verify").returncode == 0


@pytest.mark.long
def test_the_command_sends_one_message_about_the_rows_in_quarantine(load_days, start, env):
    load_days(*DAYS)
    with alert_sink() as sink:
        env("SLACK_WEBHOOK", sink.url)
        for _ in range(2):
            done = start("build")
            assert done.returncode == 0, done.stderr
    (text,) = sink.texts
    quarantined = sum(entry.quarantined for entry in Run.create(triggered_by="test").store.entries())
    assert text.startswith(f"ROWS QUARANTINED: {quarantined} of ")


@pytest.mark.long
def test_only_the_selected_nodes_and_what_reads_them_are_refreshed(load_days, build, start):
    load_days(DAYS[0])
    build()
    before = published()

    planned = start("build", "--full-refresh", "--select", "dim_users", "--plan", "--json")
    done = build(full_refresh=True, select=["fct_events+"])
    refused = start("build", "--select", "fct_events")
    missed = start("build", "--full-refresh", "--select", "no_such_node")

    made = {node["name"] for node in json.loads(planned.stdout)["nodes"] if node["mode"] != "skip"}
    assert made == {"dim_users"}
    models = {result.name for result in done.results if result.kind == "model"}
    assert models == {"fct_events", "fct_user_activity_daily"}
    assert published() == before
    assert (refused.returncode, missed.returncode) == (2, 2)
    assert "--select is given without --full-refresh" in refused.stderr
    assert "--select no_such_node selects no node" in missed.stderr
    assert "Traceback" not in missed.stderr


@pytest.mark.long
def test_dbt_commands_run_on_a_copy(load_days, build, start):
    load_days(DAYS[0])
    build()
    version = warehouse().current()

    stale = start("dbt", "source", "freshness", "--select", "source:jsonplaceholder")
    shown = start("dbt", "show", "--select", "fct_events", "--limit", "3")

    assert "ERROR STALE" in stale.stdout
    assert "comment_count" in shown.stdout, shown.stdout
    assert warehouse().current() == version


@pytest.mark.long
def test_the_data_documentation_is_written_again_where_it_would_show_something_else(load_days, build, project):
    load_days(DAYS[0])
    build()
    run = Run.create(triggered_by="test")
    page = write_docs(run)
    first = page.stat().st_mtime_ns
    load_days(DAYS[1])
    build()
    assert write_docs(run).stat().st_mtime_ns == first

    properties = project / "models" / "marts" / "dim_users.yml"
    properties.write_text(properties.read_text().replace("One row per user", "NEWWORD per user"))
    assert "NEWWORD" in write_docs(run).read_text()

    page.write_text("torn")
    assert "NEWWORD" in write_docs(run).read_text()


@pytest.mark.long
def test_the_demo_adds_up_and_a_second_one_gives_the_same_tables(tmp_path, start):
    first = start("demo", DEMO_DIR=tmp_path / "demo")
    before = tables(tmp_path / "demo" / "warehouse.duckdb")
    second = start("demo", DEMO_DIR=tmp_path / "demo")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "fetched 2621 = Bronze 2616 + quarantined 5" in first.stdout
    for word in ("HTTP 429", "HTTP 500", "closed without an answer", "drift: field `tags`", "rule `title_length`"):
        assert word in first.stderr
    assert tables(tmp_path / "demo" / "warehouse.duckdb") == before
