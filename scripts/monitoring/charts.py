"""Charts as inline SVG, for pages without scripts; they use the page's colors, and screen readers can read the numbers.

Each chart is the body of one `<figure>`: an SVG whose `<title>` is its name, and a collapsed table of the same numbers.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_WIDTH, _HEIGHT = 480, 180
_LEFT, _BOTTOM, _TOP = 52, 24, 8
_BAR = 22
_TICKS = 4
_LABELS = 6


class Bar(NamedTuple):
    """A horizontal bar; `limit` is the position of a mark, and `tone` is ok, warn or bad."""

    label: str
    value: float
    text: str
    limit: float | None = None
    tone: str = "ok"


def columns(title: str, labels: Sequence[str], series: Mapping[str, Sequence[float]], *, unit: str) -> str:
    """Return a column chart: one group for each label, one color for each series; the axis starts at zero."""
    step, height_of = _scales(labels, series)
    width, parts = step * 0.8 / max(len(series), 1), []
    for number, (name, values) in enumerate(series.items()):
        for place, value in enumerate(values):
            x, y = _LEFT + place * step + step * 0.1 + number * width, _HEIGHT - _BOTTOM - height_of(value)
            shown = f"{labels[place]}, {name}: {value:,.10g} {unit}"
            parts.append(
                f'<rect class="s{number}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height_of(value):.1f}">'
                f"<title>{escape(shown)}</title></rect>"
            )
    return _plot(title, labels, series, parts)


def lines(title: str, labels: Sequence[str], series: Mapping[str, Sequence[float]], *, unit: str) -> str:
    """Return a line chart over the labels: one line for each series; the axis starts at zero."""
    step, height_of = _scales(labels, series)
    parts = []
    for number, (name, values) in enumerate(series.items()):
        points = [
            (_LEFT + (place + 0.5) * step, _HEIGHT - _BOTTOM - height_of(value), value)
            for place, value in enumerate(values)
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
        parts.append(f'<polyline class="l{number}" points="{path}"/>')
        parts += [
            f'<circle class="s{number}" cx="{x:.1f}" cy="{y:.1f}" r="3">'
            f"<title>{escape(f'{labels[place]}, {name}: {value:,.4g} {unit}')}</title></circle>"
            for place, (x, y, value) in enumerate(points)
        ]
    return _plot(title, labels, series, parts)


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Return a chart of horizontal bars, each with its label above and its text at the end."""
    top = _round_up(max((max(abs(row.value), row.limit or 0) for row in rows), default=0))
    scale, parts = (_WIDTH - 190) / top, []
    for place, row in enumerate(rows):
        y = place * (_BAR + 20)
        parts.append(f'<text class="label" x="0" y="{y + 13}">{escape(row.label)}</text>')
        width = max(abs(row.value) * scale, 1)
        parts.append(f'<rect class="{row.tone}" x="0" y="{y + 18}" width="{width:.1f}" height="{_BAR - 6}"/>')
        end = max(abs(row.value), row.limit or 0) * scale
        if row.limit:
            x = row.limit * scale
            parts.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{y + 15}" y2="{y + _BAR + 15}"/>')
        parts.append(f'<text x="{end + 8:.1f}" y="{y + 31}">{escape(row.text)}</text>')
    return _svg(title, parts, max(len(rows), 1) * (_BAR + 20))


def _top(series: Mapping[str, Sequence[float]]) -> float:
    return _round_up(max((value for values in series.values() for value in values), default=0))


def _scales(labels: Sequence[str], series: Mapping[str, Sequence[float]]) -> tuple[float, Callable[[float], float]]:
    """Return the width of the space for one label, and a function that converts a value to a height."""
    top = _top(series)
    return (_WIDTH - _LEFT) / max(len(labels), 1), lambda value: value / top * (_HEIGHT - _BOTTOM - _TOP)


def _plot(title: str, labels: Sequence[str], series: Mapping[str, Sequence[float]], marks: Sequence[str]) -> str:
    """Return a chart from its marks: with axis, labels, legend and table."""
    parts = [_axis(_top(series)), *marks, _labels(labels, _scales(labels, series)[0])]
    return _legend(series) + _svg(title, parts, _HEIGHT) + _table(labels, series)


def _svg(title: str, parts: Sequence[str], height: int) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _axis(top: float) -> str:
    parts = []
    for tick in range(_TICKS + 1):
        y = _HEIGHT - _BOTTOM - tick / _TICKS * (_HEIGHT - _BOTTOM - _TOP)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}">{top * tick / _TICKS:,.4g}</text>')
    return "".join(parts)


def _labels(labels: Sequence[str], step: float) -> str:
    every = max(1, -(-len(labels) // _LABELS))
    return "".join(
        f'<text class="day" x="{_LEFT + (place + 0.5) * step:.1f}" y="{_HEIGHT - 6}">{escape(label)}</text>'
        for place, label in enumerate(labels)
        if place % every == 0
    )


def _legend(names: Mapping[str, object]) -> str:
    keys = "".join(f'<li><span class="key k{place}"></span>{escape(name)}</li>' for place, name in enumerate(names))
    return f'<ul class="legend">{keys}</ul>'


def _table(labels: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in series)
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th>'
        + "".join(f"<td>{values[place]:,.10g}</td>" for values in series.values())
        + "</tr>"
        for place, label in enumerate(labels)
    )
    return (
        "<details><summary>The numbers</summary>"
        '<div class="scroll" tabindex="0" role="region" aria-label="The numbers">'
        f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )


def _round_up(value: float) -> float:
    if value <= 0:
        return 1
    size = 10 ** (len(str(int(value))) - 1) if value >= 1 else 1
    return next(size * factor for factor in (1, 2, 4, 5, 8, 10) if size * factor >= value)
