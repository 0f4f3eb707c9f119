"""Commands about quarantined rows: list, show, replay."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

import click

from scripts.cli import options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scripts.bronze.ledger import LedgerEntry

Done = TypeVar("Done")


@click.group()
def quarantine() -> None:
    """Rows that were received and not admitted."""


@quarantine.command("list")
@options.filter_options
@options.json_option
def quarantine_list(
    sources: Sequence[str], resources: Sequence[str], start_date: str | None, end_date: str | None, as_json: bool
) -> int:
    """Count quarantined rows by partition and rule."""
    from scripts.cli.printing import show_quarantine

    started = options.start_run()
    entries = options.loaded_entries(started, sources, resources, start_date, end_date)
    found, code = _each(entries, lambda entry: (entry.partition, started.store.quarantined(entry)))
    show_quarantine(found, as_json=as_json)
    return code


@quarantine.command("show")
@options.filter_options
def quarantine_show(
    sources: Sequence[str], resources: Sequence[str], start_date: str | None, end_date: str | None
) -> int:
    """Print quarantined rows as JSON Lines: raw JSON, rule, reason, partition, run."""
    from scripts.bronze.quarantine import encode

    started = options.start_run()

    def show(entry: LedgerEntry) -> None:
        sys.stdout.write(encode(started.store.quarantined(entry)).decode())

    return _each(options.loaded_entries(started, sources, resources, start_date, end_date), show)[1]


@quarantine.command("replay")
@options.filter_options
@options.json_option
def quarantine_replay(
    sources: Sequence[str], resources: Sequence[str], start_date: str | None, end_date: str | None, as_json: bool
) -> int:
    """Admit the quarantined rows that pass now; the next `pipeline build` adds them to Silver and Gold."""
    from scripts.cli.printing import show_replay
    from scripts.contracts import catalog
    from scripts.loading.replay import Replayed, replay_partition

    started = options.start_run()
    started.store.recover()
    # a replay that was stopped before the validation leaves no rows in quarantine
    entries = [
        entry
        for entry in options.loaded_entries(started, sources, resources, start_date, end_date)
        if entry.status == "ingested" or entry.quarantined
    ]

    def replay(entry: LedgerEntry) -> Replayed:
        source = catalog.pick(entry.source)
        catalog.pick_resources(source, [entry.resource])
        return replay_partition(source, entry.partition, started)

    replayed, code = _each(entries, replay)
    show_replay(replayed, as_json=as_json)
    return code


def _each(entries: Sequence[LedgerEntry], work: Callable[[LedgerEntry], Done]) -> tuple[list[Done], int]:
    """Call `work` for each partition; print the error of a partition that fails, and continue with the others.

    Returns:
        The results of the partitions that succeeded, and the exit code of the first error, or 0.
    """
    from scripts.errors import PipelineError, StorageError, naming_partition
    from scripts.utils.exit_codes import fail

    done, codes = [], []
    for entry in entries:
        try:
            with naming_partition(entry.partition):
                done.append(work(entry))
        except StorageError:
            # it is the same for every partition: report it once
            raise
        except PipelineError as error:
            codes.append(fail(error))
    return done, next(iter(codes), 0)
