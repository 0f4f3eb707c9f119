"""What a build on Spark checks before it asks the cluster; test_spark_cluster.py has the tests with one."""

import json
import socket
import sys

import pytest

from scripts.admin.spark_checks import examine_spark
from scripts.bronze.run import Run
from scripts.contracts import catalog
from scripts.errors import BronzeError, SettingsError, WarehouseError
from scripts.monitoring.health import health
from scripts.monitoring.status import read_status
from scripts.planning.reconcile import examine
from scripts.warehouse import build as builds
from scripts.warehouse import spark_build, spark_versions
from scripts.warehouse.data_docs import write_docs
from scripts.warehouse.runner import environment

DAYS = ("2024-01-01", "2024-01-02")


@pytest.fixture
def loaded(load_days, project, env):
    """Two days of prices in Bronze, for a build on Spark."""
    load_days(*DAYS, sources=["coin_prices"])
    env("DBT_TARGET", "spark")
    return Run.create(triggered_by="test").store


def build(**options):
    return builds.build_warehouse(Run.create(triggered_by="test"), **options)


@pytest.fixture
def asked(monkeypatch):
    """The partitions that builds would hand to Spark; each build then ends, as one without work."""
    found = []

    def run_dbt(arguments, *_, told, **__):
        found.append([row[2] for row in json.loads(arguments[-1])["partitions"]])
        told.append('pipeline: {"version": null, "published": "000007"}')

    monkeypatch.setattr(spark_build, "run_dbt", run_dbt)
    return found


def test_a_missing_file_of_bronze_stops_the_build(loaded):
    loaded.data_path(next(iter(loaded.entries())).partition).unlink()
    with pytest.raises(BronzeError, match="missing"):
        build()


def test_a_record_that_cannot_be_read_stops_the_build(loaded, asked):
    """Every build makes all rows again, so a version without this day would lose its rows."""
    build()
    assert asked == [[*DAYS]]
    (loaded.root / "_ledger/coin_prices/prices/2024-01-01.json").write_text("{")
    with pytest.raises(BronzeError, match="ledger record cannot be read"):
        build()


def test_a_source_whose_contract_has_a_mistake_keeps_its_rows(loaded, asked, tmp_path, monkeypatch):
    sources = tmp_path / "sources"
    sources.mkdir()
    monkeypatch.setattr(catalog, "SOURCES_DIR", sources)
    (sources / "coin_prices.yml").write_text("source: coin_prices\n")
    build()
    assert asked == [[*DAYS]]
    (sources / "coin_prices.yml").unlink()
    catalog.forget()
    build()
    assert asked[1:] == [[]], "a source that is no more has no rows"


def test_what_is_due_follows_from_the_version_that_was_published(loaded, asked, load_days):
    """A scheduler asks the cluster only if a build is due, and health does not call days of Spark unpublished."""
    assert [reason for reason in examine(loaded).build.reasons if "2 partitions" in reason]
    build()
    assert (examine(loaded).build.reasons, read_status(loaded).version) == ([], "000007")
    assert {row.state for row in read_status(loaded).partitions} == {"built"}
    assert {str(partition.day) for partition in examine(loaded).held} == {*DAYS}
    load_days("2024-01-03", sources=["coin_prices"])
    assert examine(loaded).build.reasons == ["1 partitions are not in the published version"]
    assert [row.state for row in read_status(loaded).partitions] == ["built", "built", "build pending"]
    spark_versions.note_rollback(builds.warehouse(), "000006")
    assert examine(loaded).build.reasons == ["3 partitions are not in the published version"]


def test_the_time_of_a_version_stays_when_a_build_finds_nothing_to_do(loaded, asked):
    with pytest.raises(WarehouseError, match="no version is published on Spark"):
        write_docs(Run.create(triggered_by="test"))
    build()
    first = health(loaded)["built_at_utc"]
    versions = builds.warehouse().root / "spark-versions.json"
    versions.write_text(versions.read_text().replace(first, "2024-01-05T00:00:00+00:00"))
    build()
    assert health(loaded)["built_at_utc"] == "2024-01-05T00:00:00+00:00"
    versions.write_text("{")
    assert health(loaded)["built_at_utc"] is None


def test_a_changed_project_is_due(loaded, asked, project):
    build()
    (project / "models/more.sql").write_text("select 1 as x")
    assert examine(loaded).build.reasons == ["the dbt project has changed"]
    assert not build(layer="silver").is_empty


def test_a_build_of_silver_tells_for_what_the_build_of_gold_is_due(loaded, asked, load_days):
    """Airflow starts the build of Gold if that of Silver had something to do."""
    assert [str(partition.day) for partition in build(layer="silver").partitions] == [*DAYS]
    build(layer="gold")
    assert build(layer="silver").is_empty
    load_days("2024-01-03", sources=["coin_prices"])
    assert [str(partition.day) for partition in build(layer="silver").partitions] == ["2024-01-03"]
    assert len(asked) == 1, "the cluster was asked by the build of Gold alone"


@pytest.mark.parametrize("option", [("--full-refresh", "--select", "x"), ("--drop", "x"), ("--retry",), ("--plan",)])
def test_an_option_that_has_no_meaning_on_spark_is_refused_in_one_line(option, start):
    done = start("build", *option, DBT_TARGET="spark")
    assert done.returncode == 2
    assert "on Spark" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_names_a_missing_client_and_a_server_that_does_not_answer(env, tmp_path, api):
    env("DBT_TARGET", "spark")
    env("SPARK_PYTHON", tmp_path / "bin/python")
    env("SPARK_HOST", "127.0.0.1")
    env("SPARK_PORT", api.server_address[1])
    assert [check.ok for check in examine_spark()] == [False, True]
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        env("SPARK_PORT", unused.getsockname()[1])
        env("SPARK_PYTHON", sys.executable)
        assert [check.ok for check in examine_spark()] == [True, False]
    env("DBT_TARGET", "dev")
    assert examine_spark() == []


def test_an_environment_without_dbt_for_spark_is_told(loaded, env, tmp_path):
    env("SPARK_PYTHON", tmp_path / "bin/python")
    with pytest.raises(SettingsError, match=r"SPARK_PYTHON=.*does not exist.*make setup-spark"):
        build()


@pytest.mark.parametrize(
    ("bronze", "url"),
    [("/srv/my bronze", "file:///srv/my bronze"), ("s3://b/p", "s3a://b/p"), ("gs://b/p", "gs://b/p")],
)
def test_spark_reads_bronze_where_it_is_unless_a_setting_says_otherwise(bronze, url, env):
    assert environment(builds.warehouse(), bronze)["SPARK_BRONZE_URL"] == url
    env("SPARK_BRONZE_URL", "file:///mnt/bronze")
    assert environment(builds.warehouse(), bronze)["SPARK_BRONZE_URL"] == "file:///mnt/bronze"
