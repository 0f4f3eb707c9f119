"""What the project sets in Prefect are settings of the installed Prefect, and its database does not grow for ever."""

import datetime as dt
import re

from dotenv import dotenv_values
from prefect.settings import Settings
from prefect.settings.legacy import _get_valid_setting_names

from scripts.config import PROJECT_DIR

FILE = PROJECT_DIR / "infra" / "prefect.env"
FILES = [FILE, *PROJECT_DIR.glob("infra/*prefect*.py"), *PROJECT_DIR.glob("infra/docker-compose*.yml")]
OURS = {"PREFECT_PORT"}


def test_every_name_is_a_setting_of_the_installed_prefect():
    names = {name for path in FILES for name in re.findall(r"\bPREFECT_[A-Z_]+\b", path.read_text())}
    assert "PREFECT_API_URL" in names
    assert names - OURS - _get_valid_setting_names(Settings) == set()


def test_old_runs_and_events_are_removed(monkeypatch):
    for name, value in dotenv_values(FILE).items():
        monkeypatch.setenv(name, value)
    server = Settings().server
    assert server.services.db_vacuum.enabled_vacuum_types == {"events", "flow_runs"}
    assert server.services.db_vacuum.retention_period == dt.timedelta(days=30)
    assert server.events.retention_period == dt.timedelta(days=3)
