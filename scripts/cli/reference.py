"""The reference page of the command line, `docs/cli.md`: generated from the commands, so it is always correct."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import click

from scripts.config import PROJECT_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = PROJECT_DIR / "docs" / "cli.md"
_HEAD = """# Command line reference

`pipeline sources generate` makes this page from `scripts/cli/`: change the commands instead.

Every command prints data to stdout and logs to stderr. `pipeline COMMAND --help` prints the same text as this page.
"""


def cli_page(program: click.Group) -> str:
    """Return the page of a program: each command with its options, and the exit codes."""
    sections = "".join(_section(command, context) for command, context in _commands(program, click.Context(program)))
    codes = inspect.cleandoc((program.epilog or "").replace("\b", ""))
    return f"{_HEAD}{sections}\n## Exit codes\n\n```text\n{codes}\n```\n"


def _commands(group: click.Group, parent: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    parent.info_name = parent.info_name or "pipeline"
    for name in group.list_commands(parent):
        command = group.commands[name]
        context = click.Context(command, parent=parent, info_name=name)
        if isinstance(command, click.Group):
            yield from _commands(command, context)
        else:
            yield command, context


def _section(command: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    about = " ".join(inspect.cleandoc(command.help or "").split())
    rows = [record for option in command.params if (record := option.get_help_record(context))]
    table = "".join(f"| `{names}` | {' '.join(text.split())} |\n" for names, text in rows)
    head = "\n| option | meaning |\n|---|---|\n" if table else ""
    return f"\n## {context.command_path}\n\n{about}\n\n```text\n{usage}\n```\n{head}{table}"
