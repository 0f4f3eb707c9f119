"""What tests of pages do with a browser: its size, its colors, pictures, and the question to axe."""

import os

NO_SERIOUS = """
const done = arguments[arguments.length - 1];
axe.run(document).then((found) => done(found.violations.filter((v) => ['serious', 'critical'].includes(v.impact))
  .map((v) => v.id + ': ' + v.nodes.map((n) => n.target + ' ' + n.failureSummary).join('; '))));
"""


def dark(browser, *, on):
    """Let pages be shown in the dark."""
    features = [{"name": "prefers-color-scheme", "value": "dark" if on else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def size(browser, width, height):
    """Set the size of the page."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def keep(browser, name):
    """Save a picture where PICTURES says, for a person to look at."""
    if folder := os.environ.get("PICTURES"):
        browser.save_screenshot(f"{folder}/{name}.png")
