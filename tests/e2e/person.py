"""A person with a browser in Airflow's own pages."""

import requests
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from .browsing import keep
from .waiting import wait_for


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

    def shown(self, path):
        """Return an element of the page that shows; None if there is none."""
        try:
            return next((one for one in self.browser.find_elements(By.XPATH, path) if one.is_displayed()), None)
        except StaleElementReferenceException:
            return None

    def find(self, path, timeout=120):
        """Return an element as soon as it shows."""
        return wait_for(lambda: self.shown(path), path, timeout)

    def click(self, path):
        """Click an element as soon as it can be clicked."""
        self._use(path, lambda found: found.click())

    def write(self, path, keys):
        """Replace the text of a field as soon as it can be written into."""
        self._use(path, lambda found: found.send_keys(Keys.CONTROL, "a", Keys.NULL, keys))

    def _use(self, path, act):
        def used():
            try:
                act(self.find(path))
            except WebDriverException:
                return False
            return True

        wait_for(used, f"something to use at {path}", 120)

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
        keep(self.browser, name)

    def every_link_opens(self):
        """Follow each link of the present page to this server, as the browser would, without leaving the page."""
        cookies = {cookie["name"]: cookie["value"] for cookie in self.browser.get_cookies()}
        links = {one.get_attribute("href") for one in self.browser.find_elements(By.CSS_SELECTOR, "a[href]")}
        for link in sorted(link.partition("#")[0] for link in links if link.startswith(self.airflow.url)):
            assert requests.get(link, cookies=cookies, timeout=60).status_code == 200, link

    def fill_in_a_backfill(self, first, last):
        """Fill in Airflow's form for a range of days, midnight each, in the time zone that the page shows."""
        self.open("/dags/pipeline_bronze")
        self.press("Trigger Dag")
        self.click("//*[@role='dialog']//label[contains(., 'Backfill')]")
        self.reads("Missing Runs")
        for label, day in (("From", first), ("To", last)):
            self.click(f"//*[text()='{label}']/..//*[text()='Select date and time']")
            for hint, keys in (("YYYY/MM/DD", day.replace("-", "/")), ("HH:mm", "00:00")):
                self.write(f"//input[@placeholder='{hint}']", keys)
            # closes the calendar
            self.click("//*[text()='Date Range']")
            wait_for(lambda: not self.shown("//input[@placeholder='HH:mm']"), "the end of the calendar", 120)
