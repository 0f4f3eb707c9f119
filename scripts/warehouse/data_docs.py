"""The data documentation: dbt's site for data consumers, generated from the published warehouse."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from scripts.config import settings
from scripts.errors import WarehouseError
from scripts.utils.files import make_dir, storage_errors, write_atomically
from scripts.warehouse import spark_versions
from scripts.warehouse.build import warehouse
from scripts.warehouse.fingerprints import hash_of
from scripts.warehouse.private_copy import run_dbt_on_copy
from scripts.warehouse.project import project_digest
from scripts.warehouse.runner import target_dir
from scripts.warehouse.versions import reading

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.bronze.run import Run


def write_docs(run: Run) -> Path:
    """Write dbt's site as one page to `docs/dbt/index.html` in `DATA_DIR`, and return its path.

    The page shows the project and the columns of the published tables, and no data. If neither has changed since the
    page was written, it stays as it is.

    Raises:
        WarehouseError: dbt could not generate it, or no version is published on Spark.
    """
    page, known = docs_page(), target_dir(warehouse()) / "docs.digest"
    shown = _digest_of_what_is_shown()
    if known.exists() and page.exists() and known.read_bytes() == f"{shown} {page.stat().st_size}".encode():
        return page
    code = run_dbt_on_copy(run, ["docs", "generate", "--static", "--quiet"], version=_version_on_spark())
    if code != 0:
        raise WarehouseError(f"dbt docs ended with code {code}", where="docs", hint="`pipeline dbt docs generate`")
    with storage_errors(page):
        make_dir(page.parent)
        temporary = page.with_suffix(".new")
        shutil.copy(target_dir(warehouse()) / "static_index.html", temporary)
        temporary.replace(page)
        write_atomically(known, f"{shown} {page.stat().st_size}".encode())
    return page


def docs_dir() -> Path:
    """Return the folder of the pages for data consumers."""
    return settings().data_dir / "docs"


def docs_page() -> Path:
    """Return the path of dbt's site."""
    return docs_dir() / "dbt" / "index.html"


def node_url(unique_id: str, *, page: str = "docs/dbt/index.html") -> str:
    """Return the address of the page of a model or test on dbt's site.

    Args:
        unique_id: dbt's identifier of the model or test.
        page: The path of the site, used if `DOCS_URL` names no server.
    """
    root = settings().docs_url.rstrip("/")
    return f"{f'{root}/dbt/index.html' if '://' in root else page}#!/{unique_id.partition('.')[0]}/{unique_id}"


def _digest_of_what_is_shown() -> str:
    columns: list[tuple[str, ...]] = []
    if settings().on_spark:
        columns = [(_version_on_spark(),)]
    elif warehouse().current() is not None:
        with reading(warehouse().path) as connection:
            columns = connection.execute(
                "select schema_name, table_name, column_name, data_type, comment from duckdb_columns()"
                " where database_name = current_database() order by all"
            ).fetchall()
    return hash_of(project_digest(), columns)


def _version_on_spark() -> str:
    """Return the published version on Spark; empty if the warehouse is DuckDB's."""
    if not settings().on_spark:
        return ""
    if (found := spark_versions.published(warehouse())) is None:
        raise WarehouseError("no version is published on Spark", where="docs", hint="`pipeline build`")
    return found.name
