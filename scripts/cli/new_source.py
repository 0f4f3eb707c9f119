"""`pipeline sources new`: from an address to Silver."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.admin.new_source import Address
    from scripts.discovery.findings import Discovered


@click.command("new")
@click.argument("name")
@click.argument("url")
@click.option(
    "--auth",
    help="bearer:NAME, basic:NAME,NAME, header:X-Key=NAME or query:key=NAME, with names of environment variables.",
)
@click.option("--openapi", help="OpenAPI file or address: the command offers its lists; URL is then the base.")
@click.option("--owner", default="data-team@example.com", show_default=True, help="Who is responsible for the data.")
@click.option("--yes", is_flag=True, help="Ask no questions: take every list, write, load and build.")
def sources_new(name: str, url: str, auth: str | None, openapi: str | None, owner: str, yes: bool) -> int:
    """Read an API, write its contract and staging models, load a day, build it and show rows.

    The command never overwrites an existing source: it shows the differences, and offers to add new columns.
    """
    from scripts.admin import generated_files, new_source
    from scripts.cli.sources import wanted_files
    from scripts.contracts import catalog

    addresses = _addresses(url, openapi, yes=yes)
    text, found = new_source.discover_source(name, addresses, new_source.parse_auth(auth), owner)
    for resource in found:
        click.echo(f"{name}/{resource.name}: {len(resource.keys['columns'])} columns")
        for finding in resource.findings:
            click.echo(f"  {finding.about} ({finding.sure}): {finding.text}")
    path = catalog.SOURCES_DIR / f"{name}.yml"
    if path.exists():
        return _show_changes(name, found, yes=yes)
    if not yes and not click.confirm(f"Write {path} and its staging models?", default=True):
        click.echo(text)
        return 0
    for file in [*new_source.write_source(name, text), *generated_files.write_files(wanted_files())]:
        click.echo(f"wrote {file}")
    return _load(name)


def _addresses(url: str, openapi: str | None, *, yes: bool) -> Sequence[Address]:
    from pathlib import Path

    import requests

    from scripts.admin.new_source import parse_address
    from scripts.config import settings
    from scripts.discovery.openapi import list_endpoints
    from scripts.errors import UsageError

    if openapi is None:
        return [parse_address(url)]
    try:
        if openapi.startswith(("http://", "https://")):
            text = requests.get(openapi, timeout=settings().api_timeout).text
        else:
            text = Path(openapi).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{openapi} cannot be read: {error}", where="--openapi") from None
    paths = list_endpoints(text)
    for number, path in enumerate(paths, start=1):
        click.echo(f"{number}. {path}")
    chosen = "all" if yes else click.prompt("Which lists (numbers separated by commas, or all)", default="all")
    if chosen != "all":
        numbers = [int(part) for part in chosen.split(",") if part.strip().isdigit()]
        paths = [paths[number - 1] for number in numbers if 0 < number <= len(paths)]
    if not paths:
        raise UsageError("no list is chosen", where="--openapi", expected="numbers from the list, or all")
    return [parse_address(url.rstrip("/") + path) for path in paths]


def _show_changes(name: str, found: Sequence[Discovered], *, yes: bool) -> int:
    from scripts.admin import generated_files, new_source
    from scripts.cli.sources import wanted_files
    from scripts.contracts import catalog

    path = catalog.SOURCES_DIR / f"{name}.yml"
    changes = new_source.find_changes(catalog.read(path), found)
    if not changes:
        click.echo(f"{path} has every column that the API returned; nothing was changed")
        return 0
    for change in changes:
        click.echo(f"new: {change.resource}.{change.column['name']} ({change.column['type']})")
    if yes or click.confirm(f"Add {len(changes)} columns to {path}?", default=True):
        new_source.add_columns(path, changes)
        for file in [path, *generated_files.write_files(wanted_files())]:
            click.echo(f"wrote {file}")
    return 0


def _load(name: str) -> int:
    from scripts.cli.options import start_run
    from scripts.cli.printing import exit_code, show_run
    from scripts.loading.partitions import load, partitions
    from scripts.warehouse.build import build_warehouse

    run = start_run()
    wanted = partitions([dt.datetime.now(dt.UTC).date()], [name])
    outcomes = load(run, wanted)
    if code := exit_code(outcomes):
        for outcome in outcomes:
            if outcome.error is not None:
                click.echo(f"{outcome.partition}: {outcome.error}", err=True)
        return code
    done = build_warehouse(run)
    show_run(run.store, outcomes, done, as_json=False)
    _show_rows(name)
    return 0


def _show_rows(name: str) -> None:
    import duckdb

    from scripts.config import settings
    from scripts.contracts import catalog

    with duckdb.connect(str(settings().data_dir / "warehouse.duckdb"), read_only=True) as connection:
        for resource in catalog.pick(name).resources:
            table = f"silver.stg_{name}__{resource}"
            click.echo(f"\n{table}")
            connection.sql(f"select * from {table} limit 5").show()  # noqa: S608 — names of the contract
