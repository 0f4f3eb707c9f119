"""The plugin that notes what is wrong with the installation of Airflow, so that health names it.

It is a plugin of its own, which still loads if the other one does not.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from airflow import plugins_manager
from airflow.models.errors import ParseImportError
from airflow.models.pool import Pool
from airflow.plugins_manager import AirflowPlugin
from airflow.utils.session import create_session
from sqlalchemy import select

from scripts.admin import airflow_doctor
from scripts.monitoring import airflow_findings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_SECONDS = 60
_log = logging.getLogger(__name__)


class Noting:
    """Middleware that notes the findings at a request of any kind, at most once a minute: tasks ask all the time."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the application."""
        self.app, self.next = app, 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and time.monotonic() >= self.next:
            self.next = time.monotonic() + _SECONDS
            asyncio.get_running_loop().run_in_executor(None, note)
        await self.app(scope, receive, send)


def note() -> None:
    """Note the findings for health; a failure is logged, since no request depends on it."""
    try:
        with create_session() as session:
            errors = session.execute(select(ParseImportError.filename, ParseImportError.stacktrace)).tuples().all()
            has_pool = Pool.get_pool(airflow_doctor.POOL, session=session) is not None
        files = {name or "a file": text or "" for name, text in errors}
        checks = airflow_doctor.findings(files, plugins_manager.get_import_errors(), has_pool=has_pool)
        airflow_findings.note({item.check: f"{item.found} (next: {item.fix})" for item in checks if not item.ok})
    except Exception:  # noqa: BLE001 — whatever it is, requests go on
        _log.exception("the state of the installation cannot be noted")


class InstallationPlugin(AirflowPlugin):
    """The plugin class that Airflow loads."""

    name = "data_pipeline_installation"
    fastapi_root_middlewares = [{"middleware": Noting, "name": "findings"}]  # noqa: RUF012 — as Airflow asks for it
