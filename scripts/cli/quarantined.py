"""Commands about quarantined rows: list, show, replay."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from scripts.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    show_quarantine(
        started.store, options.loaded_partitions(started, sources, resources, start_date, end_date), as_json=as_json
    )
    return 0


@quarantine.command("show")
@options.filter_options
def quarantine_show(
    sources: Sequence[str], resources: Sequence[str], start_date: str | None, end_date: str | None
) -> int:
    """Print quarantined rows as JSON Lines: raw JSON, rule, reason, partition, run."""
    from scripts.bronze.quarantine import encode
    from scripts.bronze.store import quarantined_rows

    started = options.start_run()
    for partition in options.loaded_partitions(started, sources, resources, start_date, end_date):
        if (entry := started.store.entry(partition)) is not None:
            sys.stdout.write(encode(quarantined_rows(started.store, entry)).decode())
    return 0


@quarantine.command("replay")
@options.filter_options
@options.json_option
def quarantine_replay(
    sources: Sequence[str], resources: Sequence[str], start_date: str | None, end_date: str | None, as_json: bool
) -> int:
    """Admit the quarantined rows that pass now; `pipeline build` then takes them in."""
    from scripts.cli.printing import show_replay
    from scripts.contracts import catalog
    from scripts.errors import PipelineError, StorageError, naming_partition
    from scripts.loading.replay import replay_partition
    from scripts.utils.exit_codes import fail

    started = options.start_run()
    partitions = [
        partition
        for partition in options.loaded_partitions(started, sources, resources, start_date, end_date)
        if started.store.quarantine_path(partition).exists()
    ]
    replayed, errors = [], []
    for partition in partitions:
        try:
            with naming_partition(partition):
                source = catalog.pick(partition.source)
                catalog.pick_resources(source, [partition.resource])
                replayed.append(replay_partition(source, partition, started))
        except StorageError:
            raise
        except PipelineError as error:
            errors.append(error)
    show_replay(replayed, as_json=as_json)
    codes = [fail(error) for error in errors]
    return codes[0] if codes else 0
