"""The pages of the portal: `index.html`, one page for each table of Gold, and the page for SQL.

They are files without a server. A failure to write them never fails the build that was published.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from scripts.portal import charts, store
from scripts.portal.profile import share_of_nulls
from scripts.portal.tables import read_published
from scripts.utils.files import make_dir, storage_errors, write_atomically
from scripts.utils.logging_config import get_logger
from scripts.warehouse.build import warehouse
from scripts.warehouse.data_docs import docs_dir
from scripts.warehouse.database import quoted
from scripts.warehouse.gold_files import is_file_name
from scripts.warehouse.runner import target_dir

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.portal.changes import Change
    from scripts.portal.profile import ColumnProfile
    from scripts.portal.tables import Published, Table

_log = get_logger("portal")
_HERE = Path(__file__).parent
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|UINTEGER|FLOAT|DOUBLE|DECIMAL.*")
_WORDS = 12


def write_portal() -> Path | None:
    """Write the pages of the published version to `docs` in `DATA_DIR`; return the front page, or None without one.

    Raises:
        WarehouseError: The published file cannot be read.
        StorageError: A page cannot be written.
    """
    target, folder = warehouse(), docs_dir()
    if target.current() is None:
        return None
    kept_in = target_dir(target) / "portal.json"
    kept = store.read(kept_in)
    with charts.Drawing() as drawing:
        if kept.version != target.current():
            drawing.start()
        published = read_published(target, kept)
        specs = {table.name: _specs(table) for table in published.tables}
        drawn = drawing.draw([spec for found in specs.values() for spec in found.values()], kept.charts)
    kept.version, kept.charts = published.version, dict(drawn)
    kept.profiles = {table.name: kept.profiles[table.name] for table in published.tables if table.name in kept.profiles}
    pages = _pages(published, specs, drawn)
    with storage_errors(folder):
        make_dir(folder / "tables")
        for name, text in pages.items():
            _write_if_other(folder / name, text.encode())
        for path in (folder / "tables").glob("*.html"):
            if f"tables/{path.name}" not in pages:
                path.unlink()
        store.write(kept_in, kept)
    return folder / "index.html"


def refresh_portal() -> None:
    """Write the pages after a publication; log a failure, since it must not fail what is already published."""
    try:
        write_portal()
    except Exception as error:  # noqa: BLE001 — whatever it is: the version is published
        _log.warning("the portal could not be written: %s: %s", type(error).__name__, error)


def page_of(table: str) -> str:
    """Return the name of a table's page."""
    return f"{table if is_file_name(table) else hashlib.sha256(table.encode()).hexdigest()[:16]}.html"


def _pages(
    published: Published, specs: Mapping[str, Mapping[str, charts.Spec]], drawn: Mapping[str, str]
) -> Mapping[str, str]:
    environment = _environment()
    index = [
        {
            "name": table.name,
            "url": f"tables/{page_of(table.name)}",
            "description": table.description,
            "columns": [
                {
                    "name": column.profile.name,
                    "type": column.profile.type.lower(),
                    "description": column.description,
                    "sensitive": column.profile.hidden,
                }
                for column in table.columns
            ],
        }
        for table in published.tables
    ]
    examples = [{"table": table.name, "queries": _examples(table)} for table in published.tables]
    first = _examples(published.tables[0])[0]["sql"] if published.tables else "select 1"
    pages = {
        "index.html": environment.get_template("index.html.j2").render(root="", published=published, index=index),
        "sql.html": environment.get_template("sql.html.j2").render(
            root="", published=published, examples=examples, first=first
        ),
        "portal.js": (_HERE / "portal.js").read_text(encoding="utf-8"),
    }
    names = {table.name for table in published.tables}
    for table in published.tables:
        own = {name: drawn.get(charts.name_of(spec), "") for name, spec in specs[table.name].items()}
        neighbors = [
            item.partition("/")[2] for items in table.steps.layers.values() for item in items if item[:5] == "gold/"
        ]
        environment.filters["chart"] = lambda about, own=own: own.get(f"column {about.name}", "")
        pages[f"tables/{page_of(table.name)}"] = environment.get_template("table.html.j2").render(
            root="../",
            published=published,
            table=table,
            picture=own.get("lineage", ""),
            lineage_words=_lineage_words(table),
            neighbors=[name for name in neighbors if name in names and name != table.name],
            query=_examples(table)[0]["sql"],
            has_file=table.file is not None and not table.file.why_missing,
            dbt_page=f"dbt/index.html#!/{table.node.partition('.')[0]}/{table.node}",
        )
    return pages


def _specs(table: Table) -> Mapping[str, charts.Spec]:
    found = {
        f"column {column.profile.name}": spec
        for column in table.columns
        if (spec := charts.distribution(column.profile)) is not None
    }
    return found | {"lineage": charts.lineage(f"gold/{table.name}", table.steps.layers, table.steps.edges)}


def _examples(table: Table) -> Sequence[Mapping[str, str]]:
    """Return queries that show what the table holds."""
    name = _quoted(table.name)
    found = [{"title": "some rows", "sql": f"select *\nfrom {name}\nlimit 100"}]
    columns = [column.profile for column in table.columns if not column.profile.hidden]
    moments = [item for item in columns if item.type.startswith(("DATE", "TIMESTAMP")) and item.distinct_count > 1]
    groups = [item for item in columns if item.shape == "values"]
    if moments:
        day = f"cast({_quoted(moments[0].name)} as date)"
        sql = f"select\n    {day} as day,\n    count(*) as row_count\nfrom {name}\ngroup by day\norder by day"
        found.append({"title": f"rows by day of {moments[0].name}", "sql": sql})
    if groups:
        by = _quoted(groups[0].name)
        sql = f"select\n    {by},\n    count(*) as row_count\nfrom {name}\ngroup by {by}\norder by row_count desc"
        found.append({"title": f"rows by {groups[0].name}", "sql": sql})
    return found


def _lineage_words(table: Table) -> str:
    steps = [
        ", ".join(item.partition("/")[2].replace("/", " ") for item in items) for items in table.steps.layers.values()
    ]
    return "Each step reads the one before: " + "; ".join(steps)


def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader([_HERE, _HERE.parent / "monitoring"])
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True)
    environment.filters |= {
        "page": page_of,
        "moment": lambda text: str(text)[:16].replace("T", " "),
        "nulls": share_of_nulls,
        "words": _words,
        "prose": _prose,
        "delta": _delta,
        "is_web": lambda url: url.startswith(("https://", "http://")),
        "is_number": lambda kind: _NUMBER.fullmatch(kind) is not None,
    }
    return environment


def _words(column: ColumnProfile) -> str:
    """Return a distribution as text."""
    shown = [f"{item.label} {item.count:,}" for item in column.bins if item.count][:_WORDS]
    return ", ".join(shown)


def _prose(text: str) -> Markup:
    """Return a description as HTML, with what stands in backticks as code."""
    parts = enumerate((text or "No description.").split("`"))
    return Markup("").join(Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in parts)


def _delta(change: Change) -> str:
    if not change.before or change.rows_now == change.rows_before:
        return ""
    return f"{change.rows_now - change.rows_before:+,}"


def _quoted(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else quoted(name)


def _write_if_other(path: Path, content: bytes) -> None:
    # most pages of a daily publication have not changed
    try:
        if path.read_bytes() == content:
            return
    except FileNotFoundError:
        pass
    write_atomically(path, content)
