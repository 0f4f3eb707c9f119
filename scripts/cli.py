"""The command line: `pipeline`. Each command calls one function of the core; data on stdout, logs on stderr.

Modules of the core are imported where they are used: `pipeline --help` starts in a fraction of a second.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from scripts import upkeep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.elt import Outcome, Step
    from scripts.ledger import Partition
    from scripts.runs import Run
    from scripts.upkeep import Command

_DEFAULT_SOURCE = "jsonplaceholder"
_EXIT_CODES = """\b
Exit codes:
   0  all is well
   1  a bug, or `doctor` found a problem
   2  usage: an option, date, source or resource that does not exist
   3  settings: an environment variable is refused
   4  contract: a file of scripts/sources/ is wrong
   5  source unavailable: try again later
   6  source refused the request, or answered in another shape
   7  data: a rule of severity `fail`, or rows that do not add up
   8  Bronze: a torn, changed or foreign file
   9  warehouse: a model or test failed; what is published has not changed
  10  locked by another process for too long
  11  storage: a folder cannot be written
  12  storage: the disk is full
"""


def _days(command: Command) -> Command:
    for option in (
        click.option("--end-date", required=True, metavar="YYYY-MM-DD", help="Last day (UTC), included."),
        click.option("--start-date", required=True, metavar="YYYY-MM-DD", help="First day (UTC)."),
    ):
        command = option(command)
    return command


def _what(command: Command) -> Command:
    for option in (
        click.option("--resource", "resources", multiple=True, help="Resource, may be repeated.  [default: all]"),
        click.option(
            "--source",
            "sources",
            multiple=True,
            default=(_DEFAULT_SOURCE,),
            show_default=True,
            help="Source of the catalogue, may be repeated.",
        ),
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=_EXIT_CODES)
@click.version_option(package_name="data-pipeline")
def cli() -> None:
    """From REST APIs to a tested DuckDB warehouse: ingest, validate, build, publish."""


@cli.command()
@_days
@_what
@upkeep.json_option
def ingest(start_date: str, end_date: str, sources: Sequence[str], resources: Sequence[str], as_json: bool) -> int:
    """Load days of an API into Bronze. Loading a day again replaces it."""
    return _load(start_date, end_date, sources, resources, ("ingest",), as_json=as_json)


@cli.command()
@_days
@_what
@upkeep.json_option
def validate(start_date: str, end_date: str, sources: Sequence[str], resources: Sequence[str], as_json: bool) -> int:
    """Check loaded days against the rules of their contract."""
    return _load(start_date, end_date, sources, resources, ("validate",), as_json=as_json)


@cli.command()
@click.option("--full-refresh", is_flag=True, help="Make every model from scratch, from all days in Bronze.")
@click.option("--full-tests", is_flag=True, help="Test all rows, not only those that the build changes.")
@click.option("--retry", is_flag=True, help="Go on from the models and tests that failed, where that is possible.")
@upkeep.json_option
def build(full_refresh: bool, full_tests: bool, retry: bool, as_json: bool) -> int:
    """Build Silver and Gold from the days that changed, test them, and publish."""
    from scripts.build import build as build_warehouse
    from scripts.report import refresh
    from scripts.views import show_build

    started = upkeep.start_run()
    done = build_warehouse(started, full_refresh=full_refresh, full_tests=full_tests, retry=retry)
    refresh(started.store)
    show_build(done, as_json=as_json)
    return 0


@cli.command()
@_days
@_what
@click.option("--full-refresh", is_flag=True, help="Make every model from scratch, from all days in Bronze.")
@upkeep.json_option
def run(
    start_date: str, end_date: str, sources: Sequence[str], resources: Sequence[str], full_refresh: bool, as_json: bool
) -> int:
    """Ingest and validate a range of days, then build; prints what became of every row."""
    wanted = _wanted(start_date, end_date, sources, resources)
    return _run(upkeep.start_run(), wanted, full_refresh=full_refresh, as_json=as_json)


@cli.command()
@_days
@_what
@click.option("--dry-run", is_flag=True, help="Print the plan and do nothing.")
@click.option("--reprocess", is_flag=True, help="Load days again that are loaded.")
@upkeep.json_option
def backfill(
    start_date: str,
    end_date: str,
    sources: Sequence[str],
    resources: Sequence[str],
    dry_run: bool,
    reprocess: bool,
    as_json: bool,
) -> int:
    """Load the days of a range that are missing or have failed, then build once."""
    from scripts.elt import plan
    from scripts.views import show_plan

    started = upkeep.start_run()
    planned = plan(started.store, _wanted(start_date, end_date, sources, resources))
    due = [item.partition for item in planned if reprocess or item.state != "loaded"]
    if dry_run or not as_json:
        show_plan(planned, due, as_json=as_json)
    if dry_run or (not due and not as_json):
        return 0
    return _run(started, due, full_refresh=False, as_json=as_json)


@cli.command()
@click.option("--verify", is_flag=True, help="Read every Bronze file and compare its hash.")
@upkeep.json_option
def status(verify: bool, as_json: bool) -> int:
    """Show the rows of every partition and model; exits non-zero where they do not add up."""
    from scripts.status import read_status
    from scripts.views import show_status

    return show_status(read_status(upkeep.start_run().store, content=verify), as_json=as_json)


for _command in upkeep.COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """Run the command line and exit with its code."""
    if len(sys.argv) == 1 or {"-h", "--help", "--version"} & set(sys.argv[1:]):
        cli()
    from scripts.process import run_to_exit_code

    sys.exit(run_to_exit_code(_invoke))


def _invoke() -> int:
    try:
        result = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return result if isinstance(result, int) else 0


def _wanted(start: str, end: str, source_names: Sequence[str], resource_names: Sequence[str]) -> Sequence[Partition]:
    from scripts.days import day_range
    from scripts.elt import partitions

    return partitions(day_range(start, end), source_names, resource_names or None)


def _load(
    start: str,
    end: str,
    source_names: Sequence[str],
    resource_names: Sequence[str],
    steps: Sequence[Step],
    *,
    as_json: bool,
) -> int:
    from scripts.views import exit_code, show_outcomes

    outcomes = _do_load(upkeep.start_run(), _wanted(start, end, source_names, resource_names), steps)
    show_outcomes(outcomes, as_json=as_json)
    return exit_code(outcomes)


def _do_load(started: Run, wanted: Sequence[Partition], steps: Sequence[Step]) -> Sequence[Outcome]:
    from scripts.elt import load
    from scripts.output import progress

    with progress(" and ".join(steps), len(wanted)) as advance:
        return load(started, wanted, steps=steps, on_done=lambda _: advance())


def _run(started: Run, wanted: Sequence[Partition], *, full_refresh: bool, as_json: bool) -> int:
    from scripts.build import build as build_warehouse
    from scripts.report import refresh
    from scripts.views import exit_code, show_outcomes, show_run

    outcomes = _do_load(started, wanted, ("ingest", "validate"))
    if outcomes and all(outcome.error for outcome in outcomes):
        show_outcomes(outcomes, as_json=as_json)
        return exit_code(outcomes)
    done = build_warehouse(started, full_refresh=full_refresh)
    refresh(started.store)
    show_run(started.store, outcomes, done, as_json=as_json)
    return exit_code(outcomes)


if __name__ == "__main__":
    main()
