"""The pages that people open, in a real browser: what they show, on a phone, in the dark, and for screen readers."""

import datetime as dt
import os
import shutil
import subprocess

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from scripts.bronze.stores import open_store
from scripts.config import PROJECT_DIR
from scripts.monitoring.charts import Bar, bars
from scripts.monitoring.report import write_report

from .browsing import NO_SERIOUS, dark, keep, size

SECTIONS = {"rows", "freshness", "quarantine", "times", "tests", "late", "changes"}

CUT = """
const cut = (text) => {
    const box = text.getBBox(), view = text.ownerSVGElement.viewBox.baseVal;
    return box.x < view.x - 4 || box.x + box.width > view.x + view.width + 4;
};
return [...document.querySelectorAll('svg[viewBox] text')].filter(cut).map((text) => text.textContent);
"""
"""The texts of charts that do not fit into their chart."""


@pytest.fixture(scope="module")
def site(demo):
    """The site of the demo's data, after a second build."""
    environ = os.environ | {"DATA_DIR": str(demo.folder)}
    for command in (["build", "--full-refresh"], ["docs"]):
        subprocess.run(
            [shutil.which("pipeline", path=f"{PROJECT_DIR}/.venv/bin"), *command],
            env=environ,
            check=True,
            capture_output=True,
        )
    return demo.folder / "docs"


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("is_dark", [False, True])
def test_the_pages_are_readable_for_everybody(browser, axe, site, width, is_dark):
    size(browser, width, 2400)
    dark(browser, on=is_dark)
    for name in ("results", "health"):
        browser.get((site / f"{name}.html").as_uri())
        keep(browser, f"{name}-{width}-{'dark' if is_dark else 'light'}")
        _is_readable(browser, axe, width, is_dark=is_dark)
    assert {section.get_attribute("id") for section in browser.find_elements(By.TAG_NAME, "section")} == SECTIONS


def _is_readable(browser, axe, width, *, is_dark):
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script(CUT) == []
    colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (colour == "rgb(20, 23, 26)") is is_dark
    browser.execute_script(axe)
    assert browser.execute_async_script(NO_SERIOUS) == []


def test_axe_finds_what_is_wrong(browser, axe, site):
    browser.get((site / "health.html").as_uri())
    browser.execute_script("document.querySelector('p').style.color = '#ddd'; document.documentElement.lang = ''")
    browser.execute_script(axe)
    assert {found.split(":")[0] for found in browser.execute_async_script(NO_SERIOUS)} >= {"html-has-lang"}


def test_the_page_shows_the_numbers_of_the_demo(browser, site):
    browser.get((site / "health.html").as_uri())
    text = browser.find_element(By.TAG_NAME, "body").text
    assert "All is well" in text
    assert "2,621 = 2,616 + 5" in text
    assert "mistyped" in text
    assert "000002" in text
    browser.find_element(By.PARTIAL_LINK_TEXT, "models, rows and tests").click()
    assert "fct_events success 118 0 " in browser.find_element(By.TAG_NAME, "body").text.replace("+", "")
    browser.back()
    rows = [
        row.get_attribute("textContent") for row in browser.find_elements(By.CSS_SELECTOR, "#rows svg rect > title")
    ]
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    assert f"{yesterday:%m-%d}, Bronze: 931 rows" in rows


def test_dbts_site_opens_from_it_with_the_lineage(browser, site):
    size(browser, 1200, 900)
    browser.get((site / "health.html").as_uri())
    browser.find_element(By.PARTIAL_LINK_TEXT, "their meaning").click()
    WebDriverWait(browser, 30).until(lambda b: "Gold (folder marts)" in b.find_element(By.TAG_NAME, "body").text)
    keep(browser, "dbt-overview")
    browser.get(f"{browser.current_url.split('#')[0]}#!/model/model.data_pipeline.fct_events")
    WebDriverWait(browser, 30).until(lambda b: "One row per event" in b.find_element(By.TAG_NAME, "body").text)
    assert "arrival_lag_days" in browser.find_element(By.TAG_NAME, "body").text
    keep(browser, "dbt-fct_events")


def test_what_a_source_sends_cannot_become_markup(tmp_path):
    chart = bars("x", [Bar("<script>alert(1)</script>", 1, "<b>")])
    assert "<script>" not in chart
    assert "<b>" not in chart
    page = write_report(open_store()).read_text()
    assert "No row is in quarantine." in page
