"""The command that explains a row or a column of the published version."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from scripts.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command()
@click.argument("name", required=False)
@click.argument("key", nargs=-1)
@click.option("--where", metavar="CONDITION", help="A condition in SQL, instead of a key: `user_id = '7'`.")
@click.option("--column", metavar="TABLE.COLUMN", help="Explain what a column is computed from, down to the contract.")
@click.option(
    "--rows", type=click.IntRange(1, 50), default=3, show_default=True, help="Rows of each table that are shown."
)
@options.json_option
def explain(
    name: str | None, key: Sequence[str], where: str | None, column: str | None, rows: int, as_json: bool
) -> None:
    """Explain where a row comes from, or why it is not there: Gold, Silver, Bronze, load, quarantine, tests.

    NAME is a table of Silver or Gold, or a resource (`source.resource`). KEY is the value of its key; a key of several
    columns takes several values. Put `--` before a value that begins with a hyphen.
    """
    from scripts.errors import UsageError
    from scripts.explain.explanation import plain

    if column is not None:
        from scripts.explain.columns import explain_column
        from scripts.explain.page import page_of_column

        if name is not None or where is not None:
            raise UsageError("--column takes neither a row nor --where")
        found = explain_column(column)
        page = page_of_column(found)
        document = plain(found)
    else:
        from scripts.explain.explain import explain as explain_row
        from scripts.explain.page import page_of

        if name is None:
            raise UsageError("needs a table and a key", expected="`pipeline explain fct_events 42`")
        answer = explain_row(name, key, where=where, limit=rows)
        page = page_of(answer)
        document = plain(answer)
    if as_json:
        from scripts.cli.tables import print_json

        print_json(document)
    else:
        sys.stdout.write(page)
