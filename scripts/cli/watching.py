"""Commands that show the state of the data: status, health, report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scripts.cli import options

if TYPE_CHECKING:
    from scripts.bronze.run import Run


@click.command()
@click.option("--verify", is_flag=True, help="Read every Bronze file: compare its hash, and count the keys for Silver.")
@options.json_option
def status(verify: bool, as_json: bool) -> int:
    """Show the row counts of every partition and model; exit with 7 if they do not add up.

    More than 60 partitions are shown as ranges of days; with --json, each day is shown.
    """
    from scripts.cli.printing import show_status
    from scripts.contracts import catalog
    from scripts.monitoring import overdue
    from scripts.monitoring.status import read_status
    from scripts.planning.reconcile import examine

    store = options.start_run().store
    state, found = read_status(store, content=verify), examine(store)
    late = overdue.problems_since_first_load(catalog.read_all(), found)
    return show_status(state, late, as_json=as_json)


@click.command()
@options.json_option
def health(as_json: bool) -> int:
    """Show how fresh the data is and which problems it has; exit with 7 if there is a problem."""
    from scripts.cli.printing import show_health
    from scripts.monitoring.health import health as examine

    return show_health(examine(options.start_run().store), as_json=as_json)


@click.command()
def report() -> int:
    """Write the health page, and the same as health.json for programs."""
    write_health_pages(options.start_run())
    return 0


def write_health_pages(run: Run) -> None:
    """Write the health page and `health.json`, and print their paths."""
    from scripts.monitoring.report import write_pages

    for path in write_pages(run.store):
        click.echo(str(path))
