"""A request for a backfill from an entry point: which values are valid, and which of its days are loaded."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import TypeAdapter, ValidationError

from scripts.contracts import catalog
from scripts.errors import UsageError
from scripts.loading.partitions import partitions
from scripts.planning.reconcile import plan_request
from scripts.utils.days import day_range

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.bronze.store import Store

Reprocess = Literal["none", "failed", "completed"]
"""Which days a backfill loads: `none` the days that are not loaded, `failed` only failed ones, `completed` all."""

DayState = Literal["loaded", "provisional", "due"]
"""`provisional`: all is loaded, but something before the day was over, so it will be loaded again."""

CONF_KEYS = frozenset({"source", "resources", "reprocess", "callback_url"})
"""The keys that the configuration of a backfill's runs may have; the days come from its range."""

_MOMENT = TypeAdapter(dt.datetime)
_BEGINS, _ENDS = dt.time(), dt.time(23, 59, 59)


@dataclasses.dataclass(frozen=True)
class BackfillRequest:
    """The requested days, sources and resources; equal requests ask for the same."""

    days: Sequence[dt.date]
    source: str | None
    resources: Sequence[str]
    reprocess: Reprocess

    @classmethod
    def create(
        cls,
        start: str | dt.date,
        end: str | dt.date,
        source: str | None = None,
        resources: Sequence[str] = (),
        reprocess: Reprocess = "none",
    ) -> Self:
        """Return a valid request.

        Raises:
            UsageError: A day, a source or a resource does not exist, or the range is reversed.
        """
        if resources and source is None:
            raise UsageError("resources are named without their source", expected="`source` as well")
        request = cls(tuple(day_range(start, end)), source, tuple(sorted(set(resources))), reprocess)
        # raises an error for names that the catalog does not have
        partitions(request.days[:1], request.sources, request.resources or None)
        return request

    @property
    def sources(self) -> Sequence[str]:
        """The named source, or all daily sources."""
        return [self.source] if self.source else catalog.daily_sources()

    def conf(self) -> dict[str, Any]:
        """Return the configuration of the runs that load the request."""
        return {"source": self.source, "resources": list(self.resources), "reprocess": self.reprocess == "completed"}

    def states(self, store: Store) -> Mapping[dt.date, DayState]:
        """Return the state of each day by the ledger, with all requested resources together."""
        found: dict[dt.date, DayState] = dict.fromkeys(self.days, "loaded")
        for item in plan_request(store, partitions(self.days, self.sources, self.resources or None)):
            day = item.partition.day
            if item.state not in {"loaded", "provisional"}:
                found[day] = "due"
            elif item.state == "provisional" and found[day] == "loaded":
                found[day] = "provisional"
        return found


def check_conf(conf: object, known: frozenset[str] = CONF_KEYS) -> None:
    """Refuse the configuration of a run if it has keys that nothing reads.

    Raises:
        UsageError: It is not an object, or it has an unknown key.
    """
    if conf is not None and not isinstance(conf, dict):
        raise UsageError("the configuration of the run is not an object", expected=f"keys {', '.join(sorted(known))}")
    if unknown := sorted(set(conf or {}) - known):
        raise UsageError(
            f"unknown keys in the configuration of the run: {', '.join(str(key)[:100] for key in unknown[:5])}",
            expected=f"only {', '.join(sorted(known))}",
        )


def airflow_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of a request to Airflow's own API for backfills, changed so that the ledger decides what is due.

    By default, Airflow makes no run for a day that has a run, although that run failed or was marked by hand. In the
    returned body, Airflow makes a run for each day. The key `reprocess` of the configuration tells these runs whether
    to load loaded days again. Airflow's form sends every parameter, also empty ones: the result has no empty ones.

    Raises:
        UsageError: The configuration has an unknown key, or the range does not consist of whole days (UTC).
    """
    conf = body.get("dag_run_conf")
    chosen = {key: value for key, value in conf.items() if value is not None} if isinstance(conf, dict) else conf
    check_conf(chosen)
    _check_end("from_date", body.get("from_date"), {_BEGINS})
    _check_end("to_date", body.get("to_date"), {_BEGINS, _ENDS})
    behavior = body.get("reprocess_behavior", "none")
    if behavior not in ("none", "failed", "completed"):
        # Airflow itself answers with the error
        return {**body, "dag_run_conf": chosen}
    again = behavior == "completed" or (chosen or {}).get("reprocess", False)
    return {**body, "reprocess_behavior": "completed", "dag_run_conf": {**(chosen or {}), "reprocess": again}}


def _check_end(name: str, value: object, times: set[dt.time]) -> None:
    try:
        moment = _MOMENT.validate_python(value)
    except ValidationError:
        # Airflow itself answers with the error
        return
    moment = moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    if moment.time().replace(microsecond=0) not in times:
        raise UsageError(
            f"{name} is {moment:%Y-%m-%d %H:%M:%S} (UTC), which is not the {'start' if name == 'from_date' else 'end'}"
            " of a day",
            expected="whole days in UTC: from_date at 00:00:00, to_date at 00:00:00 or 23:59:59",
            hint="in Airflow's form, choose UTC in the menu of time zones, and enter the days again",
        )
