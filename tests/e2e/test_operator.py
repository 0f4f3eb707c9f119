"""An operator's way through Airflow's own pages, in a real browser: menu, pages, forms, a failed task, a viewer's look.

With `PICTURES=folder`, it keeps pictures of what it sees.
"""

import datetime as dt
import os
import re

import pytest
import requests
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.common.by import By

from scripts.sample_api.server import Fault

from .operating import told
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


class Person:
    """A person with a browser, signed in to Airflow."""

    def __init__(self, browser, airflow, user):
        self.browser, self.airflow = browser, airflow
        browser.set_window_size(1400, 1000)
        browser.get(f"{airflow.url}/auth/logout")
        browser.delete_all_cookies()
        self.open("/auth/login/")
        self.field("username").send_keys(user)
        self.field("password").send_keys(airflow.passwords[f"AIRFLOW_{user.upper()}_PASSWORD"])
        browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()
        self.find("//button[@aria-label='Browse']")

    def open(self, path):
        self.browser.get(self.airflow.url + path)

    def field(self, name):
        return wait_for(lambda: self.browser.find_elements(By.NAME, name), name, 120)[0]

    def find(self, path, timeout=120):
        """Return an element that shows."""

        def shown():
            try:
                return next((one for one in self.browser.find_elements(By.XPATH, path) if one.is_displayed()), None)
            except StaleElementReferenceException:
                return None

        return wait_for(shown, path, timeout)

    def click(self, path):
        """Click an element as soon as it can be clicked."""

        def clicked():
            try:
                self.find(path).click()
            except WebDriverException:
                return False
            return True

        wait_for(clicked, f"a click on {path}", 120)

    def press(self, name, within=""):
        """Press a button by its text or its label."""
        self.click(f"{within}//button[@aria-label='{name}' or normalize-space()='{name}']")

    def text(self):
        try:
            return self.browser.find_element(By.TAG_NAME, "body").text
        except StaleElementReferenceException:
            return ""

    def reads(self, words, timeout=120):
        wait_for(lambda: words in self.text(), f"{words} on {self.browser.current_url}", timeout)

    def keep(self, name):
        """Save a picture where PICTURES says, for a person to look at."""
        if folder := os.environ.get("PICTURES"):
            self.browser.save_screenshot(f"{folder}/{name}.png")

    def every_link_opens(self):
        """Follow each link of the present page to this server, as the browser would, without leaving the page."""
        cookies = {cookie["name"]: cookie["value"] for cookie in self.browser.get_cookies()}
        links = {one.get_attribute("href") for one in self.browser.find_elements(By.CSS_SELECTOR, "a[href]")}
        for link in sorted(link.partition("#")[0] for link in links if link.startswith(self.airflow.url)):
            assert requests.get(link, cookies=cookies, timeout=60).status_code == 200, link


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
    person.open("/dags/pipeline_bronze")
    person.press("Trigger Dag")
    person.click("//*[@role='dialog']//label[contains(., 'Backfill')]")
    person.reads("Missing Runs")
    for number, day in enumerate((first, last), 1):
        person.click(f"(//*[@role='dialog']//*[@data-testid='datetime-input'])[{number}]")
        for hint, keys in (("YYYY/MM/DD", day.replace("-", "/")), ("HH:mm", "00:00")):
            person.find(f"//input[@placeholder='{hint}']").send_keys(keys)
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
    person.reads(f"jsonplaceholder/users/{day}: HTTP 404")
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
