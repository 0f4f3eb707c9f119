"""Output: tables for people and JSON for programs on stdout, and progress on stderr if it is a terminal."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sys
from typing import TYPE_CHECKING, Any

from scripts.security.outside_text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_WIDEST = 200
_MOST_ROWS = 60
"""With more rows than this, rows about partitions become ranges of days."""
_DAY = dt.timedelta(days=1)


def print_json(value: object) -> None:
    """Write a value as one JSON document."""
    sys.stdout.write(json.dumps(value, indent=2, default=_plain) + "\n")


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write rows as a table; numbers are right-aligned, and None is a dash."""
    import rich.box
    import rich.console
    import rich.table
    import rich.text

    numeric = [
        any(isinstance(row[at], int) for row in rows) and all(isinstance(row[at], (int, type(None))) for row in rows)
        for at in range(len(header))
    ]
    table = rich.table.Table(title=title, box=rich.box.SIMPLE, title_justify="left", pad_edge=False)
    for at, (name, right) in enumerate(zip(header, numeric, strict=True)):
        # a narrow terminal folds text, but a folded number or day cannot be read
        whole = right or any(isinstance(row[at], dt.date) for row in rows)
        width = max((len(str(row[at])) for row in rows), default=0) if whole else None
        table.add_column(
            name,
            justify="right" if right else "left",
            no_wrap=whole or not sys.stdout.isatty(),
            min_width=width,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(rich.text.Text("-" if value is None else one_line(str(value))) for value in row))
    console = rich.console.Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDEST)
    with console.capture() as capture:
        console.print(table)
    sys.stdout.write("\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n")


def print_partitions(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write rows about partitions, which begin with source, resource and day.

    Of many rows, those that follow one another and are alike become one, with the first and the last day, and the sum
    of each number.
    """
    if len(rows) > _MOST_ROWS:
        header = ["days" if name == "day" else name for name in header]
        rows = _ranges(sorted(rows, key=lambda row: (row[0], row[1], row[2])))
    print_table(title, header, rows)


def _ranges(rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[object]]:
    groups: list[list[Sequence[Any]]] = []
    for row in rows:
        if groups and _kind(groups[-1][-1]) == _kind(row) and row[2] - groups[-1][-1][2] == _DAY:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [_range(group) for group in groups]


def _kind(row: Sequence[Any]) -> Sequence[object]:
    """Return what rows have to have in common; texts may name the day of their row."""
    day = str(row[2])
    values = [value.replace(day, "") if isinstance(value, str) else value is None for value in row[3:]]
    return [row[0], row[1], *values]


def _range(group: Sequence[Sequence[Any]]) -> Sequence[object]:
    first, last = group[0], group[-1]
    if first is last:
        return first
    values: list[object] = [first[0], first[1], f"{first[2]} to {last[2]}"]
    for at, value in enumerate(first[3:], 3):
        if isinstance(value, str):
            values.append(_text_of_range(value, first[2], last[2]))
        else:
            values.append(None if value is None else sum(row[at] for row in group))
    return values


def _text_of_range(text: str, first: dt.date, last: dt.date) -> str:
    """Return the text of the first day for the range: a command gets its days, and any other text says whose it is."""
    command = f"--start-date {first} --end-date {first}"
    if command in text:
        return text.replace(command, f"--start-date {first} --end-date {last}")
    return f"the first: {text}" if str(first) in text else text


@contextlib.contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar during the `with` block if stderr is a terminal; yield a function to call after each step."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    import rich.console
    import rich.progress

    console = rich.console.Console(stderr=True)
    with rich.progress.Progress(console=console, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)


def _plain(value: object) -> object:
    if isinstance(value, (dt.date, dt.datetime)):
        return value.isoformat()
    if isinstance(value, tuple):
        return list(value)
    return str(value)
