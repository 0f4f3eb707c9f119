"""The site for the people who use the data: the guides, its health, its documentation, and the metrics.

python infra/docs_site.py [--port 8090] [--host 0.0.0.0]

/               the guides of docs/, as `make site` has built them
/health.html    the health page      } both from `docs/` of `DATA_DIR`, where every
/dbt/           dbt's documentation  } publication and rollback writes them anew
/metrics        the pipeline's metrics, for Prometheus
/healthz        200 while the site is served
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from scripts.bronze.store import Store
from scripts.config import PROJECT_DIR, settings
from scripts.monitoring.metrics import metrics
from scripts.utils.files import make_dir
from scripts.warehouse.data_docs import docs_dir

if TYPE_CHECKING:
    from starlette.requests import Request

_SITE = PROJECT_DIR / "site"
"""The guides; the image has them here."""
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
    # no line for every request: Prometheus and the health check ask all the time
    "loggers": {"uvicorn": {"handlers": ["stderr"], "level": "INFO"}, "uvicorn.access": {"level": "WARNING"}},
}


def site() -> Starlette:
    """Return the application."""
    folder = docs_dir()
    make_dir(folder)
    files = StaticFiles(directory=folder, html=True)
    # what is newer comes first
    files.all_directories = [folder, _SITE] if _SITE.exists() else [folder]
    return Starlette(routes=[Route("/healthz", _healthz), Route("/metrics", _metrics), Mount("/", files)])


def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok\n")


def _metrics(_: Request) -> Response:
    return Response(metrics(Store(settings().bronze_path)), media_type="text/plain; version=0.0.4; charset=utf-8")


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (%(default)s)")  # noqa: S104 — in a container
    parser.add_argument("--port", type=int, default=8090)
    options = parser.parse_args()
    uvicorn.run(site(), host=options.host, port=options.port, log_config=LOGGING)


if __name__ == "__main__":
    main()
