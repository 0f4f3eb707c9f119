"""The command line: `pipeline`. Each command calls one function of the core; data on stdout, logs on stderr.

Modules of the core are imported where they are used: `pipeline --help` starts in a fraction of a second.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scripts.elt import Outcome, Step
    from scripts.ledger import Partition
    from scripts.runs import Run

_Command = TypeVar("_Command", bound="Callable[..., Any]")
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


def _days(command: _Command) -> _Command:
    for option in (
        click.option("--end-date", required=True, metavar="YYYY-MM-DD", help="Last day (UTC), included."),
        click.option("--start-date", required=True, metavar="YYYY-MM-DD", help="First day (UTC)."),
    ):
        command = option(command)
    return command


def _what(command: _Command) -> _Command:
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


def _json(command: _Command) -> _Command:
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=_EXIT_CODES)
@click.version_option(package_name="data-pipeline")
def cli() -> None:
    """From REST APIs to a tested DuckDB warehouse: ingest, validate, build, publish."""


@cli.command()
@_days
@_what
@_json
def ingest(start_date: str, end_date: str, sources: Sequence[str], resources: Sequence[str], as_json: bool) -> int:
    """Load days of an API into Bronze. Loading a day again replaces it."""
    return _load(start_date, end_date, sources, resources, ("ingest",), as_json=as_json)


@cli.command()
@_days
@_what
@_json
def validate(start_date: str, end_date: str, sources: Sequence[str], resources: Sequence[str], as_json: bool) -> int:
    """Check loaded days against the rules of their contract."""
    return _load(start_date, end_date, sources, resources, ("validate",), as_json=as_json)


@cli.command()
@click.option("--full-refresh", is_flag=True, help="Make every model from scratch, from all days in Bronze.")
@click.option("--full-tests", is_flag=True, help="Test all rows, not only those that the build changes.")
@_json
def build(full_refresh: bool, full_tests: bool, as_json: bool) -> int:
    """Build Silver and Gold from the days that changed, test them, and publish."""
    from scripts.build import build as build_warehouse
    from scripts.views import show_build

    done = build_warehouse(_start(), full_refresh=full_refresh, full_tests=full_tests)
    show_build(done, as_json=as_json)
    return 0


@cli.command()
@_days
@_what
@click.option("--full-refresh", is_flag=True, help="Make every model from scratch, from all days in Bronze.")
@_json
def run(
    start_date: str, end_date: str, sources: Sequence[str], resources: Sequence[str], full_refresh: bool, as_json: bool
) -> int:
    """Ingest and validate a range of days, then build; prints what became of every row."""
    wanted = _wanted(start_date, end_date, sources, resources)
    return _run(_start(), wanted, full_refresh=full_refresh, as_json=as_json)


@cli.command()
@_days
@_what
@click.option("--dry-run", is_flag=True, help="Print the plan and do nothing.")
@click.option("--reprocess", is_flag=True, help="Load days again that are loaded.")
@_json
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

    started = _start()
    planned = plan(started.store, _wanted(start_date, end_date, sources, resources))
    due = [item.partition for item in planned if reprocess or item.state != "loaded"]
    if dry_run or not as_json:
        show_plan(planned, due, as_json=as_json)
    if dry_run or (not due and not as_json):
        return 0
    return _run(started, due, full_refresh=False, as_json=as_json)


@cli.command()
@click.option("--verify", is_flag=True, help="Read every Bronze file and compare its hash.")
@_json
def status(verify: bool, as_json: bool) -> int:
    """Show the rows of every partition and model; exits non-zero where they do not add up."""
    from scripts.status import read_status
    from scripts.views import show_status

    return show_status(read_status(_start().store, content=verify), as_json=as_json)


@cli.group()
def quarantine() -> None:
    """Rows that were received and not admitted."""


def _some_days(command: _Command) -> _Command:
    for option in (
        click.option("--end-date", metavar="YYYY-MM-DD", help="Last day (UTC), included.  [default: the last loaded]"),
        click.option("--start-date", metavar="YYYY-MM-DD", help="First day (UTC).  [default: the first loaded]"),
        click.option("--resource", "resources", multiple=True, help="Resource, may be repeated.  [default: all]"),
        click.option("--source", "sources", multiple=True, help="Source, may be repeated.  [default: all]"),
    ):
        command = option(command)
    return command


@quarantine.command("list")
@_some_days
@_json
def quarantine_list(
    sources: Sequence[str], resources: Sequence[str], start_date: str | None, end_date: str | None, as_json: bool
) -> int:
    """Count quarantined rows by partition and rule."""
    from scripts.views import show_quarantine

    started = _start()
    show_quarantine(started.store, _loaded(started, sources, resources, start_date, end_date), as_json=as_json)
    return 0


@quarantine.command("show")
@_some_days
def quarantine_show(
    sources: Sequence[str], resources: Sequence[str], start_date: str | None, end_date: str | None
) -> int:
    """Print quarantined rows as JSON Lines: raw JSON, rule, reason, partition, run."""
    from scripts.bronze import quarantined_rows
    from scripts.quarantine import encode

    started = _start()
    for partition in _loaded(started, sources, resources, start_date, end_date):
        if (entry := started.store.entry(partition)) is not None:
            sys.stdout.write(encode(quarantined_rows(started.store, entry)).decode())
    return 0


@quarantine.command("replay")
@_some_days
@_json
def quarantine_replay(
    sources: Sequence[str], resources: Sequence[str], start_date: str | None, end_date: str | None, as_json: bool
) -> int:
    """Admit the quarantined rows that pass now; `pipeline build` then takes them in."""
    from scripts import catalogue
    from scripts.replay import replay_partition
    from scripts.views import show_replay

    started = _start()
    partitions = [
        partition
        for partition in _loaded(started, sources, resources, start_date, end_date)
        if started.store.quarantine(partition).exists()
    ]
    show_replay(
        [replay_partition(catalogue.pick(partition.source), partition, started) for partition in partitions],
        as_json=as_json,
    )
    return 0


@cli.command()
@click.option("--to", "version", metavar="VERSION", help="Version to publish.  [default: the one before]")
@click.option("--list", "listing", is_flag=True, help="List the kept versions and do nothing.")
def rollback(version: str | None, listing: bool) -> int:
    """Publish the version before the current one; the next build starts from it."""
    from scripts.build import roll_back, warehouse

    target = warehouse()
    if listing:
        for name in target.versions():
            click.echo(f"{name} published" if name == target.current() else name)
        return 0
    click.echo(roll_back(_start(), version))
    return 0


@cli.group()
def sources() -> None:
    """The catalogue of sources in scripts/sources/."""


@sources.command("check")
def sources_check() -> int:
    """Check every contract, and that what is generated from them is up to date."""
    from scripts import catalogue, generate
    from scripts.errors import ContractError

    loaded = catalogue.load()
    if stale := generate.stale_files():
        raise ContractError(
            f"out of date: {', '.join(str(path) for path in stale)}",
            where="generated files",
            hint="`pipeline sources generate`",
        )
    for source in loaded.values():
        click.echo(f"{source.source}: {', '.join(source.resources)}")
    return 0


@sources.command("generate")
def sources_generate() -> int:
    """Write the files that are made from the contracts: the sources of the dbt project."""
    from scripts import generate

    for path in generate.write_files():
        click.echo(str(path))
    return 0


@cli.command()
@_json
def doctor(as_json: bool) -> int:
    """Check this installation; each problem comes with its fix."""
    from scripts.doctor import examine
    from scripts.views import show_findings

    return show_findings(examine(), as_json=as_json)


@cli.command()
def demo() -> int:
    """Three days from the sample API to the warehouse in data/demo, with faults on the way."""
    from scripts.demo import run_demo

    return run_demo()


@cli.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def dbt(arguments: Sequence[str]) -> int:
    """Run any dbt command on a private copy of the published warehouse: `pipeline dbt show -s fct_events`."""
    from scripts.build import run_dbt_on_copy

    return run_dbt_on_copy(_start(), arguments)


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


def _start() -> Run:
    from scripts.runs import Run

    return Run.start(door="cli")


def _wanted(start: str, end: str, source_names: Sequence[str], resource_names: Sequence[str]) -> Sequence[Partition]:
    from scripts.days import day_range
    from scripts.elt import partitions

    return partitions(day_range(start, end), source_names, resource_names or None)


def _loaded(
    started: Run, source_names: Sequence[str], resource_names: Sequence[str], start: str | None, end: str | None
) -> Sequence[Partition]:
    from scripts import catalogue
    from scripts.days import parse_day

    for name in source_names:
        catalogue.pick(name)
    first, last = start and parse_day(start), end and parse_day(end)
    return [
        entry.partition
        for entry in started.store.entries()
        if (not source_names or entry.source in source_names)
        and (not resource_names or entry.resource in resource_names)
        and (not first or entry.day >= first)
        and (not last or entry.day <= last)
    ]


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

    outcomes = _do_load(_start(), _wanted(start, end, source_names, resource_names), steps)
    show_outcomes(outcomes, as_json=as_json)
    return exit_code(outcomes)


def _do_load(started: Run, wanted: Sequence[Partition], steps: Sequence[Step]) -> Sequence[Outcome]:
    from scripts.elt import load
    from scripts.output import progress

    with progress(" and ".join(steps), len(wanted)) as advance:
        return load(started, wanted, steps=steps, on_done=lambda _: advance())


def _run(started: Run, wanted: Sequence[Partition], *, full_refresh: bool, as_json: bool) -> int:
    from scripts.build import build as build_warehouse
    from scripts.views import exit_code, show_run

    outcomes = _do_load(started, wanted, ("ingest", "validate"))
    done = build_warehouse(started, full_refresh=full_refresh)
    show_run(started.store, outcomes, done, as_json=as_json)
    return exit_code(outcomes)


if __name__ == "__main__":
    main()
