"""Ordinary edits of the dbt project: what is published afterwards equals a build from nothing, or nothing was built."""

import hmac
import json
import pathlib
import re
import shutil

import duckdb
import pytest

from scripts import config
from scripts.bronze.run import Run
from scripts.contracts import catalog, source_yaml
from scripts.errors import SettingsError, WarehouseError
from scripts.loading.partitions import load, partitions
from scripts.utils.days import day_range
from scripts.warehouse.build import warehouse
from scripts.warehouse.runner import DbtFailedError

pytestmark = pytest.mark.timeout(1800)

DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")
MART = "models/marts"
BY_EVENT = "unique_key='event_id', contract={'enforced': false}, meta={'affected_by': {'fct_events': ['event_id']}}"
FILTER = "{% if is_incremental() %} where {{ in_affected_keys(['event_id']) }} {% endif %}"


@pytest.fixture
def write(project):
    """Write files of the project."""

    def write_files(files):
        for name, text in files.items():
            path = project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write_files


def published():
    """Return the rows of all tables and views that people can query."""
    with duckdb.connect(str(warehouse().path), read_only=True) as connection:
        names = connection.execute(
            "select table_schema, table_name from information_schema.tables"
            " where not starts_with(table_schema, '_pipeline') order by all"
        ).fetchall()
        return {
            f"{schema}.{name}": sorted(map(repr, connection.execute(f'from "{schema}"."{name}"').fetchall()))
            for schema, name in names
        }


def differences(one, other):
    """Return the tables that differ, with a few rows of each side."""
    return {
        name: (
            sorted(set(one.get(name, ())) - set(other.get(name, ())))[:2],
            sorted(set(other.get(name, ())) - set(one.get(name, ())))[:2],
        )
        for name in {*one, *other}
        if one.get(name) != other.get(name)
    }


BEFORE = {
    # a variable, an alias, a reader of the alias, a hyphen, a null in the key, a reserved word as the key
    f"{MART}/fct_prefixed.sql": f"{{{{ config({BY_EVENT}) }}}} select event_id,"
    f" '{{{{ var(\"prefix\") }}}}' || event_title as t from {{{{ ref('fct_events') }}}} {FILTER}",
    f"{MART}/fct_first.sql": f"{{{{ config({BY_EVENT}, alias='first_table') }}}} select event_id, user_id"
    f" from {{{{ ref('fct_events') }}}} {FILTER}",
    f"{MART}/fct_second.sql": "{{ config(unique_key='user_id', contract={'enforced': false},"
    " meta={'affected_by': {'fct_first': ['user_id']}}) }} select user_id, count(*) as n from {{ ref('fct_first') }}"
    " {% if is_incremental() %} where {{ in_affected_keys(['user_id']) }} {% endif %} group by 1",
    f"{MART}/fct-hyphen.sql": f"{{{{ config({BY_EVENT}) }}}} select event_id from {{{{ ref('fct_events') }}}} {FILTER}",
    f"{MART}/fct_by_lag.sql": "{{ config(unique_key='order', contract={'enforced': false},"
    " meta={'affected_by': {'fct_events': ['nullif(arrival_lag_days, 0)']}}) }}"
    " select nullif(arrival_lag_days, 0) as \"order\", count(*) as n from {{ ref('fct_events') }}"
    " {% if is_incremental() %} where {{ in_affected_keys(['nullif(arrival_lag_days, 0)']) }} {% endif %} group by 1",
    # an upstream that affected_by leaves out, an ephemeral model, last_seen_date downstream, a Python model
    f"{MART}/fct_mails.sql": "{{ config("
    + BY_EVENT
    + ") }} select e.event_id, u.email from {{ ref('fct_events') }} as e"
    " left join {{ ref('dim_users') }} as u using (user_id)"
    " {% if is_incremental() %} where {{ in_affected_keys(['e.event_id']) }} {% endif %}",
    f"{MART}/eph_users.sql": "{{ config(materialized='ephemeral', contract={'enforced': false}) }}"
    " select user_id from {{ ref('dim_users') }}",
    f"{MART}/fct_user_ids.sql": "{{ config(materialized='table', contract={'enforced': false}) }}"
    " from {{ ref('eph_users') }}",
    f"{MART}/fct_seen.sql": "{{ config(unique_key='event_id', contract={'enforced': false},"
    " meta={'affected_by': {'stg_events': ['event_id']}}) }}"
    " select event_id, last_seen_date from {{ ref('stg_events') }}"
    " {% if is_incremental() %} where {{ in_affected_keys(['event_id']) }} {% endif %}",
    f"{MART}/py_rules.py": "def model(dbt, session):\n"
    '    dbt.config(materialized="incremental", unique_key="event_id", incremental_strategy="delete+insert",'
    ' contract={"enforced": False})\n'
    '    rows = dbt.ref("fct_events").project("event_id, event_date, 1 as rule")\n'
    "    if dbt.is_incremental:\n"
    '        last = session.sql(f"select max(event_date) from {dbt.this}").fetchall()[0][0]\n'
    "        rows = rows.filter(f\"event_date > date '{last}'\")\n"
    "    return rows\n",
    # written as for plain dbt, in other folders and schemas
    f"{MART}/fct_plain.sql": "{{ config(unique_key='event_id', contract={'enforced': false}) }}"
    " select event_id, event_date from {{ ref('fct_events') }} {% if is_incremental() %}"
    " where event_date >= (select max(t.event_date) from {{ this }} as t) {% endif %}",
    f"{MART}/fct_appended.sql": "{{ config(incremental_strategy='append', contract={'enforced': false}) }}"
    " select event_id from {{ ref('fct_events') }} {% if is_incremental() %} where false {% endif %}",
    "models/intermediate/int_events.sql": "select event_id, user_id from {{ ref('stg_events') }}",
    f"{MART}/my_models.sql": "{{ config(materialized='table', schema='meta', alias='models',"
    " contract={'enforced': false}) }} select 1 as id",
    f"{MART}/fct_sources.sql": "{{ config(materialized='table', contract={'enforced': false}) }}"
    " select dt, count(*) as n from {{ source('jsonplaceholder', 'posts') }} group by dt",
    f"{MART}/fct_old.sql": f"{{{{ config({BY_EVENT}) }}}} select event_id from {{{{ ref('fct_events') }}}} {FILTER}",
    # staging: a filter, two resources, on staging
    "models/staging/jsonplaceholder/stg_short.sql": "{{ config(unique_key='event_id') }} select id as event_id,"
    " first_seen_date, last_seen_date from {{ latest_row_per_key('jsonplaceholder', 'posts') }}"
    " where title not like 's%'",
    "models/staging/jsonplaceholder/stg_all.sql": "{{ config(unique_key='id') }}"
    " select 'p' || id as id from {{ latest_row_per_key('jsonplaceholder', 'posts') }} union all"
    " select 'c' || id as id from {{ latest_row_per_key('jsonplaceholder', 'comments') }}",
    "models/staging/jsonplaceholder/stg_again.sql": "{{ config(unique_key='event_id') }}"
    " select event_id from {{ ref('stg_events') }}",
    "models/staging/jsonplaceholder/stg_pausable.sql": "{{ config(unique_key='todo_id') }} select id as todo_id,"
    " first_seen_date, last_seen_date from {{ latest_row_per_key('jsonplaceholder', 'todos') }}",
    # a seed and what joins it
    "seeds/coin_labels.csv": "coin,label\nbitcoin,BTC\nethereum,ETH\nsolana,SOL\n",
    f"{MART}/fct_labelled.sql": "{{ config(unique_key=['coin', 'price_date'], contract={'enforced': false},"
    " meta={'affected_by': {'stg_coin_prices__prices': ['coin', 'price_date']}}) }}"
    " select p.coin, p.price_date, l.label from {{ ref('stg_coin_prices__prices') }} as p"
    " left join {{ ref('coin_labels') }} as l using (coin)"
    " {% if is_incremental() %} where {{ in_affected_keys(['coin', 'price_date']) }} {% endif %}",
    # outside of the warehouse's file
    f"{MART}/ext_users.sql": "{{ config(materialized='external', contract={'enforced': false}) }}"
    " select user_id, first_seen_date from {{ ref('dim_users') }}",
}


@pytest.mark.long
def test_a_project_of_many_kinds_follows_days_and_edits(load_days, build, project, write, tmp_path, env):
    """Three builds with days and edits between them, against one build from nothing after each."""
    data = config.settings().data_dir
    settings = project / "dbt_project.yml"
    settings.write_text(settings.read_text() + '\nvars: {prefix: "A-"}\n')
    write(BEFORE)

    def equals_a_build_from_nothing(name):
        env("DATA_DIR", tmp_path / name)
        shutil.copytree(data / "bronze", tmp_path / name / "bronze")
        build()
        fresh = published()
        env("DATA_DIR", data)
        assert differences(published(), fresh) == {}

    load_days(*DAYS[:2])
    first = build()
    assert "gold.fct_old" in published()
    assert (warehouse().files(first.version) / "gold.ext_users.parquet").is_file()

    write(
        {"models/staging/jsonplaceholder/stg_pausable.yml": "models: [{name: stg_pausable, config: {enabled: false}}]"}
    )
    load_days(DAYS[2])
    build()
    assert "silver.stg_pausable" not in published()
    equals_a_build_from_nothing("after-a-day")

    (project / "models/staging/jsonplaceholder/stg_pausable.yml").unlink()
    (project / MART / "fct_old.sql").rename(project / MART / "fct_new.sql")
    settings.write_text(
        settings.read_text().replace('"A-"', '"B-"').replace("model-paths: [", 'model-paths: ["analytics", ')
    )
    python = project / MART / "py_rules.py"
    python.write_text(python.read_text().replace("1 as rule", "2 as rule"))
    write(
        {
            "seeds/coin_labels.csv": "coin,label,rank\nbitcoin,XBT,1\nethereum,ETH,2\nsolana,SOL,3\n",
            "analytics/an_events.sql": "{{ config(schema='gold', materialized='table') }} select 1 as id",
            f"{MART}/fct_user_ids.sql": "{{ config(materialized='view', contract={'enforced': false}) }}"
            " from {{ ref('eph_users') }}",
        }
    )
    load_days("2024-01-04")
    third = build()
    assert third.dropped == ('"gold"."fct_old"',)
    equals_a_build_from_nothing("after-edits")
    assert build().is_empty


REFUSED = {
    "a name in affected_by that is not read": (
        {
            f"{MART}/fct_copied.sql": "{{ config(unique_key='event_id', contract={'enforced': false},"
            " meta={'affected_by': {'no_such_model': ['event_id']}}) }} select event_id from {{ ref('fct_events') }} "
            + FILTER
        },
        r"fct_copied.*no_such_model.*fct_events",
    ),
    "an ephemeral model in affected_by": (
        {
            f"{MART}/eph_events.sql": "{{ config(materialized='ephemeral', contract={'enforced': false}) }}"
            " select event_id from {{ ref('fct_events') }}",
            f"{MART}/fct_ephemeral.sql": "{{ config(unique_key='event_id', contract={'enforced': false},"
            " meta={'affected_by': {'eph_events': ['event_id']}}) }} select event_id from {{ ref('eph_events') }} "
            + FILTER,
        },
        r"fct_ephemeral.*names `eph_events`, which is ephemeral.*fct_events",
    ),
    "no unique_key": (
        {f"{MART}/fct_keyless.sql": "{{ config(contract={'enforced': false}) }} select 1 as id"},
        r"fct_keyless.*unique_key",
    ),
    "a test of a disabled model": (
        {
            f"{MART}/fct_off.sql": "{{ config(enabled=false) }} select 1 as id",
            "tests/off_is_empty.sql": "select * from {{ ref('fct_off') }}",
        },
        r"tests/off_is_empty\.sql: test `off_is_empty` reads `fct_off`, which is disabled",
    ),
    "an unknown strategy": (
        {
            f"{MART}/fct_odd.sql": "{{ config(incremental_strategy='replcae', contract={'enforced': false}) }}"
            " select 1 as id"
        },
        r"fct_odd.*replcae",
    ),
    "a view on a source": (
        {
            f"{MART}/v_raw.sql": "{{ config(materialized='view', contract={'enforced': false}) }}"
            " select * from {{ source('jsonplaceholder', 'posts') }}"
        },
        r"v_raw.*view on source",
    ),
    "an external file elsewhere": (
        {
            f"{MART}/ext_users.sql": "{{ config(materialized='external', location='/tmp/x.parquet',"
            " contract={'enforced': false}) }} select 1 as id"
        },
        r"ext_users.*external.*remove `location`",
    ),
    "the pipeline's own schema": (
        {
            f"{MART}/mine.sql": "{{ config(materialized='table', schema='_pipeline', contract={'enforced': false}) }}"
            " select 1 as id"
        },
        r"mine.*_pipeline",
    ),
    "a name in YAML that nothing has": (
        {f"{MART}/typo.yml": "models: [{name: fct_evnets, columns: [{name: event_id, data_tests: [unique]}]}]"},
        r"fct_evnets",
    ),
    "an environment variable that is not set": (
        {
            f"{MART}/fct_env.sql": "{{ config(materialized='table', contract={'enforced': false}) }}"
            " select '{{ env_var(\"NOT_SET_ANYWHERE\") }}' as x"
        },
        r"NOT_SET_ANYWHERE.*models/marts/fct_env.sql:1",
    ),
    "a setting of DuckDB that is changed while dbt compiles": (
        {
            f"{MART}/fct_setting.sql": "{{ config(materialized='table', contract={'enforced': false}) }}"
            " {% do run_query('set enable_external_access = true') %} select 1 as id"
        },
        r"fct_setting.*enable_external_access.*under `config_options`",
    ),
    "a macro that does not exist": (
        {f"{MART}/fct_macro.sql": "{{ config(materialized='table', contract={'enforced': false}) }} {{ nosuch() }}"},
        r"fct_macro.*nosuch",
    ),
}


@pytest.mark.long
def test_what_cannot_be_kept_is_refused_before_anything_is_built(build, project, write):
    found = {}
    for name, (files, expected) in REFUSED.items():
        write(files)
        with pytest.raises(WarehouseError) as caught:
            build()
        for file in files:
            (project / file).unlink()
        message = f"{caught.value}"
        found[name] = re.search(expected, message, re.DOTALL) is not None or message
    assert found == dict.fromkeys(REFUSED, True)
    assert warehouse().current() is None


@pytest.mark.long
def test_tests_see_all_rows_unless_a_part_proves_the_whole(load_days, build, project, write):
    model = (
        f"{{{{ config({BY_EVENT}) }}}} select event_id, comment_count, row_number() over (order by event_id) as number"
    )
    write({f"{MART}/fct_numbered.sql": f"{model} from {{{{ ref('fct_events') }}}} {FILTER}"})
    load_days(*DAYS[:2])
    build()
    before = published()

    values = "{accepted_values: {arguments: {values: [999]}}}"
    new_test = f"models: [{{name: fct_numbered, columns: [{{name: comment_count, data_tests: [{values}]}}]}}]"
    write({f"{MART}/fct_numbered.yml": new_test})
    name = "accepted_values_fct_numbered_comment_count__999"
    with pytest.raises(DbtFailedError, match=rf"{name}.*fct_numbered\.yml") as red:
        build()
    # with the key, so that the rows can be found
    assert f"rows of `{name}`: {{event_id=" in str(red.value)
    assert published() == before

    write(
        {f"{MART}/fct_numbered.yml": "models: [{name: fct_numbered, columns: [{name: number, data_tests: [unique]}]}]"}
    )
    build()
    load_days(DAYS[2])
    with pytest.raises(DbtFailedError, match="unique_fct_numbered_number"):
        build()
    assert published() == before


@pytest.mark.long
def test_a_retry_after_another_file_was_corrected_publishes_the_correction(load_days, build, project, write):
    load_days(DAYS[0])
    write(
        {
            "seeds/coin_labels.csv": "coin,label\nbitcoin,BTC\n",
            f"{MART}/fct_first.sql": "{{ config(materialized='table', contract={'enforced': false}) }}"
            " select coin, label from {{ ref('coin_labels') }}",
            f"{MART}/fct_labels.sql": "{{ config(materialized='table', contract={'enforced': false}) }}"
            " select * from {{ ref('fct_first') }} where nosuch = 1",
        }
    )
    with pytest.raises(DbtFailedError, match=r"fct_labels.*nosuch.*models/marts/fct_labels.sql:1"):
        build()
    write(
        {
            "seeds/coin_labels.csv": "coin,label\nbitcoin,XBT\n",
            f"{MART}/fct_labels.sql": "{{ config(materialized='table', contract={'enforced': false}) }}"
            " select * from {{ ref('fct_first') }}",
        }
    )
    done = build(retry=True)
    assert published()["gold.fct_labels"] == ["('bitcoin', 'XBT')"]
    made = json.loads((warehouse().root / "dbt/run_results.json").read_text())["results"]
    assert "model.data_pipeline.stg_events" not in {result["unique_id"] for result in made}, "it was made already"
    assert {"fct_first", "coin_labels", "stg_events"} <= {result.name for result in done.results}


@pytest.mark.long
def test_a_package_of_this_machine_and_a_classic_snapshot_follow_edits(load_days, build, project, write, start):
    load_days(DAYS[0], resources=["users"], sources=["jsonplaceholder"])
    write(
        {
            "packages.yml": "packages: [{local: ../own_package}]",
            "../own_package/dbt_project.yml": 'name: own_package\nversion: "1.0"\nconfig-version: 2\n',
            "../own_package/macros/doubled.sql": "{% macro doubled(x) %}2 * {{ x }}{% endmacro %}",
            "../own_package/seeds/numbers.csv": "n\n1\n",
            "snapshots/classic.sql": "{% snapshot classic %}{{ config(schema='gold', unique_key='user_id',"
            " strategy='check', check_cols=['email']) }} select user_id, email from {{ ref('dim_users') }}"
            "{% endsnapshot %}",
            f"{MART}/fct_doubled.sql": "{{ config(materialized='table', contract={'enforced': false}) }}"
            " select {{ own_package.doubled('n') }} as n from {{ ref('numbers') }}",
        }
    )
    with pytest.raises(DbtFailedError) as caught:
        build()
    assert caught.value.hint.startswith("`pipeline dbt deps`, then `pipeline build`")
    assert start("dbt", "deps", PIPELINE_HOME=project.parent).returncode == 0
    build()
    assert published()["gold.fct_doubled"] == ["(2,)"]
    assert len(published()["gold.classic"]) == len(published()["gold.dim_users"]) > 0

    write(
        {
            "../own_package/macros/doubled.sql": "{% macro doubled(x) %}20 * {{ x }}{% endmacro %}",
            "../own_package/seeds/numbers.csv": "n\n1\n3\n",
        }
    )
    build()
    assert published()["gold.fct_doubled"] == ["(20,)", "(60,)"]
    assert start("dbt", "debug", PIPELINE_HOME=project.parent).returncode == 0
    assert start("dbt", "clean", PIPELINE_HOME=project.parent).returncode == 0
    assert not (project / "dbt_packages").exists()


@pytest.mark.parametrize("full_refresh", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_day_that_was_loaded_again_and_not_validated_is_left_out_until_it_is(load_days, build, api, full_refresh):
    """All tables of a version are built from the same days, incrementally and in full."""
    load_days(DAYS[0])
    build()
    first = published()
    load_days(DAYS[1])
    build()
    before = published()
    run = Run.create(triggered_by="test")
    days = partitions(day_range(DAYS[1], DAYS[1]), ("jsonplaceholder",))
    load(run, days, steps=("ingest",))
    build(full_refresh=full_refresh)
    names = [name for name in before if "coin" not in name]
    assert {name: published()[name] for name in names} == {name: first[name] for name in names}
    load(run, days, steps=("validate",))
    build()
    assert published() == before


TABLE = "{{ config(materialized='table', contract={'enforced': false}) }}"
OUT_OF_REACH = {
    "passwd": ("select * from read_text('/etc/passwd')", 'Cannot access file "/etc/passwd"'),
    "secrets": ("select * from read_text('../.env')", 'Cannot access file "../.env"'),
    "address": ("select * from 'https://example.com/rows.csv'", 'Cannot access file "https://example.com/rows.csv"'),
    "extension": ("select * from st_read('rows.shp')", "exists in the spatial extension"),
    "setting": ("{{ config(pre_hook='set enable_external_access = true') }} select 1 as id", "has been locked"),
}


def test_a_model_reaches_no_file_but_those_of_the_pipeline(build, project, write, tmp_path, env):
    """Files of the project, and of folders that a setting names, are read; the refusal is one line with the remedy."""
    models = {f"{MART}/fct_{name}.sql": f"{TABLE} {query}" for name, (query, _) in OUT_OF_REACH.items()}
    write(models)
    with pytest.raises(WarehouseError) as caught:
        build()
    message = f"{caught.value}"
    assert "\n" not in message
    for name, (_, expected) in OUT_OF_REACH.items():
        assert re.search(rf"model `fct_{name}`[^;]*{re.escape(expected)}.*{MART}/fct_{name}\.sql", message), name
    for remedy in ("add its folder to DUCKDB_ALLOWED_DIRS", "builds load no extensions", "under `config_options`"):
        assert remedy in message
    for name in models:
        (project / name).unlink()

    outside = tmp_path / "lists" / "labels.csv"
    outside.parent.mkdir()
    outside.write_text("coin,label\nbitcoin,BTC\n")
    rows = f"select i.coin, i.label, o.label from 'labels.csv' as i join '{outside}' as o using (coin)"
    write({f"{MART}/fct_outside.sql": f"{TABLE} {rows}", "labels.csv": "coin,label\nbitcoin,XBT\n"})
    env("DUCKDB_ALLOWED_DIRS", outside.parent)
    build()
    assert published()["gold.fct_outside"] == ["('bitcoin', 'XBT', 'BTC')"]


def test_the_rows_that_a_model_should_have_are_counted_without_other_files(build, project, write):
    count = "select count(*) from read_text(''/etc/passwd'')".replace("''", "\\'")
    meta = f"{{'expected_rows_sql': '{count}', 'expected_rows_reason': 'one a file'}}"
    settings = f"materialized='table', contract={{'enforced': false}}, meta={meta}"
    write({f"{MART}/fct_outside.sql": f"{{{{ config({settings}) }}}} select 1 as id"})
    with pytest.raises(WarehouseError, match=r'Cannot access file "/etc/passwd"'):
        build()


@pytest.mark.long
def test_a_build_that_spills_to_disk_passes(build, project, write, env):
    """A sort of some 100 MB with 60 MB of memory, with hooks that set what they may."""
    sort = "select range as id, md5(range::varchar) as code from range(2500000) order by code"
    hooks = "pre_hook=['set preserve_insertion_order = false', 'set threads = 1']"
    settings = f"materialized='table', {hooks}, contract={{'enforced': false}}"
    write({f"{MART}/fct_sorted.sql": f"{{{{ config({settings}) }}}} {sort}"})
    env("DUCKDB_MEMORY_LIMIT", "60MB")
    build()
    assert len(published()["gold.fct_sorted"]) == 2500000


def test_silver_has_keyed_hashes_in_place_of_sensitive_values(load_days, build, project, env, monkeypatch, tmp_path):
    """No table has a value of the column, no file of a build the key; another key changes every hash."""
    folder = tmp_path / "sources"
    shutil.copytree(catalog.SOURCES_DIR, folder)
    contract = folder / "jsonplaceholder.yml"
    mail = "{name: email, type: string, description: "
    headline = "{name: name, type: string, description: Headline"
    text = contract.read_text().replace(mail, f"{mail[:1]}sensitive: hash, {mail[1:]}")
    contract.write_text(text.replace(headline, f"{headline[:1]}sensitive: drop, {headline[1:]}"))
    monkeypatch.setattr(catalog, "SOURCES_DIR", folder)
    catalog.forget()
    monkeypatch.setattr(catalog, "load", lambda: catalog.read_all().sources)
    for path, content in source_yaml.source_files().items():
        path.write_text(content)
    model = project / "models/staging/jsonplaceholder/stg_jsonplaceholder__comments.sql"
    model.write_text(model.read_text().replace("        name as title,\n", ""))
    load_days(DAYS[0])
    with pytest.raises(SettingsError, match=r"PSEUDONYM_KEY is not set.*pipeline init"):
        build()

    keys = ["0123456789abcdef" * 4, "fedcba9876543210" * 4]
    bronze = pathlib.Path(config.settings().bronze_location) / f"jsonplaceholder/users/dt={DAYS[0]}/part-0.parquet"
    mails = {row[0] for row in duckdb.sql(f"select email from '{bronze}'").fetchall()}
    assert mails
    for key in keys:
        env("PSEUDONYM_KEY", key)
        build()
        with duckdb.connect(str(warehouse().path), read_only=True) as connection:
            found = {row[0] for row in connection.execute("select email from gold.dim_users").fetchall()}
            columns = connection.execute("describe silver.stg_jsonplaceholder__comments").fetchall()
        assert found == {hmac.new(key.encode(), text.encode(), "sha256").hexdigest() for text in mails}
        assert "title" not in {column[0] for column in columns}
        rows = repr(published())
        assert [text for text in mails if text in rows] == []
    written = [path.read_bytes() for path in warehouse().root.rglob("*") if path.is_file()]
    inner = bytes(byte ^ 0x36 for byte in keys[0].encode()).hex().upper()
    assert [text for text in (*keys, inner) if any(text.encode() in content for content in written)] == []
