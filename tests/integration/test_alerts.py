"""The alerts of the command line by their real causes: each once, and each says how to go on at a terminal."""

import pytest

from tests.support.clone import clone

DAYS = ("--start-date", "2024-07-01", "--end-date", "2024-07-03")


@pytest.fixture
def project(tmp_path, env):
    """A clone of the repository, whose contracts and models the test breaks."""
    folder = clone(tmp_path / "project")
    env("PIPELINE_HOME", folder)
    return folder


def told(sink, kind):
    """Return the one alert of a kind."""
    (text,) = [text for text in sink.texts if text.startswith(kind)]
    return text


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_broken_rule_is_told_once_by_the_command(api, project, sink, start):
    contract = project / "scripts/sources/jsonplaceholder.yml"
    change(contract, "severity: fail, row_count: {min: 1}", "severity: fail, row_count: {min: 1000}")
    assert start("run", *DAYS, "--resource", "users", PYTHONPATH=project, cwd=project).returncode == 7
    alert = told(sink, "VALIDATION FAILED: `pipeline run`")
    assert "users_present" in alert
    assert "load the day again with `pipeline run`" in alert
    assert not [text for text in sink.texts if text.startswith("TASK FAILED")]


def test_a_red_model_is_told_once_by_the_command_and_leads_to_its_place(api, project, sink, start, tmp_path):
    change(project / "dbt/models/marts/dim_users.sql", "select * from", "select *, nothing from")
    assert start("run", *DAYS, PYTHONPATH=project, cwd=project).returncode == 9
    alert = told(sink, "DBT FAILED: `pipeline run`")
    assert "`pipeline build --retry` resumes the build" in alert
    page = tmp_path / "data/docs/results.html"
    assert f"results: {page}#model.data_pipeline.dim_users" in alert
    text = page.read_text()
    assert 'id="model.data_pipeline.dim_users"' in text
    assert "Why it failed" in text


def test_a_project_that_dbt_cannot_read_is_on_the_page_too(api, project, sink, start, tmp_path):
    (project / "dbt/models/marts/broken.sql").write_text("select {{ nothing() }}\n")
    assert start("run", *DAYS, "--resource", "users", PYTHONPATH=project, cwd=project).returncode == 9
    assert told(sink, "DBT FAILED: `pipeline run`")
    page = (tmp_path / "data/docs/results.html").read_text()
    assert "The last build failed" in page
    assert "nothing" in page


@pytest.mark.long
def test_a_backfill_gives_one_message_and_another_when_its_rows_are_gone(api, project, sink, start):
    users = ("--resource", "users")
    assert start("backfill", *DAYS, *users, PYTHONPATH=project, cwd=project).returncode == 0
    start("reconcile", PYTHONPATH=project, cwd=project)
    # the reconciling run has loaded yesterday, and told of its rows
    (alert,) = [text for text in sink.texts if "jsonplaceholder/users, 2024-07-01 to 2024-07-03: 3 of 30 rows" in text]
    assert alert.startswith("ROWS QUARANTINED: 3 of 30 rows of 3 partitions")
    assert "pipeline quarantine replay" in alert

    change(
        project / "scripts/sources/jsonplaceholder.yml",
        "name: email_form, severity: quarantine",
        "name: email_form, severity: warn",
    )
    assert start("quarantine", "replay", PYTHONPATH=project, cwd=project).returncode == 0
    assert start("build", PYTHONPATH=project, cwd=project).returncode == 0
    over = [text for text in sink.texts if "over: jsonplaceholder/users, 2024-07-01 to 2024-07-03" in text]
    assert len(over) == 1
