"""An operator's way through Airflow's own pages, in a real browser: menu, pages, forms, a failed task, a viewer's look.

With `PICTURES=folder`, it keeps pictures of what it sees.
"""

import datetime as dt
import re

import pytest

from scripts.sample_api.server import Fault

from .operating import told
from .person import Person
from .waiting import wait_for

pytestmark = pytest.mark.timeout(6000)
MENU = {
    "Health of the data": "Health of the data",
    "Build results": "Version",
    "Data portal": "fct_events",
    "Runbook": "Run a failed DAG again",
}
"""Each entry of the menu *Browse*, and what its page shows."""


@pytest.fixture(autouse=True)
def no_faults_left(source):
    yield
    source.faults.clear()


@pytest.mark.parametrize("user", ["operator", "viewer"])
def test_the_menu_leads_to_pages_whose_links_open(airflow, browser, user):
    airflow.wait_for_loads()
    person = Person(browser, airflow, user)
    for name, words in MENU.items():
        person.open("/")
        person.press("Browse")
        tabs = set(browser.window_handles)
        person.click(f"//*[@role='menu']//*[normalize-space()='{name}']")
        (tab,) = wait_for(lambda tabs=tabs: set(browser.window_handles) - tabs, f"the tab of {name}", 60)
        browser.switch_to.window(tab)
        person.reads(words)
        person.keep(f"menu-{name.split()[0].lower()}-{user}")
        person.every_link_opens()
        browser.close()
        browser.switch_to.window(tabs.pop())


def test_the_form_with_nothing_filled_in_loads_yesterday(airflow, browser):
    known = {run["dag_run_id"] for run in airflow.runs("pipeline_bronze")}
    person = Person(browser, airflow, "operator")
    person.open("/dags/pipeline_bronze")
    person.press("Trigger Dag")
    person.reads("The source to load; without it, all daily sources.")
    person.keep("trigger-form")
    person.press("Trigger", within="//*[@role='dialog']")
    (run,) = wait_for(
        lambda: [run for run in airflow.runs("pipeline_bronze") if run["dag_run_id"] not in known], "the run", 120
    )
    assert airflow.wait("pipeline_bronze", run["dag_run_id"])["state"] == "success"
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    assert f"load.ingest jsonplaceholder/users {yesterday}" in airflow.tasks("pipeline_bronze", run["dag_run_id"])


def test_the_form_of_a_backfill_loads_its_days(airflow, browser):
    first, last = "2024-11-21", "2024-11-22"
    airflow.wait_for_loads()
    person = Person(browser, airflow, "operator")
    person.fill_in_a_backfill(first, last)
    person.keep("backfill-form")
    person.press("Run Backfill", within="//*[@role='dialog']")
    wait_for(lambda: {first, last} <= airflow.gold_days("users"), "the days in Gold", 600)


def test_a_failed_task_is_read_and_cleared_in_the_browser(airflow, browser, source, sink):
    day = "2024-11-23"
    source.faults.append(Fault("status", path="/users", status=404, times=10_000, day=day))
    run_id = airflow.trigger("pipeline_bronze", day=day, source="jsonplaceholder", resources=["users"])
    assert airflow.wait("pipeline_bronze", run_id)["state"] == "failed"
    log = re.search(r"^log: (\S+)$", told(sink, "TASK FAILED", f"users {day}"), re.MULTILINE)[1]
    person = Person(browser, airflow, "operator")
    browser.get(log)
    # its last line, below the frames that Airflow prints
    person.reads("Post Execute")
    last = " ".join(person.text().split()).rpartition(" ERROR - ")[2]
    assert re.match(rf"jsonplaceholder/users/{day}: http\S+/users: HTTP 404 Not Found", last), last
    person.keep("failed-task")
    source.faults.clear()
    person.press("Press shift+c to clear")
    person.keep("clear-task")
    person.press("Confirm", within="//*[@role='dialog']")
    assert wait_for(
        lambda: airflow.get(f"dags/pipeline_bronze/dagRuns/{run_id}".replace("+", "%2B"))["state"] != "failed",
        "it",
        120,
    )
    assert airflow.wait("pipeline_bronze", run_id)["state"] == "success"
    airflow.wait_for_loads()
    assert day in airflow.gold_days("users")


def test_the_graph_of_a_table_shows_where_it_comes_from(airflow, browser):
    (found,) = [one for one in airflow.get("assets?limit=1000")["assets"] if one["name"] == "gold/dim_users"]
    person = Person(browser, airflow, "viewer")
    person.open(f"/assets/{found['id']}")
    person.reads("bronze/jsonplaceholder/users")
    person.keep("table-graph")
