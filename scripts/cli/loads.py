"""Commands that load days: ingest, validate, run, backfill."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import click

from scripts.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.bronze.ledger import Partition
    from scripts.bronze.run import Run
    from scripts.loading.partitions import Outcome, Step


@click.command()
@options.days_options
@options.sources_options
@options.json_option
def ingest(start_date: str, end_date: str, sources: Sequence[str], resources: Sequence[str], as_json: bool) -> int:
    """Load days from an API into Bronze. Loading a day again replaces it."""
    return _load(start_date, end_date, sources, resources, ("ingest",), as_json=as_json)


@click.command()
@options.days_options
@options.sources_options
@options.json_option
def validate(start_date: str, end_date: str, sources: Sequence[str], resources: Sequence[str], as_json: bool) -> int:
    """Check loaded days against the rules of their contract."""
    return _load(start_date, end_date, sources, resources, ("validate",), as_json=as_json)


@click.command()
@options.days_options
@options.sources_options
@click.option("--full-refresh", is_flag=True, help="Rebuild every table from all days in Bronze.")
@options.json_option
def run(
    start_date: str, end_date: str, sources: Sequence[str], resources: Sequence[str], full_refresh: bool, as_json: bool
) -> int:
    """Ingest and validate a range of days, then build, and print the row counts of each partition and model."""
    wanted = options.requested_partitions(start_date, end_date, sources, resources)
    return _run(options.start_run(), wanted, command="run", full_refresh=full_refresh, again=True, as_json=as_json)


@click.command()
@options.days_options
@options.sources_options
@click.option("--dry-run", is_flag=True, help="Print the plan and do nothing.")
@click.option("--reprocess", is_flag=True, help="Also load days again that are already loaded.")
@click.option("--outdated", is_flag=True, help="Load only the days that were loaded with another contract.")
@options.json_option
def backfill(
    start_date: str,
    end_date: str,
    sources: Sequence[str],
    resources: Sequence[str],
    dry_run: bool,
    reprocess: bool,
    outdated: bool,
    as_json: bool,
) -> int:
    """Load the days of a range that are missing, failed, or loaded too early or with another contract; build once."""
    from scripts.cli.printing import show_plan
    from scripts.planning.reconcile import plan_request

    started = options.start_run()
    planned = plan_request(started.store, options.requested_partitions(start_date, end_date, sources, resources))
    wanted = [
        item.partition
        for item in planned
        if (item.state == "outdated" if outdated else reprocess or item.state != "loaded")
    ]
    if dry_run or not as_json:
        show_plan(planned, wanted, as_json=as_json)
    if dry_run or (not wanted and not as_json):
        return 0
    return _run(started, wanted, command="backfill", full_refresh=False, again=reprocess, as_json=as_json)


def _load(
    start: str,
    end: str,
    source_names: Sequence[str],
    resource_names: Sequence[str],
    steps: Sequence[Step],
    *,
    as_json: bool,
) -> int:
    from scripts.cli.printing import exit_code, show_outcomes

    started = options.start_run()
    outcomes = _do_load(
        started, options.requested_partitions(start, end, source_names, resource_names), steps, again=True
    )
    options.tell_failures(started, steps[0], outcomes)
    show_outcomes(outcomes, as_json=as_json)
    return exit_code(outcomes)


def _do_load(started: Run, wanted: Sequence[Partition], steps: Sequence[Step], *, again: bool) -> Sequence[Outcome]:
    from scripts.cli.tables import progress
    from scripts.loading.partitions import load
    from scripts.planning.reconcile import done_since

    is_done = done_since(dt.datetime.now(dt.UTC), again=again)
    with progress(" and ".join(steps), len(wanted)) as advance:
        return load(started, wanted, steps=steps, is_done=is_done, on_done=lambda _: advance())


def _run(
    started: Run, wanted: Sequence[Partition], *, command: str, full_refresh: bool, again: bool, as_json: bool
) -> int:
    from scripts.cli.printing import exit_code, show_outcomes, show_run
    from scripts.monitoring.quarantine_digest import tell_quarantine
    from scripts.monitoring.report import refresh
    from scripts.planning.reconcile import noting_build
    from scripts.portal.pages import refresh_portal
    from scripts.warehouse.build import build_warehouse

    outcomes = _do_load(started, wanted, ("ingest", "validate"), again=again)
    options.tell_failures(started, command, outcomes)
    if outcomes and all(outcome.error for outcome in outcomes):
        show_outcomes(outcomes, as_json=as_json)
        return exit_code(outcomes)
    try:
        with options.telling_failure(started, command), noting_build(started):
            done = build_warehouse(started, full_refresh=full_refresh)
    finally:
        # the page must also show a failed build
        refresh(started.store)
    if done.version:
        refresh_portal()
    tell_quarantine(started.store)
    show_run(started.store, outcomes, done, as_json=as_json)
    return exit_code(outcomes)
