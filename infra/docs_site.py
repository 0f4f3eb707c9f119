"""The site for data consumers: the guides, the health page, the data documentation, and the metrics.

python infra/docs_site.py [--port 8090] [--host 0.0.0.0]

/               the guides of docs/, built by `make site`
/health.html    the health page      } both from `docs/` of `DATA_DIR`; every
/dbt/           dbt's documentation  } publication and rollback updates them
/metrics        the pipeline's metrics, for Prometheus
/alerts         POST, with the password ALERT_SERVICE_SECRET: sends an alert; n8n uses it, also when Airflow is down
/healthz        200 while the site is served
"""

from __future__ import annotations

import argparse
import base64
import hmac
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from scripts.bronze.store import Store
from scripts.config import PROJECT_DIR, settings
from scripts.monitoring.alerts import Alert, notify
from scripts.monitoring.metrics import metrics
from scripts.utils.files import make_dir
from scripts.utils.page_headers import DBT_SITE, GUIDES, PAGE
from scripts.warehouse.data_docs import docs_dir

if TYPE_CHECKING:
    from starlette.requests import Request

_SITE = PROJECT_DIR / "site"
"""The folder of the guides in the image."""
_REPEAT_AFTER_SECONDS = 3600
_sent: dict[str, float] = {}
"""When the last alert about each workflow and node was sent."""
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
            "rename_fields": {"asctime": "timestamp", "levelname": "level", "name": "logger"},
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    # do not log each request: Prometheus and the health check send many
    "loggers": {"uvicorn": {"handlers": ["stderr"], "level": "INFO"}, "uvicorn.access": {"level": "WARNING"}},
}


def site() -> Starlette:
    """Return the application."""
    folder = docs_dir()
    make_dir(folder)
    files = StaticFiles(directory=folder, html=True)
    # the folder of the data has priority: its pages are newer
    files.all_directories = [folder, _SITE] if _SITE.exists() else [folder]
    routes = [
        Route("/healthz", _healthz),
        Route("/metrics", _metrics),
        Route("/alerts", _send_alert, methods=["POST"]),
        Mount("/", files),
    ]
    return Starlette(routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=_add_headers)])


async def _add_headers(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    path = request.url.path
    headers = DBT_SITE if path.startswith("/dbt") else PAGE if path == "/health.html" else GUIDES
    response.headers.update(headers)
    return response


def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok\n")


def _metrics(_: Request) -> Response:
    return Response(metrics(Store(settings().bronze_path)), media_type="text/plain; version=0.0.4; charset=utf-8")


class Failure(msgspec.Struct, forbid_unknown_fields=True):
    """The report from n8n about a failed workflow."""

    workflow: str
    node: str
    message: str


async def _send_alert(request: Request) -> Response:
    wanted = "Basic " + base64.b64encode(f"alerts:{_secret()}".encode()).decode()
    if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), wanted.encode()):
        return PlainTextResponse("Authorization is required!\n", 401)
    try:
        failure = msgspec.json.decode(await request.body(), type=Failure)
    except msgspec.MsgspecError as error:
        return PlainTextResponse(f"{error}\n", 422)
    title = f"n8n {failure.workflow[:200]}, node {failure.node[:200]}"
    alert = Alert("workflow failed", title, failure.message[:2000])
    # `notify` cannot write its note against repeated alerts if the data is mounted read-only
    if time.monotonic() - _sent.get(title, -_REPEAT_AFTER_SECONDS) < _REPEAT_AFTER_SECONDS:
        return JSONResponse([])
    taken = await run_in_threadpool(lambda: list(notify(alert)))
    if taken:
        _sent[title] = time.monotonic()
    return JSONResponse(taken)


def _secret() -> str:
    """Return the password for sending alerts; if none is set, a random one, so that nobody can send alerts."""
    file = os.environ.get("ALERT_SERVICE_SECRET_FILE")
    found = os.environ.get("ALERT_SERVICE_SECRET") or (Path(file).read_text(encoding="utf-8").strip() if file else "")
    return found or os.urandom(16).hex()


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (%(default)s)")  # noqa: S104 — in a container
    parser.add_argument("--port", type=int, default=8090)
    options = parser.parse_args()
    uvicorn.run(site(), host=options.host, port=options.port, log_config=LOGGING)


if __name__ == "__main__":
    main()
