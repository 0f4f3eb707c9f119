"""The data portal in a real browser: its pages, its search, and SQL on Gold that asks no other server."""

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

import duckdb
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from selenium.webdriver.support.wait import WebDriverWait

from scripts.config import PROJECT_DIR
from scripts.warehouse.versions import Warehouse
from tests.support.required import without

from .browsing import NO_SERIOUS, dark, keep, size
from .conftest import chrome_options
from .waiting import wait_for

PIPELINE = [sys.executable, "-m", "scripts.cli.main"]
TABLES = ["dim_users", "fct_coin_prices_daily", "fct_events", "fct_user_activity_daily"]
PAGES = ["index.html", "sql.html", "tables/fct_events.html", "tables/dim_users.html"]


@pytest.fixture(scope="module")
def parts():
    """The parts of the SQL page, as `make sql-page` installs them."""
    if shutil.which("npm") is None:
        without("REQUIRE_BROWSER", "no npm here")
    folder = PROJECT_DIR / "data/sql_page"
    subprocess.run([PROJECT_DIR / "infra/install-sql-page.sh", folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def server(demo, parts):
    """The docs server over the demo's data, after a second build; its address."""
    environ = os.environ | {"DATA_DIR": str(demo.folder)}
    subprocess.run(
        [*PIPELINE, "build", "--full-refresh"], cwd=PROJECT_DIR, env=environ, check=True, capture_output=True
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "infra/docs_site.py", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, cwd=PROJECT_DIR, env=environ | {"PYTHONPATH": str(PROJECT_DIR)})
    url = f"http://127.0.0.1:{port}"

    def answers():
        try:
            return urllib.request.urlopen(f"{url}/healthz").status == 200
        except OSError:
            return False

    wait_for(answers, "the docs server")
    yield url
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads):
    """A Chromium that tells which addresses it asked, and that downloads into a folder."""
    options = chrome_options()
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
    yield driver
    driver.quit()


@pytest.fixture
def ask(browser, server):
    """Open the SQL page with a query in its address, and return the cells of the result, or the message."""

    def run(sql, *, typed=False):
        browser.get("about:blank")
        browser.get(f"{server}/sql.html" + ("" if typed else f"#sql={urllib.parse.quote(sql)}"))
        if typed:
            WebDriverWait(browser, 120).until(lambda b: b.find_element(By.ID, "run").is_enabled())
            field = browser.find_element(By.ID, "query")
            field.clear()
            field.send_keys(sql)
            field.send_keys(Keys.CONTROL, Keys.ENTER)
        return answer(browser)

    return run


def answer(browser):
    """Wait for the end of a query; return the rows with their head, or the message."""

    def ended(_):
        failed = browser.find_elements(By.CSS_SELECTOR, "#status.bad")
        return failed or (
            browser.find_element(By.ID, "run").is_enabled()
            and browser.find_element(By.ID, "result").is_displayed()
            and not browser.find_element(By.ID, "status").text
        )

    WebDriverWait(browser, 120).until(ended)
    if browser.find_elements(By.CSS_SELECTOR, "#status.bad"):
        return browser.find_element(By.ID, "status").text
    script = "return [...document.querySelectorAll('#rows tr')].map(r => [...r.children].map(c => c.textContent))"
    return browser.execute_script(script)


def requests_of(browser):
    """Return the addresses that the browser has asked since the last call, by the page and its workers."""
    found = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.add(message["params"]["request"]["url"])
    return found


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_readable_for_everybody(browser, axe, server, page, width, is_dark):
    size(browser, width, 1500)
    dark(browser, on=is_dark)
    browser.get(f"{server}/{page}")
    if page == "sql.html":
        WebDriverWait(browser, 120).until(lambda b: b.find_element(By.ID, "run").is_enabled())
        Select(browser.find_element(By.ID, "examples")).select_by_index(9)
        assert len(answer(browser)) > 2
    name = f"portal-{page.removesuffix('.html').replace('/', '-')}-{width}-{'dark' if is_dark else 'light'}"
    height = browser.execute_script("return document.documentElement.scrollHeight")
    size(browser, width, min(height, 4000))
    keep(browser, name)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    color = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (color == "rgb(20, 23, 26)") is is_dark
    # the page allows no inline scripts: the driver's own ones are exempt
    browser.execute_script(axe)
    assert browser.execute_async_script(NO_SERIOUS) == []


def test_the_front_page_leads_to_each_table_and_finds_columns(browser, server):
    size(browser, 1200, 900)
    browser.get(f"{server}/")
    assert [link.text for link in browser.find_elements(By.CSS_SELECTOR, "main h2 a")] == TABLES
    words = browser.find_element(By.ID, "words")
    words.send_keys("comment event")
    found = [item.text for item in browser.find_elements(By.CSS_SELECTOR, "#found a")]
    assert "fct_events.comment_count" in found
    assert "dim_users.city" not in found
    browser.find_element(By.LINK_TEXT, "fct_events.comment_count").click()
    assert browser.current_url.endswith("/tables/fct_events.html#comment_count")


def test_the_page_of_a_table_shows_what_the_published_file_holds(browser, server, demo):
    browser.get(f"{server}/tables/fct_events.html")
    text = browser.find_element(By.TAG_NAME, "body").text
    with duckdb.connect(str(demo.folder / "warehouse.duckdb"), read_only=True) as warehouse:
        (rows,) = warehouse.execute("select count(*) from gold.fct_events").fetchone()
        (title,) = warehouse.execute("select event_title from gold.fct_events limit 1").fetchone()
    assert f"Rows\n{rows}" in text
    assert "One row per event, with the number of its comments." in text
    assert "Data platform <data-platform@example.com>" in text
    assert title in text
    column = browser.find_element(By.ID, "user_id").text
    assert "The user who wrote it." in column
    assert "relationships" in column
    assert "different\n10" in column
    assert browser.find_elements(By.CSS_SELECTOR, "#user_id svg")
    picture = browser.find_element(By.CSS_SELECTOR, ".picture").get_attribute("textContent")
    names = ("jsonplaceholder posts", "stg_events", "fct_user_activity_daily", "Health page")
    assert [name for name in names if name not in picture] == []
    # the full refresh has changed no row; another file of tests may have made one before
    change = browser.find_element(By.CSS_SELECTOR, "section[aria-labelledby=changes]").text
    before = int(Warehouse(demo.folder / "warehouse.duckdb").current()) - 1
    assert f"Compared with version {before:06}" in change
    assert "Rows added\n0\nRows changed\n0\nRows removed\n0" in change
    tests = browser.find_element(By.CSS_SELECTOR, "section[aria-labelledby=tests]").text
    assert "relationships user_id pass" in tests
    browser.find_element(By.LINK_TEXT, "Query it in the browser").click()
    assert "from fct_events" in browser.find_element(By.ID, "query").get_attribute("value")
    assert len(answer(browser)) == 101


def test_sensitive_values_are_on_no_page_and_the_search_names_their_columns(browser, server, demo):
    with duckdb.connect(str(demo.folder / "warehouse.duckdb"), read_only=True) as warehouse:
        values = warehouse.execute("select email, phone, name, username, website from gold.dim_users").fetchall()
    for path in (demo.folder / "docs").rglob("*.html"):
        if "dbt" not in path.parts:
            assert [value for row in values for value in row if value in path.read_text()] == [], path
    browser.get(f"{server}/tables/dim_users.html")
    assert "(hidden: sensitive)" in browser.find_element(By.CSS_SELECTOR, "section[aria-labelledby=sample]").text
    assert "sensitive" in browser.find_element(By.ID, "email").text
    browser.get(f"{server}/")
    browser.find_element(By.ID, "words").send_keys("personal")
    found = {item.text for item in browser.find_elements(By.CSS_SELECTOR, "#found a")}
    assert found == {f"dim_users.{name}" for name in ("name", "username", "email", "phone", "website")}


def test_a_typed_query_gives_the_rows_of_the_warehouse_and_asks_only_this_server(browser, ask, server, demo):
    requests_of(browser)
    sql = (
        "select user_id, count(*) as n, max(occurred_at) as last, max(event_date) as day"
        " from gold.fct_events group by user_id order by user_id"
    )
    with duckdb.connect(str(demo.folder / "warehouse.duckdb"), read_only=True) as warehouse:
        wanted = [[str(value) for value in row] for row in warehouse.execute(sql).fetchall()]

    found = ask(sql, typed=True)

    assert found == [["user_id", "n", "last", "day"], *wanted]
    hosts = {urllib.parse.urlsplit(url).netloc for url in requests_of(browser) if url.startswith(("http", "ws"))}
    assert hosts == {urllib.parse.urlsplit(server).netloc}
    assert browser.find_elements(By.CSS_SELECTOR, "#chart svg")


def test_the_address_holds_the_query_and_another_browser_runs_it(browser, ask, server):
    ask("select 6 * 7 as answer", typed=True)
    shared = browser.current_url
    browser.get("about:blank")
    browser.get(shared)
    assert answer(browser) == [["answer"], ["42"]]


def test_the_result_is_downloaded_as_csv(browser, ask, downloads):
    sql = (
        "select 'a \"b\", c' as text, 1.5 as n, null as nothing, date '2024-01-02' as day,"
        " timestamp '2024-01-02 03:04:05' as at, 9007199254740993 as big"
    )
    ask(sql)
    browser.find_element(By.ID, "csv").click()
    wait_for((downloads / "result.csv").exists, "the download")
    with (downloads / "result.csv").open(newline="") as file:
        head, row = csv.reader(file)
    (downloads / "result.csv").unlink()
    assert head == ["text", "n", "nothing", "day", "at", "big"]
    assert row == ['a "b", c', "1.5", "", "2024-01-02", "2024-01-02 03:04:05", "9007199254740993"]


WRITES = {
    "delete from fct_events": "read-only",
    "drop table gold.fct_events": "read-only",
    "create table x as select * from fct_events": "read-only",
    "commit; delete from fct_events": "multiple statements",
    "copy fct_events to 'x.csv'": "disabled",
    "attach 'other.duckdb'": "disabled",
    "load httpfs": "disabled",
    "set enable_external_access = true": "locked",
    "select * from 'https://example.com/x.parquet'": "does not exist",
    "select * from read_csv('https://example.com/x.csv')": "",
}


@pytest.mark.parametrize("sql", WRITES)
def test_what_would_change_something_or_leave_the_page_is_refused(browser, ask, server, sql):
    before = ask("select count(*) as n from fct_events", typed=True)
    requests_of(browser)
    field = browser.find_element(By.ID, "query")
    field.clear()
    field.send_keys(sql)
    browser.find_element(By.ID, "run").click()
    message = answer(browser)
    assert isinstance(message, str), message
    assert WRITES[sql] in message
    assert {urllib.parse.urlsplit(url).netloc for url in requests_of(browser)} <= {urllib.parse.urlsplit(server).netloc}
    field.clear()
    field.send_keys("select count(*) as n from fct_events")
    browser.find_element(By.ID, "run").click()
    WebDriverWait(browser, 60).until(lambda b: not b.find_elements(By.CSS_SELECTOR, "#status.bad"))
    assert answer(browser) == before


@pytest.mark.parametrize(
    "path",
    [
        "gold/current/..%2f..%2fwarehouse.duckdb",
        "gold/current/build.json",
        "gold/..%2fwarehouse/history.jsonl",
        "sql_page/..%2f..%2fpyproject.toml",
    ],
)
def test_only_gold_is_served(server, path):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{server}/{path}")


def test_without_the_parts_the_page_says_what_to_run_and_the_rest_works(browser, server, parts):
    away = parts.with_name("sql_page.away")
    parts.rename(away)
    try:
        browser.get("about:blank")
        browser.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
        browser.get(f"{server}/sql.html")
        WebDriverWait(browser, 60).until(lambda b: b.find_elements(By.CSS_SELECTOR, "#status.bad"))
        assert "make sql-page" in browser.find_element(By.ID, "status").text
        browser.get(f"{server}/index.html")
        assert len(browser.find_elements(By.CSS_SELECTOR, "main h2 a")) == len(TABLES)
    finally:
        away.rename(parts)
        browser.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": False})


def test_the_pages_work_as_files_and_the_sql_page_says_that_it_needs_a_server(browser, demo, server):
    browser.get((demo.folder / "docs/index.html").as_uri())
    browser.find_element(By.ID, "words").send_keys("city")
    assert [item.text for item in browser.find_elements(By.CSS_SELECTOR, "#found a")] == ["dim_users.city"]
    browser.get((demo.folder / "docs/sql.html").as_uri())
    WebDriverWait(browser, 60).until(lambda b: b.find_elements(By.CSS_SELECTOR, "#status.bad"))
    assert "make docs-serve" in browser.find_element(By.ID, "status").text
