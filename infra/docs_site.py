"""The site for data consumers: the portal, the health page, the data documentation, the guides, and the metrics.

python infra/docs_site.py [--port 8090] [--host 0.0.0.0]

/               the portal           }
/health.html    the health page      }
/results.html   the last build       } from `docs/` of `DATA_DIR`; every
/dbt/           dbt's documentation  } publication and rollback updates them
/gold/          Gold as Parquet: /gold/current/fct_events.parquet
/sql_page/      the parts of the SQL page, installed by `make sql-page`
/guides/        the guides of docs/, built by `make site`; also at their old places, such as /runbook/, which is there
                without them, too
/metrics        the pipeline's metrics, for Prometheus
/alerts         POST, with the password ALERT_SERVICE_SECRET: sends an alert; n8n uses it, also when Airflow is down
/healthz        200 while the site is served

With DOCS_PASSWORD (or DOCS_PASSWORD_FILE), all pages except the last three ask for the user `reader` and this password.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from scripts.bronze.stores import open_store
from scripts.config import PROJECT_DIR
from scripts.monitoring.alerts import Alert, notify
from scripts.monitoring.metrics import metrics
from scripts.monitoring.runbook_page import IMAGES, runbook_page
from scripts.portal.serving import Served, gold_file, portal_page, sql_part
from scripts.utils.files import make_dir
from scripts.utils.page_headers import DBT_SITE, GUIDES, PAGE, PORTAL, SQL_PAGE
from scripts.utils.password_limit import PasswordLimit
from scripts.warehouse.data_docs import docs_dir

if TYPE_CHECKING:
    from starlette.requests import Request

_SITES = (PROJECT_DIR / "site", PROJECT_DIR / "data" / "site")
"""The folders of the guides: in the image, and of `make site`."""
_HEADERS = {
    "/dbt": DBT_SITE,
    "/health.html": PAGE,
    "/results.html": PAGE,
    "/index.html": PORTAL,
    "/tables/": PORTAL,
    "/portal.js": PORTAL,
    "/sql.html": SQL_PAGE,
    "/sql_page/": SQL_PAGE,
    "/gold/": PAGE,
}
"""What a browser may do with a page, by the beginning of its path; the rest are guides."""
_COPY = re.compile(r"^(/guides)?/data(?=/)")
_WITHOUT_LOGIN = frozenset({"/healthz", "/metrics", "/alerts"})
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
    sites = [site for site in _SITES if site.exists()]
    files.all_directories = [folder, *sites]
    guides = [Mount("/guides", StaticFiles(directory=sites[0], html=True))] if sites else []
    routes = [
        Route("/gold/{version}/{name}", _gold_file),
        Route("/sql_page/{name}", _sql_part),
        *guides,
        Route("/healthz", _healthz),
        Route("/metrics", _metrics),
        Route("/alerts", _send_alert, methods=["POST"]),
        *([] if any((site / "runbook").exists() for site in sites) else _runbook()),
        Mount("/", files),
    ]
    middleware = [Middleware(BaseHTTPMiddleware, dispatch=_add_headers), Middleware(PasswordLimit)]
    if password := _secret_of("DOCS_PASSWORD"):
        wanted = _basic("reader", password)

        async def ask_for_login(request: Request, call_next: RequestResponseEndpoint) -> Response:
            if request.url.path in _WITHOUT_LOGIN or _has(request, wanted):
                return await call_next(request)
            challenge = {"WWW-Authenticate": 'Basic realm="data-pipeline", charset="UTF-8"'}
            return PlainTextResponse("Authorization is required!\n", 401, challenge)

        middleware.append(Middleware(BaseHTTPMiddleware, dispatch=ask_for_login))
    return Starlette(routes=routes, middleware=middleware)


async def _add_headers(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    # the site of the guides has a copy of the pages about the data
    path = _COPY.sub("", request.url.path)
    response.headers.update(next((headers for start, headers in _HEADERS.items() if path.startswith(start)), GUIDES))
    if path == "/":
        is_portal = portal_page("index.html") is not None
        response.headers.update(PORTAL if is_portal else GUIDES)
    return response


def _gold_file(request: Request) -> Response:
    return _answer(gold_file(request.path_params["version"], request.path_params["name"]))


def _sql_part(request: Request) -> Response:
    reads_gzip = "gzip" in request.headers.get("Accept-Encoding", "")
    return _answer(sql_part(request.path_params["name"], gzip=reads_gzip))


def _answer(found: Served | None) -> Response:
    if found is None:
        return PlainTextResponse("there is no such file\n", 404)
    return FileResponse(found.path, media_type=found.media_type, headers=dict(found.headers))


def _runbook() -> list[BaseRoute]:
    """Return the routes of the runbook, to which alerts link, where the guides were not built."""
    images = Mount("/runbook/images", StaticFiles(directory=IMAGES))
    return [images, Route("/runbook/", lambda _: HTMLResponse(runbook_page()))]


def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok\n")


def _metrics(_: Request) -> Response:
    return Response(metrics(open_store()), media_type="text/plain; version=0.0.4; charset=utf-8")


class Failure(msgspec.Struct, forbid_unknown_fields=True):
    """The report from n8n about a failed workflow."""

    workflow: str
    node: str
    message: str


async def _send_alert(request: Request) -> Response:
    # if no password is set, a random one: nobody can send alerts
    if not _has(request, _basic("alerts", _secret_of("ALERT_SERVICE_SECRET") or os.urandom(16).hex())):
        return PlainTextResponse("Authorization is required!\n", 401)
    try:
        failure = msgspec.json.decode(await request.body(), type=Failure)
    except msgspec.MsgspecError as error:
        return PlainTextResponse(f"{error}\n", 422)
    title = f"n8n {failure.workflow[:200]}, node {failure.node[:200]}"
    alert = Alert("workflow failed", title, failure.message[:2000], place="n8n")
    # `notify` cannot write its note against repeated alerts if the data is mounted read-only
    if time.monotonic() - _sent.get(title, -_REPEAT_AFTER_SECONDS) < _REPEAT_AFTER_SECONDS:
        return JSONResponse([])
    taken = await run_in_threadpool(lambda: list(notify(alert)))
    if taken:
        _sent[title] = time.monotonic()
    return JSONResponse(taken)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _has(request: Request, wanted: str) -> bool:
    return hmac.compare_digest(request.headers.get("Authorization", "").encode(), wanted.encode())


def _secret_of(name: str) -> str:
    """Return a secret from its variable, or from the file in the variable `NAME_FILE`; empty if neither is set."""
    file = os.environ.get(f"{name}_FILE")
    return os.environ.get(name) or (Path(file).read_text(encoding="utf-8").strip() if file else "")


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (%(default)s)")  # noqa: S104 — in a container
    parser.add_argument("--port", type=int, default=8090)
    options = parser.parse_args()
    uvicorn.run(site(), host=options.host, port=options.port, log_config=LOGGING)


if __name__ == "__main__":
    main()
