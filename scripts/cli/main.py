"""The command line: `pipeline`. Each command calls one function of the core; data goes to stdout, logs to stderr.

A command imports the modules of the core when it runs, so that `pipeline --help` starts in a fraction of a second.
"""

from __future__ import annotations

import os
import sys

import click

from scripts.cli import bronze, builds, explaining, installation, loads, planning, quarantined, sources, watching

_EXIT_CODES = """\b
Exit codes:
   0  success
   1  a bug, or `doctor` found a problem
   2  usage: an option, date, source or resource that does not exist
   3  settings: an environment variable has an invalid value
   4  contract: a file of scripts/sources/ is wrong
   5  source unavailable: try again later
   6  the source refused the request, or its answer has another shape than the contract says
   7  data: the data breaks a rule of severity `fail`, or row counts do not add up
   8  Bronze: a file is truncated, changed or foreign
   9  warehouse: a model or test failed; the published version has not changed
  10  another process held the lock for too long
  11  storage: a folder cannot be written
  12  storage: the disk is full
  13  memory: the process needs more memory than its limit
  14  killed: another program, or the kernel, killed a process of the work; retrying can succeed
  15  the bucket of Bronze gives no usable answer: try again later
 130  interrupted by Ctrl-C: loaded days stay loaded
 141  the reader of stdout has ended, as in `pipeline status | head -1`

`pipeline dbt` exits with dbt's own code.
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=_EXIT_CODES)
@click.version_option(package_name="data-pipeline")
def cli() -> None:
    """From REST APIs to a tested DuckDB warehouse: ingest, validate, build, publish."""


for _command in (
    loads.ingest,
    loads.validate,
    builds.build,
    loads.run,
    loads.backfill,
    planning.due,
    planning.reconcile,
    watching.status,
    explaining.explain,
    quarantined.quarantine,
    bronze.bronze,
    builds.rollback,
    builds.fetch,
    sources.sources,
    installation.init,
    watching.health,
    watching.report,
    builds.docs,
    installation.doctor,
    installation.demo,
    builds.dbt,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line and exit with its code."""
    asks_for_help = len(sys.argv) == 1 or {"-h", "--help", "--version"} & set(sys.argv[1:])
    if asks_for_help or "_PIPELINE_COMPLETE" in os.environ:
        cli()
    from scripts.utils.exit_codes import run_to_exit_code

    sys.exit(run_to_exit_code(_invoke))


def _invoke() -> int:
    # `cli.main` is not used: it exits with 1 when the reader of stdout has closed the pipe
    try:
        with cli.make_context("pipeline", sys.argv[1:]) as context:
            result = cli.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    main()
