"""Settings: the variables of `.env.example`, and what is refused."""

import re

import pytest

from scripts.config import PROJECT_DIR, Settings, settings
from scripts.errors import SettingsError


def test_the_example_names_every_setting_and_no_other():
    example = (PROJECT_DIR / ".env.example").read_text()
    named = set(re.findall(r"^#?([A-Z][A-Z0-9_]*)=", example, flags=re.MULTILINE))

    # a contract's own, and those of Compose and of the backups
    others = {"COIN_API_BASE_URL", "PUBLIC_DOMAIN", "TLS_CERTIFICATE", "PROXY_ADDRESS", "BACKUP_PASSPHRASE"}
    others |= {"WORKERS", "WORKER_SLOTS"}
    of_a_bucket = {"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"}
    assert named == {name.upper() for name in Settings.model_fields} | others | of_a_bucket


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("API_RETRIES", "many", "API_RETRIES=many is refused"),
        ("API_RETRIES", "-1", "greater than or equal to 0"),
        ("API_TIMEOUT", "0", "API_TIMEOUT=0 is refused"),
        ("API_BASE_URL", "somewhere", "API_BASE_URL=somewhere is refused"),
        ("DB_CONNECTION_STRING", "postgres://x", "must have the form duckdb:///"),
        ("DUCKDB_MEMORY_LIMIT", "lots", "DUCKDB_MEMORY_LIMIT=lots"),
        ("LOG_LEVEL", "LOUD", "LOG_LEVEL=LOUD"),
        ("ALERT_EMAIL", "ops@example.com,nobody", "ALERT_EMAIL"),
        ("DBT_TARGET", "moon", "DBT_TARGET=moon"),
    ],
)
def test_a_bad_value_is_refused_by_name(env, name, value, words):
    env(name, value)

    with pytest.raises(SettingsError, match=re.escape(words)):
        settings()


def test_a_bad_secret_is_refused_without_showing_it(env):
    env("SLACK_WEBHOOK", "T0000/B0000/hunter2")

    with pytest.raises(SettingsError) as caught:
        settings()
    assert "SLACK_WEBHOOK" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_all_problems_are_named_at_once(env):
    env("API_RETRIES", "x")
    env("API_TIMEOUT", "y")

    with pytest.raises(SettingsError, match=r"API_TIMEOUT=y.*API_RETRIES=x"):
        settings()


def test_an_empty_variable_counts_as_not_set(env):
    env("API_BASE_URL", "")
    env("API_RETRIES", "")

    assert settings().api_retries == 4


def test_relative_paths_start_at_the_repository(env):
    env("DATA_DIR", "elsewhere")
    env("DB_CONNECTION_STRING", "duckdb:///elsewhere/lake.duckdb")

    assert settings().bronze_location == str(PROJECT_DIR / "elsewhere" / "bronze")
    assert settings().warehouse_path == PROJECT_DIR / "elsewhere" / "lake.duckdb"


def test_an_absolute_warehouse_path_is_kept(env):
    env("DB_CONNECTION_STRING", "duckdb:////srv/lake.duckdb")

    assert str(settings().warehouse_path) == "/srv/lake.duckdb"
