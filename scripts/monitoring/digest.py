"""The message of a reconciling run about problems of which no run has told, the same from every entry point."""

from __future__ import annotations

import datetime as dt
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from scripts.contracts import catalog
from scripts.monitoring import airflow_findings, alerts, overdue, told_before
from scripts.monitoring.report import refresh
from scripts.planning.reconcile import examine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.bronze.store import Store
    from scripts.monitoring.advice import Place


def tell_health(
    store: Store, *, place: Place = "terminal", links: Mapping[str, str] = MappingProxyType({})
) -> alerts.Alert | None:
    """Send one message about problems of which no run has told, and about problems that are over; refresh the page.

    A run that fails sends its own alert. A run that was killed, deleted, or never started does not: the partitions that
    it left are due, and a reconciling run finds them. Each problem is sent once when it begins, again when it has days
    that it did not have before, and once when it is over, for all of its days; if no sink takes the message, the next
    call sends it again.
    """
    found = examine(store)
    problems = [*airflow_findings.problems(), *overdue.problems(catalog.read_all(), found)]
    known = told_before.read("overdue", Told)
    new = [problem.text for problem in problems if problem.told == "never" and _is_new(problem, known)]
    stays = _staying(problems, known)
    over = [about.text for name, about in known.items() if name not in stays]
    if stays != known:
        refresh(store)
    message = None
    if new or over:
        end = f"problems that are over: {len(over)}" if stays else "all is well again"
        title = f"{len(new)} problem{'s' if len(new) > 1 else ''}" if new else end
        body = [*new, *(f"over: {text}" for text in over)]
        key = f"overdue {sorted(stays)} {found.at}"
        message = alerts.Alert("data overdue", title, "\n".join(body), links, key, place)
        if not alerts.notify(message) and alerts.has_sink():
            return None
    if stays != known:
        told_before.keep("overdue", stays)
    return message


class Told(msgspec.Struct, frozen=True):
    """A problem that a message has told, or the failed run itself."""

    text: str
    days: frozenset[dt.date] = frozenset()


def _is_new(problem: overdue.Problem, known: Mapping[str, Told]) -> bool:
    return problem.name not in known or not problem.days <= known[problem.name].days


def _staying(problems: Sequence[overdue.Problem], known: Mapping[str, Told]) -> Mapping[str, Told]:
    """Return the problems that were told and are not over, and those that are told by this message."""
    stays: dict[str, Told] = {}
    for name in dict.fromkeys(problem.name for problem in problems):
        same = [problem for problem in problems if problem.name == name]
        # while a retry may succeed, a known problem is not over, and a new one is not told
        told = [problem for problem in same if problem.told != "later"]
        if name not in known and not told:
            continue
        before = known.get(name, Told(""))
        days = frozenset[dt.date]().union(*(problem.days for problem in same))
        text = "\n".join(problem.text for problem in told) or before.text
        stays[name] = Told(text, (before.days & days).union(*(problem.days for problem in told)))
    return stays
