"""The charts of the portal: Vega-Lite, drawn as SVG by a process of its own.

Colors are variables of the page's style sheet, so that a chart follows light and dark. The process cannot end the
program that asks for charts: without it, the pages have numbers and no pictures.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

import msgspec

from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.portal.profile import ColumnProfile

_log = get_logger("portal")
_SECONDS = 60
_LABEL = 24
_LAYER_COLORS = {"bronze": "var(--c0)", "silver": "var(--c1)", "gold": "var(--c2)"}
_ABOVE = {"align": "left", "dx": -5, "dy": -14, "fontSize": 12}
"""Where a name is: above its circle."""
_CONFIG = {
    "aria": False,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--text)",
        "titleColor": "var(--soft)",
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
    },
    "text": {"color": "var(--text)"},
}
_ROLES = re.compile(r' (?:role|aria-[a-z]+)="[^"]*"')
Spec = dict[str, Any]
"""A chart in the language of Vega-Lite."""


def distribution(column: ColumnProfile) -> Spec | None:
    """Return the chart of a column's values; None if there is nothing to draw."""
    if not column.bins:
        return None
    rows: list[Spec] = [{"at": at, "label": item.label, "rows": item.count} for at, item in enumerate(column.bins)]
    color = {"type": "bar", "color": "var(--link)"}
    if column.shape == "values":
        for row in rows:
            row["label"] = str(row["label"])[:_LABEL]
            row["name"] = f"{row['label']}  ({row['rows']:,})"
            # a long bar would hide the others
            row["rows"] *= not column.bins[row["at"]].is_rest
        scale = {"domain": [0, max(row["rows"] for row in rows)]}
        bars = {
            "mark": {**color, "height": 12, "yOffset": 5},
            "encoding": {"x": {"field": "rows", "type": "quantitative", "axis": None, "scale": scale}},
        }
        texts = {
            "mark": {"type": "text", "align": "left", "yOffset": -7, "fontSize": 11},
            "encoding": {"text": {"field": "name"}, "x": {"value": 0}},
        }
        y = {"field": "at", "type": "ordinal", "axis": None}
        return _spec({"layer": [bars, texts], "encoding": {"y": y}}, rows, width=230, height={"step": 29})
    axis: Spec = {"labelAngle": 0, "labelOverlap": "greedy", "labelSeparation": 6, "ticks": False, "title": None}
    if column.shape == "order":
        names = json.dumps([str(row["label"]) for row in rows])
        axis["labelExpr"] = f"{names}[datum.value]"
    else:
        ends = f"datum.value == 0 ? {json.dumps(column.smallest[:16])} : {json.dumps(column.largest[:16])}"
        axis |= {"values": [0, len(rows) - 1], "labelExpr": ends, "labelOverlap": False}
        axis["labelAlign"] = {"expr": "datum.value == 0 ? 'left' : 'right'"}
        axis["title"] = "characters" if column.shape == "lengths" else None
    encoding = {
        "x": {"field": "at", "type": "ordinal", "axis": axis, "scale": {"paddingInner": 0.1, "paddingOuter": 0}},
        "y": {"field": "rows", "type": "quantitative", "axis": None},
    }
    return _spec({"mark": color, "encoding": encoding}, rows, width=230, height=64)


def lineage(table: str, layers: Mapping[str, Sequence[str]], edges: Sequence[tuple[str, str]]) -> Spec:
    """Return the picture of how a table is made: one column for each step, with lines between what reads what.

    Args:
        table: The table that is in the middle of attention.
        layers: For each step, in order, the names in it: `layer/…`, such as `gold/fct_events`.
        edges: Pairs of names: what is read, and what reads it.
    """
    places: dict[str, tuple[float, float]] = {}
    tallest = max(len(names) for names in layers.values())
    for x, names in enumerate(layers.values()):
        for y, name in enumerate(names):
            places[name] = (x, y + (tallest - len(names)) / 2)
    nodes = [
        {
            "x": x,
            "y": y,
            "name": name,
            "label": _short(name),
            "color": _LAYER_COLORS.get(name.partition("/")[0], "var(--soft)"),
        }
        for name, (x, y) in places.items()
    ]
    lines = [
        {"x": places[a][0] + 0.04, "y": places[a][1], "x2": places[b][0] - 0.04, "y2": places[b][1]}
        for a, b in edges
        if a in places and b in places
    ]
    across: Spec = {"field": "x", "type": "quantitative", "axis": None, "scale": {"domain": [-0.1, len(layers) - 0.3]}}
    down: Spec = {"field": "y", "type": "quantitative", "axis": None, "scale": {"domain": [tallest - 0.4, -0.6]}}
    marks = [
        {
            "data": {"values": lines},
            "mark": {"type": "rule", "color": "var(--line)", "strokeWidth": 1.5},
            "encoding": {"x": across, "y": down, "x2": {"field": "x2"}, "y2": {"field": "y2"}},
        },
        {
            "data": {"values": nodes},
            "mark": {"type": "circle", "size": 90, "opacity": 1},
            "encoding": {"x": across, "y": down, "color": {"field": "color", "type": "nominal", "scale": None}},
        },
        {
            "data": {"values": nodes},
            "mark": {"type": "text", **_ABOVE, "stroke": "var(--card)", "strokeWidth": 5, "strokeJoin": "round"},
            "encoding": {"x": across, "y": down, "text": {"field": "label"}},
        },
    ]
    marks += [
        {
            "data": {"values": [node for node in nodes if (node["name"] == table) is is_bold]},
            "mark": {"type": "text", **_ABOVE, "fontWeight": "bold" if is_bold else "normal"},
            "encoding": {"x": across, "y": down, "text": {"field": "label"}},
        }
        for is_bold in (False, True)
    ]
    return _spec({"layer": marks}, [], width=205 * len(layers), height=52 * tallest + 10)


class Drawing:
    """The process that draws. It needs half a second to start, in which its caller can do other work."""

    def __init__(self) -> None:
        """Start no process yet."""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Return the object; its process ends with the `with` block."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process if it was not needed."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def start(self) -> None:
        """Let the process start."""
        command = [sys.executable, "-m", __name__]
        try:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)  # noqa: S603 — this program
        except OSError as error:
            _log.warning("the portal has no charts: %s", error)

    def draw(self, specs: Sequence[Spec], known: Mapping[str, str]) -> Mapping[str, str]:
        """Return the SVG of each chart by its `name_of`, without those that could not be drawn; the process ends.

        Args:
            specs: The charts.
            known: Charts that were drawn before.
        """
        wanted = {name_of(spec): spec for spec in specs}
        missing = {name: spec for name, spec in wanted.items() if name not in known}
        if missing and self._process is None:
            self.start()
        found = {**known, **self._ask(missing)}
        return {name: found[name] for name in wanted if name in found}

    def _ask(self, missing: Mapping[str, Spec]) -> Mapping[str, str]:
        if self._process is None:
            return {}
        process, self._process = self._process, None
        complaints = b""
        try:
            output, complaints = process.communicate(msgspec.json.encode(missing), timeout=_SECONDS)
            return msgspec.json.decode(output, type=dict[str, str])
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            _log.warning("the portal has no charts: they were not drawn in %d s", _SECONDS)
        except (OSError, msgspec.DecodeError):
            last = complaints.decode(errors="replace").strip().splitlines()[-1:]
            _log.warning("the portal has no charts: %s", " ".join(last) or f"exit code {process.returncode}")
        return {}


def name_of(spec: Spec) -> str:
    """Return a name of a chart that only equal charts have."""
    return hashlib.sha256(msgspec.json.encode(spec, order="sorted")).hexdigest()[:16]


def _spec(what: Mapping[str, object], rows: Sequence[Mapping[str, object]], *, width: int, height: object) -> Spec:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": None,
        "padding": 2,
        "width": width,
        "height": height,
        "data": {"values": list(rows)},
        "config": _CONFIG,
        **what,
    }


def _short(name: str) -> str:
    layer, _, rest = name.partition("/")
    text = rest.replace("/", " ") if layer == "bronze" else rest
    return text if len(text) <= 2 * _LABEL else text[: 2 * _LABEL - 1] + "…"


def main() -> None:
    """Draw the charts on stdin, and write them to stdout."""
    import vl_convert  # noqa: PLC0415 — 80 MB, and only this process needs it

    def draw(spec: Spec) -> str:
        # a chart names no data outside of itself, and may read none
        svg = str(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]))
        # the page names the chart; the roles that Vega gives to its parts have no names
        return _ROLES.sub("", svg)

    # the first chart takes half a second: draw it before the others arrive
    draw(_spec({"mark": "point", "encoding": {}}, [], width=1, height=1))
    specs = msgspec.json.decode(sys.stdin.buffer.read(), type=dict[str, Spec])
    sys.stdout.buffer.write(msgspec.json.encode({name: draw(spec) for name, spec in specs.items()}))


if __name__ == "__main__":
    main()
