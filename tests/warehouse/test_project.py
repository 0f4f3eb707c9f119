"""The dbt project as a build sees it: its hash, the words of its SQL, and dbt's profile."""

import pytest
import yaml

from scripts import config
from scripts.config import PROJECT_DIR
from scripts.warehouse.fingerprints import normalized_sql
from scripts.warehouse.project import project_digest


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty dbt project."""
    monkeypatch.setattr(config.Settings, "dbt_dir", property(lambda _: tmp_path))
    return tmp_path


def test_every_file_counts_but_what_dbt_writes(project):
    before = project_digest()
    for name in ("target/manifest.json", "logs/dbt.log", ".user.yml"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("written by dbt")
    assert project_digest() == before
    for name in ("models/logs/a.sql", "dbt_packages/one/macros/b.sql", "seeds/c.csv", "analytics/target/d.py"):
        (project / name).parent.mkdir(parents=True)
        (project / name).write_text("1")
        assert project_digest() != before, name
        before = project_digest()


def test_variables_count_that_a_file_reads(project, monkeypatch):
    before = project_digest()
    monkeypatch.setenv("DBT_COUNTRY", "de")
    assert project_digest() == before
    (project / "a.sql").write_text("{{ env_var('DBT_COUNTRY') }}")
    before = project_digest()
    monkeypatch.setenv("DBT_COUNTRY", "fr")
    assert project_digest() != before


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("select 1 -- one\n, 2", "select 1,\n    2 /* two */", True),
        ("select 'a -- b'", "select 'a'", False),
        ("select 'a  b'", "select 'a b'", False),
        ('select "a -- b"', 'select "a"', False),
        ("select $$ a /* b */ $$", "select $$ a  $$", False),
        ("select 'ä' -- ö", "select 'ä'", True),
    ],
)
def test_comments_and_white_space_do_not_count_but_in_strings(one, other, same):
    assert (normalized_sql(one) == normalized_sql(other)) is same


def test_dbt_sets_the_folder_for_large_builds_once():
    """As a setting it would be set by each connection again, which DuckDB refuses once it has been used."""
    profile = yaml.safe_load((PROJECT_DIR / "dbt" / "profiles.yml").read_text())
    outputs = [one for one in profile["data_pipeline"]["outputs"].values() if one["type"] == "duckdb"]
    assert len(outputs) == 3
    for output in outputs:
        assert "temp_directory" in output["config_options"]
        assert "temp_directory" not in output["settings"]
