"""Builds on a Spark cluster of two workers: the same tables as DuckDB's, in versions that are published whole."""

import os
import shutil
import socket
import threading

import pytest

from scripts import config
from scripts.bronze.run import Run
from scripts.contracts import catalog
from scripts.errors import TransientError, UsageError, WarehouseError
from scripts.loading.partitions import load, partitions
from scripts.utils.days import day_range, parse_day
from scripts.warehouse import build as builds
from scripts.warehouse.runner import DbtFailedError, run_dbt
from tests.support.project import copy_project
from tests.support.required import without
from tests.support.spark_cluster import SparkError, running_cluster
from tests.support.tables import rows_that_differ
from tests.support.tutorial import copy_repository, follow_tutorial, run_in, serving_products

pytestmark = [pytest.mark.scale, pytest.mark.long, pytest.mark.timeout(7200)]
FIRST, SECOND, THIRD = (parse_day(f"2024-03-0{number}") for number in (1, 2, 3))
RED_TEST = "select 1 from {{ ref('fct_coin_prices_daily') }} limit 1\n"
COUNT = "select count(*) from gold.fct_coin_prices_daily"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with running_cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture(scope="module")
def client(cluster):
    with cluster.client() as found:
        yield found


@pytest.fixture
def spark(env, cluster, client):
    """The cluster with an empty catalog; builds with the target `spark` use it."""
    for (schema,) in client.query("show schemas"):
        if schema != "default":
            client.query(f"drop schema `{schema}` cascade")
    env("SPARK_PORT", cluster.port)
    env("SPARK_PYTHON", config.settings().spark_python)
    return client


@pytest.fixture
def prices(tmp_path, monkeypatch, spark, api):
    """A project with only the models of prices, whose builds are short."""
    project = copy_project(tmp_path / "edited", monkeypatch)
    for folder in ("staging/jsonplaceholder", "history", "metrics"):
        shutil.rmtree(project / "models" / folder)
    for path in (project / "models/marts").iterdir():
        if not path.name.startswith("fct_coin_prices"):
            path.unlink()
    return project


def load_days(*days, source="coin_prices"):
    for day in days:
        outcomes = load(Run.create(triggered_by="test"), partitions(day_range(day, day), [source], None))
        assert [outcome.error for outcome in outcomes if outcome.error] == []


def build(env, target, **options):
    env("DBT_TARGET", target)
    return builds.build_warehouse(Run.create(triggered_by="test"), **options)


def assert_equal_tables(cluster, version):
    """All tables of DuckDB's warehouse have the same rows on Spark; return their names."""
    differing = rows_that_differ(builds.warehouse().path, cluster.tables, version)
    assert set(differing.values()) == {0}, differing
    return {name.partition(".")[2] for name in differing}


def test_spark_makes_the_tables_of_the_demo_and_of_the_tutorial(tmp_path, monkeypatch, env, cluster, spark):
    environ = copy_repository(tmp_path)
    run_in(tmp_path, "pipeline demo", {**environ, "DEMO_DIR": environ["DATA_DIR"]})
    with serving_products() as products:
        follow_tutorial(tmp_path, environ, products)
    monkeypatch.setattr(config, "PROJECT_DIR", tmp_path)
    monkeypatch.setattr(catalog, "SOURCES_DIR", tmp_path / "scripts/sources")
    assert Run.create(triggered_by="test").store.location == f"{environ['DATA_DIR']}/bronze"

    done = build(env, "spark")

    assert done.version == "000001"
    assert {result.status for result in done.results} <= {"success", "pass", "warn"}
    assert {"fct_events", "users_snapshot", "fct_category_stock"} <= assert_equal_tables(cluster, "000001")
    assert [one.quarantined for one in Run.create(triggered_by="test").store.entries() if one.quarantined]
    # the views show the same rows, and nothing is left to build
    counts = [spark.query(f"select count(*) from {schema}.fct_events") for schema in ("gold", "gold__000001")]
    assert counts[0] == counts[1]
    assert build(env, "spark").is_empty
    # the unit tests of the models hold on Spark too
    results = run_dbt(
        ["test", "--select", "test_type:unit"],
        builds.warehouse(),
        config.settings().bronze_location,
        mode="whole",
        version="000001",
    )
    assert {result.status for result in results} == {"pass"}
    assert len(results) == 5


def test_spark_makes_the_tables_of_three_days_of_jsonplaceholder(env, cluster, spark):
    if not (url := os.environ.get("JSONPLACEHOLDER_URL")):
        without("REQUIRE_JSONPLACEHOLDER", "JSONPLACEHOLDER_URL is not set")
    env("API_BASE_URL", url)
    load_days(FIRST, SECOND, THIRD, source="jsonplaceholder")
    build(env, "dev")
    done = build(env, "spark")
    assert {"fct_events", "dim_users"} <= assert_equal_tables(cluster, done.version)
    assert spark.query("select count(*) from gold.fct_events") == [[100]]


def test_a_bucket_gives_the_same_tables(prices, tmp_path, bucket, env, cluster):
    """Spark reads the bucket through a mount: its own client of S3 is not among the packages of PyPI."""
    if not os.access("/dev/fuse", os.W_OK) or shutil.which("fusermount3") is None:
        without("REQUIRE_FUSE", "no bucket can be mounted here: the package fuse3")
    load_days(FIRST, SECOND)
    load_days(FIRST)
    build(env, "dev")
    with bucket.mounted(tmp_path / "mounted") as folder:
        bronze = folder / config.settings().bronze_location.removeprefix("s3://")
        env("SPARK_BRONZE_URL", f"file://{bronze}")
        done = build(env, "spark")
        assert len(list((bronze / "coin_prices/prices/dt=2024-03-01").iterdir())) > 1, "Spark reads only what is named"
    assert assert_equal_tables(cluster, done.version) == {"stg_coin_prices__prices", "fct_coin_prices_daily"}


def assert_builds_fail(prices, env):
    """A red test, rows that do not follow from the layer below, a column of another type than its contract, and values
    that cannot be cast, in a model and in a test."""
    red = prices / "tests/red.sql"
    red.write_text(RED_TEST)
    with pytest.raises(DbtFailedError, match="red"):
        build(env, "spark")
    red.unlink()
    model = prices / "models/marts/fct_coin_prices_daily.sql"
    right = model.read_text()
    model.write_text(right.replace("select count(*) from silver", "select count(*) + 1 from silver"))
    with pytest.raises(WarehouseError, match=r"row accounting.*fct_coin_prices_daily"):
        build(env, "spark")
    model.write_text(right.replace("    price_usd\n", "    cast(price_usd as string) as price_usd\n"))
    with pytest.raises(DbtFailedError, match="contract"):
        build(env, "spark")
    model.write_text(right.replace("    price_usd\n", "    price_usd + cast(coin as double) as price_usd\n"))
    with pytest.raises(DbtFailedError, match="CAST_INVALID_INPUT"):
        build(env, "spark")
    model.write_text(right)
    red.write_text(RED_TEST.replace("limit 1", "where cast(coin as double) is not null"))
    with pytest.raises(DbtFailedError, match="CAST_INVALID_INPUT"):
        build(env, "spark")
    red.unlink()


def test_readers_see_only_whole_versions(prices, env, cluster, spark):
    # what others have in the catalog, and a model that the next version does not have
    spark.query("create schema sales__202401")
    spark.query("create schema gold")
    spark.query("create view gold.of_a_person as select 1 as x")
    extra = prices / "models/extra.sql"
    extra.write_text("{{ config(schema='gold') }} select 1 as x")
    load_days(FIRST)
    build(env, "spark")
    before = spark.query(COUNT)
    assert spark.query("select x from gold.extra") == [[1]]
    extra.unlink()
    load_days(SECOND)
    assert_builds_fail(prices, env)
    assert spark.query(COUNT) == before
    assert builds.kept_versions() == (["000001"], "000001")

    seen, stopped = [], threading.Event()

    def read():
        with cluster.client() as reader:
            while not stopped.is_set():
                seen.append(reader.query(COUNT))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        done = build(env, "spark")
    finally:
        stopped.set()
        for reader in readers:
            reader.join()
    after = spark.query(COUNT)
    with pytest.raises(SparkError, match="TABLE_OR_VIEW_NOT_FOUND"):
        spark.query("select x from gold.extra")
    assert spark.query("select x from gold.of_a_person") == [[1]]
    assert ["sales__202401"] in spark.query("show schemas")
    assert after != before
    assert before in seen
    assert all(found in (before, after) for found in seen)
    # the failed builds left nothing but the numbers that they had
    versions, published = builds.kept_versions()
    assert (versions, published) == (["000001", done.version], done.version)
    assert builds.roll_back(Run.create(triggered_by="test")) == "000001"
    assert spark.query(COUNT) == before
    assert spark.query("select x from gold.extra") == [[1]]
    with pytest.raises(UsageError, match="no earlier version"):
        builds.roll_back(Run.create(triggered_by="test"))
    with pytest.raises(SparkError, match="TABLE_OR_VIEW_NOT_FOUND"):
        spark.query("select * from gold.never_made")


def test_a_server_that_does_not_answer_is_a_transient_error(prices, env):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        env("SPARK_PORT", unused.getsockname()[1])
        with pytest.raises(TransientError, match="Spark cannot be reached"):
            build(env, "spark")
