"""Builds layer by layer, as the orchestrators make them, and builds that go on from what failed."""

import shutil
import subprocess
import sys

import pytest

from scripts.bronze.run import Run
from scripts.errors import LockedError
from scripts.planning import reconcile
from scripts.planning.published import read_published
from scripts.warehouse import candidate
from scripts.warehouse.build import warehouse
from scripts.warehouse.runner import DbtFailedError
from tests.support.tables import tables

DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")


def models(done):
    return {result.name for result in done.results if result.kind == "model"}


def awaits_gold():
    return read_published(reconcile.read_ledger(Run.create(triggered_by="test").store)).awaits_gold


def test_silver_then_gold_is_the_whole_build(load_days, build, tmp_path, env):
    load_days(*DAYS)
    build()
    whole = tables(warehouse().path)

    env("DATA_DIR", tmp_path / "layered")
    load_days(*DAYS[:2])
    silver = build(layer="silver")
    assert silver.version is None
    assert "stg_events" in models(silver)
    assert "fct_events" not in models(silver)
    assert warehouse().current() is None, "a candidate is not published"
    assert build(layer="silver").is_empty, "the candidate holds the ledger already"

    load_days(DAYS[2])
    assert len(build(layer="silver").partitions) == 5, "a day that came later is brought into the candidate"
    gold = build(layer="gold")
    assert gold.version == "000001"
    assert models(gold) == {"dim_users", "fct_coin_prices_daily", "fct_events", "fct_user_activity_daily"}
    assert {result.kind for result in gold.results} == {"model", "test"}, "unit tests run in CI"
    assert tables(warehouse().path) == whole

    assert build(layer="silver").is_empty
    assert build(layer="gold").is_empty
    assert warehouse().versions() == ["000001"]


def test_what_awaits_gold_is_known_without_opening_what_the_build_writes(load_days, build):
    load_days(DAYS[0])
    build(layer="silver")
    # a reader of this file would hold a lock that stops the build of Gold
    warehouse().build_path.write_bytes(b"")
    assert awaits_gold()

    load_days(DAYS[1])
    assert not awaits_gold(), "Silver does not hold the second day"


def test_a_build_whose_file_another_process_has_open_may_be_tried_again(load_days, build):
    load_days(DAYS[0])
    build(layer="silver")
    script = "import duckdb, sys; held = duckdb.connect(sys.argv[1], read_only=True); print(1, flush=True); input()"
    command = [sys.executable, "-c", script, str(warehouse().build_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        reader.stdout.readline()
        with pytest.raises(LockedError, match="another process has the build's file open"):
            build(layer="gold")
        reader.stdin.close()
    assert build(layer="gold").version == "000001"


def test_gold_without_a_candidate_does_the_whole_build(load_days, build):
    load_days(DAYS[0])
    build(layer="silver")
    shutil.rmtree(warehouse().workspace)
    assert build(layer="gold").version == "000001"


@pytest.mark.long
def test_gold_does_not_build_on_a_candidate_of_another_version(load_days, build):
    load_days(DAYS[0])
    build()
    load_days(DAYS[1])
    build()
    load_days(DAYS[2])
    build(layer="silver")
    warehouse().rollback()
    done = build(layer="gold")
    assert "stg_events" in models(done)
    assert {partition.day.day for partition in done.partitions} == {2, 3}


def test_a_retry_goes_on_from_the_model_that_failed(load_days, build, project):
    load_days(DAYS[0])
    model = project / "models/marts/fct_events.sql"
    right = model.read_text()
    model.write_text(right + "\nthis is no sql\n")
    build(layer="silver")
    with pytest.raises(DbtFailedError, match="fct_events"):
        build(layer="gold")
    assert candidate.read(warehouse()).state == "failed"

    model.write_text(right)
    done = build(layer="gold", retry=True)
    assert done.version == "000001"
    ended = {result.name: result.status for result in done.results if result.kind == "model"}
    assert ended == dict.fromkeys(
        ("dim_users", "fct_coin_prices_daily", "fct_events", "fct_user_activity_daily"), "success"
    )
    manifest_run = (warehouse().root / "dbt/run_results.json").read_text()
    assert "model.data_pipeline.fct_events" in manifest_run
    assert "model.data_pipeline.dim_users" not in manifest_run, "it had succeeded, and was not made again"


@pytest.mark.long
@pytest.mark.parametrize("change", ["the ledger", "a model that was made", "a macro"])
def test_a_retry_makes_again_what_has_changed(load_days, build, project, change):
    load_days(DAYS[0])
    model = project / "models/marts/fct_events.sql"
    right = model.read_text()
    model.write_text(right + "\nthis is no sql\n")
    with pytest.raises(DbtFailedError, match="fct_events"):
        build()

    model.write_text(right)
    if change == "the ledger":
        load_days(DAYS[1])
    elif change == "a model that was made":
        other = project / "models/marts/dim_users.sql"
        other.write_text(other.read_text().replace("users.city,", "upper(users.city) as city,"))
    else:
        other = project / "macros/bronze.sql"
        other.write_text(other.read_text().replace("order by dt desc, _row desc", "order by dt, _row"))
    done = build(retry=True)
    assert "stg_jsonplaceholder__users" in models(done)
    assert "dim_users" in (warehouse().root / "dbt/run_results.json").read_text()
    incremental = tables(warehouse().path)
    build(full_refresh=True)
    assert tables(warehouse().path) == incremental


def test_comments_and_white_space_make_nothing_again(load_days, build, project):
    load_days(DAYS[0])
    build()
    for path in ("models/marts/dim_users.sql", "macros/bronze.sql"):
        file = project / path
        file.write_text(file.read_text().replace("select", "select  ") + "\n{# a comment #}\n-- another\n")
    assert build().is_empty
    assert warehouse().versions() == ["000001"]
