"""The command-line arguments of `ingest_api.py` and `validate_data.py` as scripts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bronze.run import Run
from scripts.contracts import catalog
from scripts.utils.days import day_range
from scripts.utils.exit_codes import run_to_exit_code

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from scripts.contracts.source import Source


def run_script(
    description: str,
    work: Callable[[Run, Source, str, dt.date], str],
    arguments: Sequence[str] | None,
) -> int:
    """Call `work` for each day and resource of the command line, and return the exit code."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--start-date", required=True, metavar="YYYY-MM-DD", help="first day, UTC")
    parser.add_argument("--end-date", required=True, metavar="YYYY-MM-DD", help="last day, included")
    parser.add_argument("--output-dir", type=Path, metavar="DIR", help="Bronze folder; BRONZE_DIR by default")
    parser.add_argument("--source", default=catalog.DEFAULT_SOURCE, help="source of the catalog (%(default)s)")
    parser.add_argument(
        "--resource", action="append", metavar="R", help="may be repeated; by default, the source's default resource"
    )
    options = parser.parse_args(arguments)

    def each_day() -> None:
        days = day_range(options.start_date, options.end_date)
        source = catalog.pick(options.source)
        names = catalog.pick_resources(source, options.resource or [source.default_resource])
        run = Run.create(triggered_by="script", bronze_dir=options.output_dir and options.output_dir.resolve())
        for day in days:
            for name in names:
                sys.stdout.write(work(run, source, name, day) + "\n")

    return run_to_exit_code(each_day)
