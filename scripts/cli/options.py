"""Options that several commands share, and the creation of the command line's run."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

import click

from scripts.errors import PipelineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scripts.bronze.ledger import LedgerEntry, Partition
    from scripts.bronze.run import Run
    from scripts.loading.partitions import Outcome

Command = TypeVar("Command", bound="Callable[..., Any]")
_DEFAULT_SOURCE = "jsonplaceholder"


def json_option(command: Command) -> Command:
    """Add the option `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")(command)


def start_run(triggered_by: str = "cli") -> Run:
    """Return a new run of the command line."""
    from scripts.bronze.run import Run

    return Run.create(triggered_by=triggered_by)


@contextlib.contextmanager
def telling_failure(run: Run, command: str) -> Iterator[None]:
    """Send an alert if the block fails, unless the request was wrong: a scheduler such as cron may run the command."""
    try:
        yield
    except PipelineError as error:
        if not isinstance(error, UsageError):
            _tell(error, run, command)
        raise


def tell_failures(run: Run, command: str, outcomes: Sequence[Outcome]) -> None:
    """Send one alert about the partitions of a command that failed; none if all succeeded."""
    from scripts.loading.partitions import failed

    if errors := {outcome.partition: outcome.error for outcome in outcomes if outcome.error}:
        error = failed(errors, len(outcomes))
        if not isinstance(error, UsageError):
            _tell(error, run, command)


def _tell(error: PipelineError, run: Run, command: str) -> None:
    from scripts.monitoring import alerts
    from scripts.monitoring.results import results_url

    # without a sink, the error itself is all that there is to say
    if alerts.has_sink():
        links = {"results": results_url(error)} if alerts.kind_of(error) == "dbt failed" else {}
        alerts.notify(alerts.about_failure(error, f"`pipeline {command}`", run_id=run.run_id, links=links))


def days_options(command: Command) -> Command:
    """Add the required options `--start-date` and `--end-date`."""
    for option in (
        click.option("--end-date", required=True, metavar="YYYY-MM-DD", help="Last day (UTC), included."),
        click.option("--start-date", required=True, metavar="YYYY-MM-DD", help="First day (UTC)."),
    ):
        command = option(command)
    return command


def sources_options(command: Command) -> Command:
    """Add the options `--source` and `--resource`, which may be repeated."""
    for option in (
        click.option("--resource", "resources", multiple=True, help="Resource, may be repeated.  [default: all]"),
        click.option(
            "--source",
            "sources",
            multiple=True,
            default=(_DEFAULT_SOURCE,),
            show_default=True,
            help="Source of the catalog, may be repeated.",
        ),
    ):
        command = option(command)
    return command


def filter_options(command: Command) -> Command:
    """Add options that select loaded partitions; without these options, all are selected."""
    for option in (
        click.option("--end-date", metavar="YYYY-MM-DD", help="Last day (UTC), included.  [default: the last loaded]"),
        click.option("--start-date", metavar="YYYY-MM-DD", help="First day (UTC).  [default: the first loaded]"),
        click.option("--resource", "resources", multiple=True, help="Resource, may be repeated.  [default: all]"),
        click.option("--source", "sources", multiple=True, help="Source, may be repeated.  [default: all]"),
    ):
        command = option(command)
    return command


def requested_partitions(
    start: str, end: str, source_names: Sequence[str], resource_names: Sequence[str]
) -> Sequence[Partition]:
    """Return the partitions of a range of days.

    Raises:
        UsageError: A day, source or resource does not exist.
    """
    from scripts.loading.partitions import partitions
    from scripts.utils.days import day_range

    return partitions(day_range(start, end), source_names, resource_names or None)


def loaded_entries(
    started: Run, source_names: Sequence[str], resource_names: Sequence[str], start: str | None, end: str | None
) -> Sequence[LedgerEntry]:
    """Return the ledger records of the partitions that the filter options select."""
    from scripts.contracts import catalog
    from scripts.utils.days import parse_day

    for name in source_names:
        catalog.pick(name)
    first, last = start and parse_day(start), end and parse_day(end)
    return [
        entry
        for entry in started.store.entries()
        if (not source_names or entry.source in source_names)
        and (not resource_names or entry.resource in resource_names)
        and (not first or entry.day >= first)
        and (not last or entry.day <= last)
    ]
