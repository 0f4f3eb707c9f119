"""Health, pruning and the file of secrets, on data that was really loaded."""

import datetime as dt
import os
import shutil
import socket
import stat
import time

import pytest
from dotenv import dotenv_values

from scripts.admin.env_file import SECRET_NAMES, init_env, is_free, write_secret_files
from scripts.admin.prune import prune
from scripts.contracts import catalog
from scripts.errors import DataError, StorageError
from scripts.loading.partitions import load, partitions
from scripts.monitoring import airflow_findings, health
from scripts.planning.reconcile import examine


def at(text):
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.fixture
def loaded(api, run):
    """2024-01-02 of the default source, whose users have a row that goes to quarantine."""
    assert all(outcome.entry for outcome in load(run, partitions([dt.date(2024, 1, 2)], ["jsonplaceholder"])))
    return run.store


@pytest.mark.parametrize(
    ("now", "state", "hours"),
    [
        ("2024-01-03T01:00", "ok", 1),
        ("2024-01-02T12:00", "ok", 0),
        ("2024-01-04T12:00", "warn", 36),
        ("2024-01-06T00:00", "stale", 72),
    ],
)
def test_freshness_counts_from_the_end_of_the_last_day(loaded, now, state, hours):
    found = health.freshness(examine(loaded, at(now)))
    assert {(row.resource, row.state, row.age_hours) for row in found} == {
        (name, state, hours) for name in ("posts", "users", "comments", "todos")
    }


def test_a_day_of_the_future_makes_nothing_fresh(loaded, run):
    """As where the clock of a machine was wrong: 2024-01-02 is the future on New Year's Eve of 2023."""
    assert all(outcome.entry for outcome in load(run, partitions([dt.date(2023, 12, 25)], ["jsonplaceholder"])))

    found = health.freshness(examine(loaded, at("2023-12-31T12:00")))

    assert {(row.state, str(row.last_day)) for row in found} == {("stale", "2023-12-25")}
    assert any(
        "2024-01-02 in the future" in text for text in health.health(loaded, now=at("2023-12-31T12:00"))["problems"]
    )


def test_a_source_that_never_ran_is_stale(run):
    found = health.freshness(examine(run.store))
    assert {row.source for row in found} == {"jsonplaceholder"}, "sources on request have no freshness"
    assert {(row.state, row.last_day) for row in found} == {("stale", None)}


def test_the_check_of_freshness_names_what_is_stale_and_contracts_that_are_broken(loaded, tmp_path, monkeypatch):
    assert len(health.check_freshness(examine(loaded, at("2024-01-03T01:00")))) == 4
    with pytest.raises(DataError, match=r"stale: .*comments: last day 2024-01-02.*backfill"):
        health.check_freshness(examine(loaded, at("2024-01-06T00:00")))

    sources = shutil.copytree(catalog.SOURCES_DIR, tmp_path / "sources")
    monkeypatch.setattr(catalog, "SOURCES_DIR", sources)
    (sources / "jsonplaceholder.yml").write_text("sourced: jsonplaceholder\n")
    with pytest.raises(DataError, match=r"contract `jsonplaceholder` is broken.*`pipeline sources check`"):
        health.check_freshness(examine(loaded, at("2024-01-03T01:00")))


def test_what_airflow_found_wrong_with_its_installation_is_a_problem_until_it_is_right(loaded, start):
    def of_airflow():
        found = health.health(loaded, now=at("2024-01-03T00:10"))
        assert found["ok"] == (not found["problems"])
        return [text for text in found["problems"] if text.startswith("Airflow, ")]

    assert of_airflow() == []
    airflow_findings.note({"Airflow pool": "warehouse is missing (next: restart Airflow)"})
    (text,) = of_airflow()
    assert text.startswith("Airflow, Airflow pool: warehouse is missing (next: restart Airflow); as of 20")
    assert "warehouse is missing" in start("health").stdout
    airflow_findings.note({})
    assert of_airflow() == []


def test_old_quarantine_is_named_with_its_rules(loaded):
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=9)
    assert health.old_quarantine(loaded) == []
    old = health.old_quarantine(loaded, now=later)
    assert sum(item.rows for item in old) == sum(entry.quarantined for entry in loaded.entries()) > 0
    assert all(item.rules and item.age_days >= 8 for item in old)


def test_the_command_shows_health_and_fails_on_stale_data(loaded, start):
    done = start("health")
    assert done.returncode == 7
    assert "stale" in done.stdout
    assert "rows in quarantine" in done.stdout


def test_health_names_the_days_that_are_missing_and_is_well_again_when_they_are_there(loaded, run):
    found = health.health(loaded, now=at("2024-01-05T00:10"))
    assert not found["ok"]
    assert sum("2024-01-03 missing" in problem for problem in found["problems"]) == 4

    days = [dt.date(2024, 1, 3), dt.date(2024, 1, 4)]
    assert all(outcome.entry for outcome in load(run, partitions(days, ["jsonplaceholder"])))
    found = health.health(loaded, now=at("2024-01-05T00:10"))
    assert [problem for problem in found["problems"] if "missing" in problem] == []
    assert found["partitions_not_published"] == 12


def test_pruning_lists_first_and_deletes_when_told(run, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    for name, days in (("old.log", 40), ("new.log", 1)):
        (logs / name).write_text("")
        when = time.time() - days * 86400
        os.utime(logs / name, (when, when))
    assert prune(run, logs, keep_log_days=30, dry_run=True) == [str(logs / "old.log")]
    assert sorted(path.name for path in logs.iterdir()) == ["new.log", "old.log"]
    prune(run, logs, keep_log_days=30, dry_run=False)
    assert [path.name for path in logs.iterdir()] == ["new.log"]


def test_secrets_are_made_once_and_kept_private(tmp_path):
    path = tmp_path / ".env"
    path.write_text("API_TIMEOUT=5\nAIRFLOW_ADMIN_PASSWORD=mine\nAIRFLOW_VIEWER_PASSWORD=\n")
    made = init_env(path)
    values = dotenv_values(path)
    assert values["AIRFLOW_ADMIN_PASSWORD"] == "mine"
    assert values["API_TIMEOUT"] == "5"
    assert {"AIRFLOW_VIEWER_PASSWORD", "AIRFLOW_JWT_SECRET"} <= set(made)
    assert len(values["AIRFLOW_JWT_SECRET"]) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert init_env(path) == []
    assert dotenv_values(path) == values


def test_two_files_share_no_secret(tmp_path):
    first, second = tmp_path / "one", tmp_path / "two"
    init_env(first)
    init_env(second)
    made, others = dotenv_values(first), dotenv_values(second)
    assert {made[name] for name in SECRET_NAMES}.isdisjoint(others[name] for name in SECRET_NAMES)


def test_ports_are_free_ones_and_the_user_is_this_one(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)
    path = tmp_path / ".env"
    path.write_text("DOCS_PORT=8080\n")
    init_env(path)
    values = dotenv_values(path)
    assert values["HOST_UID"] == str(os.getuid())
    found = [int(value) for name, value in values.items() if name.endswith("_PORT")]
    assert len(found) == len(set(found)) == 8


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_containers_may_read_the_files_of_secrets_whatever_the_umask_is(umask, tmp_path):
    path = tmp_path / ".env"
    init_env(path)
    before = os.umask(umask)
    try:
        names = write_secret_files(tmp_path / "secrets", path)
    finally:
        os.umask(before)
    assert {stat.S_IMODE((tmp_path / "secrets" / name).stat().st_mode) for name in names} == {0o644}


def test_each_secret_is_a_file_and_the_rest_is_one_too(tmp_path):
    path = tmp_path / ".env"
    path.write_text("SHOP_TOKEN='s p$ace'\n")
    init_env(path)
    names = write_secret_files(tmp_path / "secrets", path)
    values = dotenv_values(path)
    assert set(names) == {*SECRET_NAMES, "settings.env"}
    assert all((tmp_path / "secrets" / name).read_text() == values[name] for name in SECRET_NAMES)
    rest = dotenv_values(tmp_path / "secrets" / "settings.env")
    assert rest["SHOP_TOKEN"] == "s p$ace"
    assert rest.keys().isdisjoint(SECRET_NAMES)
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_a_folder_that_is_missing_is_said(tmp_path):
    with pytest.raises(StorageError, match="No such file"):
        init_env(tmp_path / "missing" / ".env")
