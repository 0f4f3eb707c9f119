"""An answer of `explain` as a page of text, at most 100 columns wide."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from scripts.security.outside_text import cut, one_line

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping, Sequence

    from scripts.explain.bronze_rows import Stretch
    from scripts.explain.explanation import (
        BronzeOrigin,
        ColumnExplanation,
        ColumnStep,
        Explanation,
        Row,
        Rows,
        TestOutcome,
    )
    from scripts.explain.loads import Load

WIDTH = 100
_INDENT = "  "
_SHOWN_STRETCHES = 6
_SHOWN_CHANGES = 4
_VALUE = 60
_COMMON = 16
_BRIEF = 40
_GOOD = {"pass", "success"}


def page_of(answer: Explanation) -> str:
    """Return an answer about a row as a page."""
    found, page = answer.found, _Page()
    lines = [answer.asked, f"version {answer.version}, built {_moment(answer.built_at)}"]
    if answer.description:
        lines += _wrapped(answer.description, "")
    lines.append("")
    if answer.absent:
        lines += [*_absent(answer), ""]
    for number, row in enumerate(found.rows):
        if found.count > 1 and not answer.absent:
            lines.append(f"Row {number + 1} of {found.count}")
        lines += [*page.row(row, ""), ""]
    if (more := found.count - len(found.rows)) > 0 and found.rows and not answer.absent:
        lines += [f"{more} more rows: `--rows` shows more", ""]
    lines += _tests(answer.tests)
    lines += [line for note in answer.notes for line in _wrapped(f"note: {note}", "")]
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def page_of_column(answer: ColumnExplanation) -> str:
    """Return an answer about a column as a page."""
    lines = list(_column(answer.column, ""))
    lines += ["", f"version {answer.version}, built {_moment(answer.built_at)}"]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _absent(answer: Explanation) -> Iterator[str]:
    yield "There is no such row. Why:"
    for number, finding in enumerate(answer.absent, start=1):
        yield from _wrapped(f"{number}. {finding.what}", _INDENT, rest=_INDENT + "   ")
        if finding.next:
            yield from _wrapped(f"next: {finding.next}", _INDENT + "   ")
    if answer.found.rows:
        yield ""
        yield "What there is instead:"


class _Page:
    """The part of a page about rows; each load is described once."""

    def __init__(self) -> None:
        self._described: set[tuple[str, dt.date]] = set()

    def row(self, row: Row, indent: str) -> Iterator[str]:
        """Yield the lines of a row and of the rows that it was computed from."""
        yield from _values(row.values, indent + _INDENT)
        for origin in row.bronze:
            yield from self._bronze(origin, indent)
        for rows in row.origins:
            yield from self._rows(rows, indent, is_brief=False)

    def _rows(self, rows: Rows, indent: str, *, is_brief: bool) -> Iterator[str]:
        inner = indent + _INDENT
        if rows.note:
            yield from _wrapped(f"{indent}from {rows.table}: {rows.note}", "", rest=inner)
            return
        keys = ", ".join(f"{name} = {_shown(value)}" for name, value in rows.condition.items())
        count = f"{rows.count} row" if rows.count == 1 else f"{rows.count} rows"
        how = f" ({rows.how})" if rows.how and not is_brief else ""
        yield from _wrapped(f"{indent}from {rows.table}: {count} with {keys}{how}", "", rest=inner)
        for number, row in enumerate(rows.rows, start=1):
            if rows.count == 1 and not is_brief:
                yield from self.row(row, inner)
            else:
                yield from self._brief_row(row, inner, f"{number} of {rows.count}: " if rows.count > 1 else "")
        if rows.rows and rows.count > len(rows.rows):
            yield f"{inner}{rows.count - len(rows.rows)} more: `--rows` shows more"

    def _brief_row(self, row: Row, indent: str, begin: str) -> Iterator[str]:
        """Yield the lines of one of several rows: as many values as a line holds, and its Bronze in another line."""
        line = indent + begin
        for name, value in row.values.items():
            text = f"{name} = {_shown(value, _BRIEF)}, "
            if len(line) + len(text) > WIDTH:
                line += "…"
                break
            line += text
        yield line.removesuffix(", ")
        inner = indent + _INDENT
        for origin in row.bronze:
            yield from self._brief_bronze(origin, inner)
        for rows in row.origins:
            yield from self._rows(rows, inner, is_brief=True)

    def _brief_bronze(self, origin: BronzeOrigin, indent: str) -> Iterator[str]:
        if origin.note or not origin.stretches:
            yield from self._bronze(origin, indent)
            return
        last = origin.stretches[-1]
        yield f"{indent}from {_bronze_name(origin)}: {last.last} position {last.position}"
        for load in origin.loads[-1:]:
            if not self._is_described(origin, load):
                yield from _load(load, indent + _INDENT)

    def _bronze(self, origin: BronzeOrigin, indent: str) -> Iterator[str]:
        inner = indent + _INDENT
        if origin.note:
            yield from _wrapped(f"{indent}from Bronze {origin.resource}: {origin.note}", "", rest=inner)
            return
        counted = f": {origin.days_with_key} of {origin.loaded_days} loaded days" if origin.days_read > 1 else ""
        yield f"{indent}from {_bronze_name(origin)}{counted}"
        shown = _shown_stretches(origin.stretches)
        for stretch in shown:
            if stretch is None:
                yield f"{inner}… {len(origin.stretches) - len(shown) + 1} changes between (`--json` has them)"
            else:
                yield from _stretch(stretch, inner)
        if not origin.stretches:
            yield f"{inner}no row: the day was loaded again without it, or its file is missing"
        for load in origin.loads[-1:]:
            if self._is_described(origin, load):
                yield f"{inner}load of {load.day}: see above"
            else:
                yield from _load(load, inner)
        for row in origin.quarantined[-_SHOWN_CHANGES:]:
            text = f"in quarantine: {row.day} position {row.position}, {row.reason}"
            yield from _wrapped(inner + text, "", rest=inner + _INDENT)

    def _is_described(self, origin: BronzeOrigin, load: Load) -> bool:
        """Return whether the page has described a load before, and note that it has now."""
        place = (origin.resource, load.day)
        is_known = place in self._described
        self._described.add(place)
        return is_known


def _bronze_name(origin: BronzeOrigin) -> str:
    key = ", ".join(f"{name} = {_shown(value)}" for name, value in origin.key.items())
    return f"Bronze {origin.resource}, {key}"


def _values(values: Mapping[str, object], indent: str) -> Iterator[str]:
    width = min(max((len(name) for name in values), default=0), 32)
    room = WIDTH - len(indent) - width - 2
    for name, value in values.items():
        yield f"{indent}{name:<{width}}  {_shown(value, min(room, 2 * _VALUE))}"


def _shown_stretches(found: Sequence[Stretch]) -> Sequence[Stretch | None]:
    if len(found) <= _SHOWN_STRETCHES:
        return found
    return [found[0], None, *found[-_SHOWN_STRETCHES + 2 :]]


def _stretch(stretch: Stretch, indent: str) -> Iterator[str]:
    days = str(stretch.first) if stretch.days == 1 else f"{stretch.first} to {stretch.last}"
    words = [f"position {stretch.position}"]
    if stretch.days > 1:
        words.append(f"the same on {stretch.days} days")
    if stretch.rows > 1:
        words.append(f"sent {stretch.rows} times: the last counts")
    if stretch.state != "published":
        words.append(stretch.state)
    if stretch.wins:
        words.append("this version counts")
    yield f"{indent}{days}  {', '.join(words)}"
    changes = list(stretch.changed.items())
    for name, (before, now) in changes[:_SHOWN_CHANGES]:
        yield f"{indent}{_INDENT}{name}: {_change(before, now)}"
    if len(changes) > _SHOWN_CHANGES:
        yield f"{indent}{_INDENT}{len(changes) - _SHOWN_CHANGES} more changed columns"


def _change(before: str | None, now: str | None) -> str:
    """Return two values, without a long beginning that they have in common."""
    texts = [None if text is None else one_line(text) for text in (before, now)]
    if before is not None and now is not None:
        common = next((at for at, (one, other) in enumerate(zip(before, now, strict=False)) if one != other), 0)
        if common > _COMMON:
            texts = ["…" + (text or "")[common - _COMMON // 2 :] for text in texts]
    return " → ".join(_shown(text, 36) for text in texts)


def _load(load: Load, indent: str) -> Iterator[str]:
    yield f"{indent}load of {load.day}: run {load.run_id} by {load.triggered_by}, {_moment(load.loaded_at)}"
    inner = indent + _INDENT
    page = f"page {load.page} of {load.pages}" if load.page else f"one of {load.pages} pages"
    yield from _wrapped(
        f"{inner}{load.address} (by the present contract), {page}, contract {load.contract_version}",
        "",
        rest=inner + _INDENT,
    )
    declared = f"declared {load.declared}, " if load.declared is not None else ""
    yield (
        f"{inner}{declared}fetched {load.fetched} = Bronze {load.bronze} + quarantined {load.quarantined};"
        f" {'validated ' + _moment(load.validated_at) if load.validated_at else 'not validated'}"
    )
    if load.rules:
        rules = ", ".join(f"{rule.rule} (broken by {rule.rows})" if rule.rows else rule.rule for rule in load.rules)
        yield from _wrapped(f"{inner}rules: {rules}", "", rest=inner + _INDENT)
    for note in load.drift:
        yield from _wrapped(f"{inner}drift: {note}", "", rest=inner + _INDENT)


def _tests(tests: Sequence[TestOutcome]) -> Iterator[str]:
    by_table: dict[str, list[TestOutcome]] = {}
    for test in tests:
        by_table.setdefault(test.table, []).append(test)
    if by_table:
        yield "Tests in this version"
    for table, some in by_table.items():
        passed = sum(test.status in _GOOD for test in some)
        last = max(test.ran_at for test in some)
        yield f"{_INDENT}{table}: {passed} of {len(some)} passed, the last at {_moment(last)}"
        for test in some:
            if test.status not in _GOOD:
                yield from _wrapped(f"{_INDENT * 2}{test.status}: {test.name}: {test.message}", "", rest=_INDENT * 3)


def _column(step: ColumnStep, indent: str) -> Iterator[str]:
    kind = f"  {step.type}" if step.type else ""
    how = f"{_HOW[step.how]} " if step.how in _HOW else ""
    name = f"{step.table}.{step.column}" if step.column else step.table
    yield f"{indent}{how}{name}{kind}"
    inner = indent + _INDENT
    if step.description:
        yield from _wrapped(inner + step.description, "", rest=inner)
    if step.field:
        yield from _wrapped(inner + _field(step.field), "", rest=inner)
    for column, expression in step.steps:
        yield from _wrapped(f"{inner}{column} = {one_line(expression)}", "", rest=inner + _INDENT)
    for condition in step.filters:
        yield from _wrapped(f"{inner}{one_line(condition)}", "", rest=inner + _INDENT)
    if step.note:
        yield from _wrapped(f"{inner}{step.note}", "", rest=inner + _INDENT)
    for below in step.inputs:
        yield from _column(below, inner)


_HOW = {
    "same": "from",
    "computed": "computed from",
    "aggregated": "aggregated from",
    "rows": "counts rows of",
}


def _field(field: Mapping[str, object]) -> str:
    words = [f"field `{field['path']}` of the source, type {field['type']}"]
    words.append("may be null" if field["nullable"] else "never null")
    if field["sensitive"]:
        treatment = {"hash": "Silver has keyed hashes", "drop": "not in Silver"}.get(str(field["sensitive"]), "masked")
        words.append(f"SENSITIVE ({treatment})")
    return ", ".join(words)


def _shown(value: object, longest: int = _VALUE) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return cut(one_line(str(value)), max(longest, 8))


def _moment(text: str | None) -> str:
    return f"{text[:10]} {text[11:19]} UTC" if text else "never"


def _wrapped(text: str, indent: str, *, rest: str | None = None) -> Sequence[str]:
    begin = indent + text
    own = begin[: len(begin) - len(begin.lstrip())]
    return textwrap.wrap(
        begin.lstrip(),
        WIDTH,
        initial_indent=own,
        subsequent_indent=indent if rest is None else rest,
        break_on_hyphens=False,
    ) or [own]
