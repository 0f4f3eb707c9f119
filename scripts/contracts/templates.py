"""Templates: `{day}`, `{day:%Y%m%d}`, `{start:epoch}` and the like in paths, parameters, headers and bodies."""

from __future__ import annotations

import datetime as dt
import re
import urllib.parse
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

MOMENTS = ("day", "next_day", "start", "end")
"""Variables of every request: the day, the next day, and the bounds of the requested window."""
SINCE = "since"
"""Variable of the requests of a watermark load: the moment since which changes are requested."""
_PLACE = re.compile(r"\{([A-Za-z_]\w*)(?::([^{}]*))?\}")
_STRAY_BRACE = re.compile(r"\{(?!\s)|(?<!\s)\}|\{\s*\w*\s*\}")
"""A brace that may be a wrong template; a query language has spaces within its braces: `{ ?item ?is ?this }`."""
_DIRECTIVE = re.compile(r"%-?(.)")
_SECONDS = re.compile(r"(?<!%)((?:%%)*)%s")
"""`%s`, for which the C library uses the machine's time zone."""
_KNOWN_DIRECTIVES = frozenset("YymdHMSfjbBaAUWVGuwpIZzs%")
_UTC = re.compile(r"(?:(?<!%)Z|[+-]00:?00)$")
_EPOCHS = {"epoch": dt.timedelta(seconds=1), "epoch_ms": dt.timedelta(milliseconds=1)}
_UNITS = {"f": dt.timedelta(microseconds=1), "s": dt.timedelta(seconds=1), "S": dt.timedelta(seconds=1)}
_UNITS |= {"M": dt.timedelta(minutes=1)}
_UNITS |= {"H": dt.timedelta(hours=1), "I": dt.timedelta(hours=1)}


def format_moment(moment: dt.datetime, text: str) -> str:
    """Return a moment in a format: `epoch`, `epoch_ms`, or one of `strftime`; a final `Z` or `+00:00` gives UTC."""
    if text in _EPOCHS:
        return _since_epoch(moment, text)
    text = _SECONDS.sub(lambda found: found[1] + _since_epoch(moment, "epoch"), text)
    return (moment.astimezone(dt.UTC) if _UTC.search(text) else moment).strftime(text)


def resolution(text: str) -> dt.timedelta:
    """Return the smallest step of time that a format can express."""
    if text in _EPOCHS:
        return _EPOCHS[text]
    directives = set(_DIRECTIVE.findall(text))
    return next((unit for name, unit in _UNITS.items() if name in directives), dt.timedelta(days=1))


def check_format(text: str) -> str:
    """Return a format of moments, if it is valid.

    Raises:
        ValueError: It has no directive, an unknown one, or one that depends on the machine's time zone.
    """
    if text in _EPOCHS:
        return text
    directives = _DIRECTIVE.findall(text)
    unknown = [name for name in directives if name not in _KNOWN_DIRECTIVES]
    if not directives or unknown or text.endswith("%"):
        found = f"`%{unknown[0]}` is not known" if unknown else "it holds no directive of strftime"
        message = f"`{text}`: {found}; valid are `epoch`, `epoch_ms`, and formats like `%Y-%m-%d` or `%Y%m%dT%H%M%SZ`"
        raise ValueError(message)
    return text


def check_column_format(text: str) -> str:
    """Return a format of `strptime`, if it reads each moment completely.

    Raises:
        ValueError: It is not a format of `strptime`, or does not define each part of a moment.
    """
    day = dt.datetime(2024, 11, 23, tzinfo=dt.UTC)
    moment = day + dt.timedelta(hours=13, minutes=14, seconds=15, microseconds=678_901)
    expected = moment - (moment - day) % resolution(text)
    try:
        found = dt.datetime.strptime(moment.strftime(text), text).replace(tzinfo=dt.UTC)
    except (ValueError, re.error) as error:
        raise ValueError(str(error)) from None
    if "Z" in _DIRECTIVE.findall(text):
        message = "`%Z` only reads the machine's own zones: write the zone as text, or use `%z`"
        raise ValueError(message)
    if found != expected:
        message = f"it reads {expected:%Y-%m-%d %H:%M} as {found:%Y-%m-%d %H:%M}: it has to say the year, the day, and"
        message += " with `%I` also `%p`"
        raise ValueError(message)
    return text


Format = Annotated[str, AfterValidator(check_format)]


def fill(value: Any, values: Mapping[str, object], *, quote: bool = False) -> Any:  # noqa: ANN401 — any JSON
    """Return a JSON value with the templates in its texts filled; names that are not in `values` stay."""

    def replacement(match: re.Match[str]) -> str:
        name, text = match.groups()
        if name not in values:
            return match[0]
        found = values[name]
        if isinstance(found, dt.datetime):
            default = "%Y-%m-%d" if name in {"day", "next_day"} else "%Y-%m-%dT%H:%M:%SZ"
            filled = format_moment(found, text or default)
        else:
            filled = str(found)
        return urllib.parse.quote(filled, safe="") if quote else filled

    return _each_text(value, lambda text: _PLACE.sub(replacement, text))


def check_templates(value: Any, names: Collection[str], *, strict: bool = True) -> list[str]:  # noqa: ANN401 — any JSON
    """Return messages about invalid templates in a JSON value; without `strict`, other braces are text."""
    problems = [
        f"`{key}`: templates are filled in values, not in keys" for key in _keys(value) if strict and "{" in key
    ]
    for text in _texts(value):
        if strict and re.search(r"%7[Bb]", text):
            problems.append(f"`{text}` holds an escaped brace: write `{{day}}`")
        for match in _PLACE.finditer(text):
            name, wanted = match.groups()
            if name not in names:
                if strict:
                    problems.append(f"`{match[0]}` is not a known template; valid are {', '.join(sorted(names))}")
            elif wanted is not None and name in {*MOMENTS, SINCE}:
                try:
                    check_format(wanted)
                except ValueError as error:
                    problems.append(str(error))
            elif wanted is not None:
                problems.append(f"`{match[0]}`: only {', '.join(MOMENTS)} take a format")
        if strict and _STRAY_BRACE.search(_PLACE.sub("", text)):
            problems.append(
                f"`{text}` holds a brace that is not part of a template; write spaces within braces that are text"
            )
    return problems


def template_names(value: Any) -> set[str]:  # noqa: ANN401 — any JSON
    """Return the names of all templates in a JSON value."""
    return {match[1] for text in _texts(value) for match in _PLACE.finditer(text)}


def _since_epoch(moment: dt.datetime, unit: str) -> str:
    return str((moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // _EPOCHS[unit])


def _each_text(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 — any JSON
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _each_text(item, change) for key, item in value.items()}
    return [_each_text(item, change) for item in value] if isinstance(value, (list, tuple)) else value


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 — any JSON
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _keys(value: Any) -> Iterator[str]:  # noqa: ANN401 — any JSON
    if isinstance(value, dict):
        yield from map(str, value)
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
        yield from _keys(item)
