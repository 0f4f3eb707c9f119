"""The data portal in Airflow's menu: its pages, the parts of its SQL page, and Gold as Parquet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from scripts.config import settings
from scripts.utils.page_headers import PORTAL, SQL_PAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.portal.serving import Served

_PAGES = re.compile(r".*/(index\.html|portal\.js|tables/[^/]+)")
_SQL = re.compile(r".*/(sql\.html|sql_page/[^/]+)")
router = APIRouter()


def headers_of(path: str) -> Mapping[str, str]:
    """Return the headers of a page of the portal; none for other pages."""
    return PORTAL if _PAGES.fullmatch(path) else SQL_PAGE if _SQL.fullmatch(path) else {}


@router.get("/index.html")
def show_tables() -> Response:
    """Serve the front page: the tables of Gold."""
    return _page("index.html")


@router.get("/sql.html")
def show_sql() -> Response:
    """Serve the page for SQL in the browser."""
    return _page("sql.html")


@router.get("/portal.js")
def show_script() -> Response:
    """Serve the script of these pages."""
    return _page("portal.js")


@router.get("/tables/{name}")
def show_table(name: str) -> Response:
    """Serve the page of a table."""
    return _page(f"tables/{name}")


@router.get("/sql_page/{name}")
def show_part(name: str, request: Request) -> Response:
    """Serve a part of the SQL page."""
    from scripts.portal.serving import sql_part

    found = sql_part(name, gzip="gzip" in request.headers.get("Accept-Encoding", ""))
    return _sent(found, f"there is no {name}; `make sql-page` installs it")


@router.get("/gold/{version}/{name}")
def show_gold(version: str, name: str) -> Response:
    """Serve a table of Gold as Parquet."""
    from scripts.portal.serving import gold_file

    return _sent(gold_file(version, name), f"version {version} has no {name}")


@router.get("/guides/")
def show_guides() -> Response:
    """Lead to the guides on the docs server; without one, to the runbook."""
    url = settings().docs_url
    return RedirectResponse(f"{url.rstrip('/')}/guides/" if "://" in url else "../runbook")


def _page(name: str) -> Response:
    from scripts.portal.serving import portal_page

    return _sent(portal_page(name), f"there is no page {name} yet; dbt_dag writes it")


def _sent(found: Served | None, why_not: str) -> Response:
    if found is None:
        raise HTTPException(404, why_not)
    return FileResponse(found.path, media_type=found.media_type, headers=dict(found.headers))
