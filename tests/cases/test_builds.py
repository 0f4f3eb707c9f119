"""Cases of builds: what is in Silver, and which builds are refused with what a person has to do."""

import datetime as dt
import json

import pytest

from tests.support.cases import case_of

pytestmark = pytest.mark.timeout(3000)

FIRST, SECOND = (dt.date(2024, 1, day) for day in (1, 2))


def test_column_called_is_later(case):
    """A column of the source that is called like one of a macro does not change which version wins."""
    for day in ("2024-01-01", "2024-01-02"):
        case.load(day)
        case.build()

    assert case.silver() == [(1, True, "d2", FIRST, SECOND), (2, False, "d2", FIRST, SECOND)]


def test_column_called_is_lost(case):
    """The version of the later day stays when an earlier day is loaded after it."""
    for day in ("2024-01-02", "2024-01-01"):
        case.load(day)
        case.build()

    assert case.silver() == [(1, True, "d2", FIRST, SECOND), (2, False, "d2", FIRST, SECOND)]


def test_contract_changes_a_type(case):
    """A build refuses days of another type, and names the change and the commands, which then work."""
    case.load("2024-01-01")
    case.build()
    case.use_contract("contract2.yml")
    case.load("2024-01-02")

    ended = case.run("build")

    assert ended.code == 8
    assert "demo/items: 2024-01-01 loaded with another contract: column `v` was integer and is string" in ended.error
    assert "`pipeline backfill --outdated --source demo --resource items --start-date 2024-01-01" in ended.error
    assert "`pipeline build --full-refresh`" in ended.error
    assert case.silver() == [(1, 5, FIRST, FIRST)]

    case.build("--full-refresh")
    assert case.silver() == [(1, "x5", FIRST, SECOND)]

    # the next day is added to the table that has the new type
    case.source.answer = lambda _: (200, {}, b'[{"id": 1, "v": "x6"}, {"id": 2, "v": "x7"}]')
    case.load("2024-01-03")
    case.build()
    third = dt.date(2024, 1, 3)
    assert case.silver() == [(1, "x6", FIRST, third), (2, "x7", third, third)]


def test_contract_changes_a_type_in_the_source_too(cases_dir, tmp_path, env, monkeypatch, capsys):
    """If the source has the new type for old days too, loading them again is enough: the build then is a full one."""
    with case_of("contract_changes_a_type", tmp_path, env, monkeypatch, capsys) as case:
        case.load("2024-01-01")
        case.build()
        case.use_contract("contract2.yml")
        case.load("2024-01-02")
        sent = {"2024-01-01": "5", "2024-01-02": "x5"}
        case.source.answer = lambda ask: (
            200,
            {},
            json.dumps([{"id": 1, "v": sent[ask.headers["X-Logical-Date"]]}]).encode(),
        )
        ended = case.run_on("2024-01-01", "backfill", "--outdated")
        assert ended.code == 0, ended.errors

        assert case.silver() == [(1, "x5", FIRST, SECOND)]


SNAPSHOT = """
{% snapshot items_snapshot %}
{{ config(unique_key='id', strategy='check', check_cols=['v'], schema='gold') }}
select id, v from {{ ref('stg_demo__items') }}
{% endsnapshot %}
"""


@pytest.mark.parametrize(
    "kept", ["a snapshot", pytest.param("an incremental model that is never rebuilt", marks=pytest.mark.long)]
)
def test_contract_changes_a_type_below_history(kept, cases_dir, tmp_path, env, monkeypatch, capsys):
    """Tables that keep history get the new type: DuckDB would cast the text `007` to the old type, without a word."""
    with case_of("contract_changes_a_type", tmp_path, env, monkeypatch, capsys) as case:
        if kept == "a snapshot":
            (case.project / "dbt" / "snapshots").mkdir()
            (case.project / "dbt" / "snapshots" / "items_snapshot.sql").write_text(SNAPSHOT)
        else:
            model = case.project / "dbt" / "models" / "staging" / "demo" / "stg_demo__items.sql"
            model.write_text(model.read_text().replace("config(", "config(full_refresh=false, "))
        case.load("2024-01-01")
        case.build()
        case.use_contract("contract2.yml")
        case.source.answer = lambda _: (200, {}, b'[{"id": 1, "v": "007"}, {"id": 2, "v": "5"}]')
        case.load("2024-01-02")
        case.build("--full-refresh")

        assert case.silver("id", "v") == [(1, "007"), (2, "5")]
        if kept == "a snapshot":
            found = case.silver("id", "v", "dbt_valid_to is null", table="gold.items_snapshot")
            assert found == [(1, "007", True), (1, "5", False), (2, "5", True)]
        else:
            assert case.build().count("nothing to build") == 1


def test_contract_renames_a_column(case):
    """A build refuses days with the column's old name, and keeps every value after they are loaded again."""
    case.load("2024-01-01")
    case.build()
    case.use_contract("contract2.yml")
    case.use_model("model2")
    case.load("2024-01-02")

    ended = case.run("build")

    assert ended.code == 8
    assert "2024-01-01 loaded with another contract: column `v` is called `w` now, without `was: v`" in ended.error
    assert case.silver() == [(1, "x", FIRST, FIRST), (2, "y", FIRST, FIRST)]

    days = ("--start-date", "2024-01-01", "--end-date", "2024-01-02")
    ended = case.run("backfill", "--outdated", "--source", "demo", *days)

    assert ended.code == 0, ended.errors
    assert case.silver() == [(1, "x2", FIRST, SECOND), (2, "y", FIRST, FIRST)]


def test_data_dir_named_dt(case):
    """The day of a row is that of its partition, whatever the folders above are called."""
    case.load()
    case.build()

    assert case.silver() == [(1, "a", FIRST, FIRST), (2, "b", FIRST, FIRST)]


def test_key_is_a_reserved_word(case):
    """A key may be called like a word of SQL."""
    assert case.run("sources", "check").code == 0
    case.load()
    case.build()

    assert case.silver() == [(1, FIRST, FIRST)]


def test_nullable_key_build(case):
    """Rows without a key stay in quarantine, and each day's build passes the test that Silver has all of Bronze."""
    for day in ("2024-01-01", "2024-01-02"):
        entry = case.load(day)
        assert (entry.bronze, entry.quarantined) == (1, 2)
        assert "1 tests passed" in case.build("--full-tests")

    assert case.silver() == [(1, "a", FIRST, SECOND)]
    assert case.run("status").code == 0
