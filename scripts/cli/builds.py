"""Commands that build and publish: build, rollback, fetch, docs, dbt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scripts.cli import options
from scripts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command()
@click.option("--full-refresh", is_flag=True, help="Rebuild every table from all days in Bronze.")
@click.option(
    "--select",
    metavar="NODES",
    multiple=True,
    help="With --full-refresh: rebuild only these nodes and what reads them, as in dbt: stg_events+. May be repeated.",
)
@click.option("--full-tests", is_flag=True, help="Run every test over all rows.")
@click.option("--retry", is_flag=True, help="Resume the failed build: keep the tables that it built.")
@click.option("--plan", "only_plan", is_flag=True, help="Print what would be built and tested, and why; do nothing.")
@click.option("--drop", metavar="NAME", multiple=True, help="Drop this history, which the project no longer builds.")
@options.json_option
def build(
    full_refresh: bool,
    select: tuple[str, ...],
    full_tests: bool,
    retry: bool,
    only_plan: bool,
    drop: tuple[str, ...],
    as_json: bool,
) -> int:
    """Build Silver and Gold from what changed, test them, and publish."""
    from scripts.bronze.loaded_contracts import outdated_days
    from scripts.cli.printing import show_build, show_build_plan
    from scripts.config import settings
    from scripts.contracts import catalog
    from scripts.monitoring.quarantine_digest import tell_quarantine
    from scripts.monitoring.report import refresh
    from scripts.planning.reconcile import noting_build
    from scripts.portal.pages import refresh_portal
    from scripts.warehouse.build import build_warehouse
    from scripts.warehouse.next_plan import read_plan

    if select and not full_refresh:
        raise UsageError(
            "--select is given without --full-refresh",
            hint="a build builds all that is due, which `pipeline build --plan` prints; add --full-refresh to rebuild"
            " the selected nodes from all days",
        )
    if settings().on_spark and (select or drop or retry):
        raise UsageError(
            "--select, --drop or --retry is given, and a build on Spark makes every table again",
            expected="`pipeline build`, with --full-refresh also if nothing has changed",
        )
    started = options.start_run()
    if only_plan:
        plan = read_plan(started, full_refresh=full_refresh, full_tests=full_tests, select=select)
        show_build_plan(plan, outdated_days(started.store, catalog.read_all().sources.values()), as_json=as_json)
        return 0
    try:
        with options.telling_failure(started, "build"), noting_build(started):
            done = build_warehouse(
                started, full_refresh=full_refresh, select=select, full_tests=full_tests, retry=retry, drop=drop
            )
    finally:
        # the page must also show a failed build
        refresh(started.store)
    if done.version:
        refresh_portal()
    tell_quarantine(started.store)
    show_build(done, as_json=as_json)
    return 0


@click.command()
@click.option("--to", "version", metavar="VERSION", help="Version to publish.  [default: the one before]")
@click.option("--list", "listing", is_flag=True, help="List the kept versions and do nothing.")
def rollback(version: str | None, listing: bool) -> int:
    """Publish the version before the current one; the next build starts from that version."""
    from scripts.config import settings
    from scripts.portal.pages import refresh_portal
    from scripts.warehouse.build import kept_versions, roll_back
    from scripts.warehouse.data_docs import docs_page, write_docs

    if listing:
        versions, published = kept_versions()
        for name in versions:
            click.echo(f"{name} published" if name == published else name)
        return 0
    started = options.start_run()
    click.echo(roll_back(started, version))
    if settings().on_spark:
        return 0
    refresh_portal()
    if docs_page().exists():
        write_docs(started)
    return 0


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def fetch(file: Path) -> int:
    """Write the version that is published below WAREHOUSE_URL to FILE, to read it on another machine."""
    from scripts.warehouse.remote import fetch as fetch_version

    found = fetch_version(file.absolute())
    click.echo(f"version {found.version}: {file}" if found else f"{file} is the published version already")
    return 0


@click.command()
def docs() -> int:
    """Write the pages for data consumers: the portal of Gold, dbt's site, and the health page."""
    from scripts.cli.watching import write_health_pages
    from scripts.portal.pages import write_portal
    from scripts.warehouse.data_docs import write_docs

    started = options.start_run()
    click.echo(str(write_docs(started)))
    if (front := write_portal()) is not None:
        click.echo(str(front))
    write_health_pages(started)
    return 0


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def dbt(arguments: Sequence[str]) -> int:
    """Run any dbt command on a private copy of the published warehouse: `pipeline dbt docs generate`."""
    from scripts.warehouse.private_copy import run_dbt_on_copy

    return run_dbt_on_copy(options.start_run(), arguments)
