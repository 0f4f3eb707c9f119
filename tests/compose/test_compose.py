"""docker compose as people use it: started from nothing, asked, killed piece by piece, restarted, copied, removed."""

import functools
import subprocess

import pytest
import requests

from tests.e2e.waiting import wait_for
from tests.support.clone import clone

from .stack import SERVICES, Stack, running_stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.usefixtures("engine")]
DAYS = [f"2024-03-{day:02}" for day in range(1, 8)]


def backfilled(stack, first, last):
    """Ask the webhook for days, and return when all of them are in the published warehouse."""
    status, answer = stack.webhook(json={"start_date": first, "end_date": last})
    assert status == 202, answer
    assert answer["status_url"].startswith(f"http://localhost:{stack.env['N8N_PORT']}/")
    return answer["backfill_id"]


def all_well(stack):
    """Return when every service is healthy."""
    return wait_for(
        lambda: (
            (found := stack.containers()).keys() == set(SERVICES)
            and all(health == "healthy" for _, health, _ in found.values())
            and found
        ),
        "every service to be healthy",
        600,
    )


def first_run_is_published(stack):
    """Return the day of the scheduled run when it is published: nobody has clicked anything."""
    return wait_for(stack.built_days, "the first daily run to be published", 600)


def touches_nothing(second, problem):
    """Try to start and to stop a project in a second clone, which has other secrets: both are refused."""
    for target in ("up", "down"):
        done = second.make(target, check=False)
        assert done.returncode != 0
        assert f"nothing was touched: {problem}" in done.stderr
        assert f"COMPOSE_PROJECT_NAME={second.project}-2" in done.stderr


def test_from_nothing_through_kills_and_restarts_to_nothing(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("main"), "pipeline-test") as stack:
        all_well(stack)
        first_run_is_published(stack)
        pages = {"dbt/": "fct_user_activity_daily", "health.html": "Rows by day and layer", "runbook/": "Symptom"}
        for path, words in pages.items():
            text = wait_for(functools.partial(stack.page, path), path)
            assert words in text
        second, ours = Stack(clone(tmp_path_factory.mktemp("second")), stack.project), stack.containers()
        touches_nothing(second, f"containers of the project {stack.project} were made by {stack.folder}")
        assert stack.containers() == ours
        assert "pipeline_rows_written{" in requests.get(f"{stack.url('DOCS')}/metrics", timeout=30).text

        backfill_id = backfilled(stack, DAYS[0], DAYS[-1])
        for service in SERVICES:
            starts = stack.containers()[service][2]
            stack.kill(service)
            wait_for(lambda: stack.containers().get(service, ("", "", 0))[2] > starts, f"{service} to come back", 120)  # noqa: B023 — called at once
            all_well(stack)
        wait_for(lambda: set(DAYS) <= stack.built_days(), f"the days of backfill {backfill_id} in Gold", 900)
        progress = stack.webhook("GET", params={"id": backfill_id})[1]
        assert (progress["status"], progress["progress"]["failed"]) == ("done", 0)
        status = stack.compose("exec", "-T", "scheduler", "pipeline", "status")
        assert "quarantined" in status

        before, days = stack.tables(), stack.built_days()
        stack.make("down")
        assert stack.containers() == {}
        # as after a clone was deleted: only the volumes are left
        touches_nothing(second, f"volumes of the project {stack.project} (")
        stack.make("up")
        all_well(stack)
        assert (stack.tables(), stack.built_days()) == (before, days)
        assert stack.webhook("GET", params={"id": backfill_id})[1]["status"] == "done"

        good = release("good")
        assert f"deployed {good}" in stack.make("deploy", f"IMAGE={good}").stdout
        all_well(stack)

        folder = tmp_path_factory.mktemp("backup") / "one"
        stack.make("backup", f"TO={folder}")
        stack.make("down")
        with running_stack(tmp_path_factory.mktemp("other"), "pipeline-test-copy", backup=folder) as copy:
            assert (copy.tables(), copy.built_days()) == (before, days)
            assert copy.webhook("GET", params={"id": backfill_id})[1]["status"] == "done"
            assert "overwrites nothing" in copy.make("restore", f"FROM={folder}", check=False).stderr


@pytest.mark.long
def test_production_starts_the_same_way_with_secrets_in_files(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("prod"), "pipeline-test-prod", PROD="1") as stack:
        all_well(stack)
        first_run_is_published(stack)
        webhook_answers(stack)
        secrets = {value for name, value in stack.env.items() if name.endswith(("PASSWORD", "SECRET", "KEY"))}
        ids = [identity for identity, _, _ in stack.containers().values()]
        shown = subprocess.check_output(["docker", "inspect", *ids], text=True)
        assert [secret for secret in secrets if secret in shown] == []
        rotates(stack)
        days = stack.built_days()
        deploys(stack)
        assert stack.built_days() >= days


QUESTION = {"start_date": "2024-01-01", "end_date": "2024-01-01", "dry_run": True}


def webhook_answers(stack):
    """Send a request until it is answered: while the machine is busy, Airflow may be too slow for n8n (502)."""
    wait_for(lambda: stack.webhook(json=QUESTION)[0] == 200, "the webhook to answer", 300)


def logs_in(stack, password):
    """Return how Airflow answers to the operator's password."""
    body = {"username": "operator", "password": password}
    return requests.post(f"{stack.url('AIRFLOW')}/auth/token", json=body, timeout=60).status_code


def rotates(stack):
    """Make some secrets again, as the runbook says, and see that the old ones are refused."""
    old = stack.env
    names = ("BACKFILL_WEBHOOK_SECRET", "AIRFLOW_OPERATOR_PASSWORD", "AIRFLOW_JWT_SECRET")
    path = stack.folder / ".env"
    path.write_text("".join(f"{x}\n" for x in path.read_text().splitlines() if not x.startswith(names)))
    stack.make("init")
    stack.make("up")
    all_well(stack)
    assert all(stack.env[name] != old[name] for name in names)
    url, secret = f"{stack.url('N8N')}/webhook/backfill", old["BACKFILL_WEBHOOK_SECRET"]
    assert requests.post(url, auth=("backfill", secret), json=QUESTION, timeout=60).status_code == 401
    webhook_answers(stack)
    assert logs_in(stack, old["AIRFLOW_OPERATOR_PASSWORD"]) == 401
    assert logs_in(stack, stack.env["AIRFLOW_OPERATOR_PASSWORD"]) == 201


RELEASES = {
    "good": "LABEL release=good",
    "broken": "USER root\nRUN echo 'raise SystemExit(\"a broken release\")' > /app/infra/airflow_init.py\nUSER 50000:0",
}


def release(name):
    """Build a release on top of the image of the stack, and return its name."""
    image = f"data-pipeline-test:{name}"
    text = f"FROM data-pipeline:local\n{RELEASES[name]}\n"
    subprocess.run(["docker", "build", "--quiet", "--tag", image, "-"], input=text, text=True, check=True)
    return image


def deploys(stack):
    """Take a stack to a release that cannot be fetched, to a good one, and to a broken one, from which it goes back."""
    before = {name: identity for name, (identity, _, _) in stack.containers().items()}
    nowhere = stack.make("deploy", "IMAGE=127.0.0.1:1/data-pipeline:none", check=False)
    assert "nothing was changed" in nowhere.stderr
    assert nowhere.returncode != 0
    assert {name: identity for name, (identity, _, _) in stack.containers().items()} == before

    good = release("good")
    assert f"deployed {good}" in stack.make("deploy", f"IMAGE={good}").stdout
    all_well(stack)
    assert stack.images()["scheduler"] == good

    gone_back = stack.make("deploy", f"IMAGE={release('broken')}", check=False)
    assert gone_back.returncode != 0
    assert "a broken release" in gone_back.stderr
    assert f"went back to {good}; it is healthy" in gone_back.stderr
    all_well(stack)
    assert stack.images()["scheduler"] == good
    assert stack.env["PIPELINE_IMAGE"] == good
