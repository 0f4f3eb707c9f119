"""Commands about Bronze as a whole: copy, prune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from scripts.bronze.store import Store


@click.group()
def bronze() -> None:
    """Bronze as a whole: copy it into a bucket and back, remove debris."""


@bronze.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def copy(source: str, target: str) -> int:
    """Copy Bronze from a folder into a bucket such as s3://bucket/prefix, or back; every file is verified.

    A partition that is there already is kept, so a copy that was stopped can be run again. Stop loads during the copy,
    then set BRONZE_DIR to the copy.
    """
    from scripts.bronze.copying import copy_bronze
    from scripts.cli.tables import progress
    from scripts.config import settings
    from scripts.errors import UsageError

    known, wanted = _store(source), _store(target)
    partitions = sum(1 for _ in known.entries())
    if not partitions:
        raise UsageError("no partition is loaded there", where=known.location, hint="correct FROM")
    with progress("copy", partitions) as advance:
        done = copy_bronze(known, wanted, timeout=settings().lock_timeout, on_done=advance)
    click.echo(f"{done.partitions} partitions copied, {done.same} were there already")
    return 0


@bronze.command()
@click.option("--dry-run", is_flag=True, help="Only print what would be removed.")
def prune(dry_run: bool) -> int:
    """Remove the objects of a bucket that no record names; a folder has none.

    Those of killed loads go after a day, those of replaced ones after BRONZE_KEEP_DAYS.
    """
    from scripts.admin.prune import prune_bronze
    from scripts.cli import options

    names = prune_bronze(options.start_run(), dry_run=dry_run)
    for name in names:
        click.echo(name)
    click.echo(f"{len(names)} objects {'would be ' if dry_run else ''}removed")
    return 0


def _store(place: str) -> Store:
    from scripts.bronze.stores import open_store
    from scripts.config import bronze_place

    return open_store(bronze_place(place if "://" in place else str(Path(place).absolute())))
