"""The command `pipeline sources new`: creates a source, from its address to Gold."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from scripts.admin.new_source import Address
    from scripts.admin.source_changes import Change
    from scripts.contracts.source import Source
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
    """Read an API, write its contract and models up to Gold, load a day, build it and show rows.

    The command never overwrites an existing source: it sends requests as the contract says, shows the differences, and
    offers to add new columns and resources.
    """
    from scripts.admin import generated_files, new_source
    from scripts.cli.sources import wanted_files
    from scripts.contracts import catalog

    started = time.monotonic()
    addresses = _addresses(url, openapi, yes=yes)
    path = catalog.SOURCES_DIR / f"{name}.yml"
    if path.exists():
        return _change(catalog.read(path), path, addresses, yes=yes)
    text, found = new_source.discover_source(name, addresses, new_source.parse_auth(auth), owner)
    _show_findings(name, found)
    if not yes and not click.confirm(f"Write {path} with its models?", default=True):
        click.echo(text)
        return 0
    _say_written([*new_source.write_source(name, text), *generated_files.write_files(wanted_files())])
    return _load(name, catalog.pick(name).resources, started, yes=yes)


def _show_findings(name: str, found: Sequence[Discovered]) -> None:
    for resource in found:
        click.echo(f"{name}/{resource.name}: {len(resource.keys['columns'])} columns")
        for finding in resource.findings:
            click.echo(f"  {finding.about} ({finding.sure}): {finding.text}")


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


def _change(source: Source, path: Path, addresses: Sequence[Address], *, yes: bool) -> int:
    """Show the differences between a source and its contract, and add new columns and resources."""
    from scripts.admin import generated_files, new_source, source_changes
    from scripts.cli.sources import wanted_files
    from scripts.contracts import catalog

    started = time.monotonic()
    found = new_source.discover_all(source, addresses)
    changes = source_changes.find_changes(source, found)
    for change in changes:
        click.echo(change.text)
    additions = [change for change in changes if change.is_addition]
    if not additions:
        click.echo(f"{path} has every column that the API returned; nothing was written")
        return 0
    if not yes and not click.confirm(f"Add the new columns and resources to {path}?", default=True):
        return 0
    source_changes.add_changes(path, additions)
    known, source = source.resources, catalog.pick(source.source)
    new = [name for name in source.resources if name not in known]
    models = new_source.write_models(source, new)
    _say_written([path, *models, *generated_files.write_files(wanted_files())])
    _say_own_models(source, additions)
    return _load(source.source, dict.fromkeys([*(change.resource for change in additions), *new]), started, yes=yes)


def _say_written(files: Iterable[Path]) -> None:
    for file in dict.fromkeys(files):
        click.echo(f"wrote {file}")


def _say_own_models(source: Source, additions: Sequence[Change]) -> None:
    """Print the models that a person edits, since the command does not add the new columns to them."""
    from scripts.contracts.model_files import generated_models, model_files

    generated = generated_models(source)
    for name in dict.fromkeys(change.resource for change in additions if change.column is not None):
        own = [path for path in model_files(source, [name]) if path.exists() and path not in generated]
        for path in own:
            click.echo(f"{path} is edited by hand: add the new columns of {name} there")


def _load(name: str, resources: Iterable[str], started: float, *, yes: bool) -> int:
    from scripts.cli.options import start_run
    from scripts.cli.printing import exit_code, show_run
    from scripts.loading.partitions import load, partitions
    from scripts.warehouse.build import build_warehouse

    today = dt.datetime.now(dt.UTC).date()
    again = f"`pipeline run --source {name} --start-date {today} --end-date {today}`"
    if not yes and not click.confirm(f"Load {today} and build it?", default=True):
        click.echo(f"next: {again}")
        return 0
    run = start_run()
    outcomes = load(run, partitions([today], [name], list(resources)))
    if code := exit_code(outcomes):
        for outcome in outcomes:
            if outcome.error is not None:
                click.echo(f"{outcome.partition}: {outcome.error}", err=True)
        click.echo(f"next: correct the contract, then {again}", err=True)
        return code
    done = build_warehouse(run)
    show_run(run.store, outcomes, done, as_json=False)
    _show_rows(name, resources)
    click.echo(f"\nfrom the address to Gold in {time.monotonic() - started:.0f} s")
    return 0


def _show_rows(name: str, resources: Iterable[str]) -> None:
    import duckdb

    from scripts.config import settings
    from scripts.contracts.mart_model import mart_name

    with duckdb.connect(str(settings().data_dir / "warehouse.duckdb"), read_only=True) as connection:
        for resource in resources:
            table = f"gold.{mart_name(name, resource)}"
            click.echo(f"\n{table}")
            connection.sql(f"select * from {table} limit 5").show()  # noqa: S608 — names of the contract
