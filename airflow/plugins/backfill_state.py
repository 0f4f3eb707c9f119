"""The state of a request for a backfill, from Airflow and the ledger: its days, its runs, the active backfills.

A day is done when it is loaded, independently of its runs. The backfills are Airflow's own.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow._shared.timezones import timezone
from airflow.models.backfill import (
    Backfill,
    BackfillDagRun,
    ReprocessBehavior,
    _create_backfill_dag_run_partitioned,
    _get_info_list,
)
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.utils.state import DagRunState
from sqlalchemy import select, update

from dag_alerts import page
from scripts.planning.backfill_request import BackfillRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.orm import Session

    from scripts.bronze.store import Store
    from scripts.planning.backfill_request import DayState, Reprocess

DAG_ID = "pipeline_bronze"
LAYERS = ("pipeline_silver", "dbt_dag")
MAX_ACTIVE_RUNS = 4
_RUNS_AT_ONCE = 10
_REPROCESS: Mapping[ReprocessBehavior, Reprocess] = {
    ReprocessBehavior.NONE: "none",
    ReprocessBehavior.FAILED: "failed",
    ReprocessBehavior.COMPLETED: "completed",
}
UNDER_WAY = (DagRunState.RUNNING, DagRunState.QUEUED)
_CANCELLED = select(Backfill.id).where(Backfill.completed_at.is_not(None), Backfill.is_paused.is_(True))


class Days:
    """The days of a request: which of them are loaded, and which runs they have."""

    def __init__(self, session: Session, request: BackfillRequest, states: Mapping[dt.date, DayState]) -> None:
        """Read the runs of the days from Airflow's database."""
        self.request = request
        self.loaded = {day: state == "loaded" for day, state in states.items()}
        self.provisional = [day for day, state in states.items() if state == "provisional"]
        first, last = request.days[0], request.days[-1]
        query = (
            select(DagRun.partition_key, DagRun.state, DagRun.run_id, DagRun.backfill_id.in_(_CANCELLED))
            .where(DagRun.dag_id == DAG_ID, DagRun.partition_key.between(first.isoformat(), last.isoformat()))
            .order_by(DagRun.id.desc())
        )
        self.states: dict[dt.date, DagRunState] = {}
        self.newest: dict[dt.date, str] = {}
        for key, state, run_id, is_cancelled in session.execute(query).tuples():
            # a day may have several runs: an active run counts, otherwise the newest one
            day, found = dt.date.fromisoformat(key), DagRunState(state)
            # Airflow never starts a queued run of a canceled backfill
            if found == DagRunState.QUEUED and is_cancelled:
                found = DagRunState.FAILED
            if self.newest.setdefault(day, run_id) == run_id or found in UNDER_WAY:
                self.states[day] = found
        layers = select(DagRun.dag_id, DagRun.state).where(DagRun.dag_id.in_(LAYERS)).order_by(DagRun.id.desc())
        self.layers = [(dag_id, DagRunState(state)) for dag_id, state in session.execute(layers.limit(100)).tuples()]

    def are(self, *states: DagRunState) -> Sequence[dt.date]:
        """Return the days whose run has one of these states."""
        return [day for day in self.request.days if self.states.get(day) in states]

    @property
    def due(self) -> Sequence[dt.date]:
        """The days to load: by `reprocess`, the days that are not loaded, only the failed ones of these, or all."""
        if self.request.reprocess == "completed":
            return self.request.days
        failed = self.request.reprocess == "failed"
        return [
            day
            for day in self.request.days
            if not self.loaded[day] and (not failed or self.states.get(day) in {DagRunState.FAILED, *UNDER_WAY})
        ]

    def plan(self) -> dict[str, Any]:
        """Return the answer that says what a request would do."""
        under_way = set(self.are(*UNDER_WAY))
        return about(self.request) | {
            "dry_run": True,
            "would_run": [day.isoformat() for day in self.due if day not in under_way],
            "under_way": [day.isoformat() for day in self.due if day in under_way],
            "already_done": [day.isoformat() for day in self.request.days if self.loaded[day]],
        }

    def progress(self, paused: str) -> dict[str, Any]:
        """Return the answer that describes the progress."""
        running, queued = self.are(DagRunState.RUNNING), self.are(DagRunState.QUEUED)
        open_days = {*running, *queued}
        ended = [day for day in self.request.days if day not in open_days]
        done = [day for day in ended if self.loaded[day] or day in self.provisional]
        failed = [day for day in ended if day not in done]
        runs_on = sum(state in UNDER_WAY for _, state in self.layers)
        gold = next((state for dag, state in self.layers if dag == "dbt_dag" and state not in UNDER_WAY), None)
        behind = _not_published(self.request) if len(done) == len(self.request.days) else []
        state = "done"
        if open_days:
            state = "paused" if paused else "running"
        elif failed:
            state = "failed"
        return about(self.request) | {
            "status": state,
            **({"message": paused} if paused and open_days else {}),
            "progress": {
                "done": len(done),
                "running": len(running),
                "queued": len(queued),
                "failed": len(failed),
            },
            **({"provisional_days": [day.isoformat() for day in self.provisional]} if self.provisional else {}),
            "failed_days": [self._failed(day) for day in failed],
            "silver_and_gold": {
                "caught_up": state == "done" and not behind,
                "runs_under_way": runs_on,
                "last_gold_run": gold,
            },
        }

    def _failed(self, day: dt.date) -> dict[str, str]:
        run_id = self.newest.get(day)
        if run_id is None:
            return {"day": day.isoformat(), "reason": "is not loaded and has no run; request it again"}
        reason = (
            "its run failed or was canceled"
            if self.states[day] == DagRunState.FAILED
            else ("its run ended without loading it; request it again")
        )
        return {"day": day.isoformat(), "reason": reason, "ui_url": page(f"dags/{DAG_ID}/runs/{quote(run_id)}")}


def create(
    session: Session, request: BackfillRequest, due: Iterable[dt.date], user: str, callback_url: str | None
) -> Backfill:
    """Create a backfill in Airflow with one run for each day that is due."""
    serialized = session.scalar(SerializedDagModel.latest_item_select_object(DAG_ID))
    first, last = (dt.datetime.combine(day, dt.time(), dt.UTC) for day in (request.days[0], request.days[-1]))
    # such runs would block their days for ever
    end_stuck(session)
    backfill = Backfill(
        dag_id=DAG_ID,
        from_date=first,
        to_date=last,
        max_active_runs=MAX_ACTIVE_RUNS,
        dag_run_conf=request.conf() | ({"callback_url": callback_url} if callback_url else {}),
        reprocess_behavior=ReprocessBehavior(request.reprocess),
        triggering_user_name=user,
    )
    session.add(backfill)
    # other requests, here or at Airflow's own API, must see it at once
    session.commit()
    wanted = {day.isoformat() for day in due}
    infos = _get_info_list(dag=serialized.dag, from_date=first, to_date=last, reverse=False)
    for ordinal, info in enumerate((info for info in infos if info.partition_key in wanted), start=1):
        _create_backfill_dag_run_partitioned(
            dag=serialized.dag,
            info=info,
            reprocess_behavior=ReprocessBehavior.COMPLETED,
            backfill_id=backfill.id,
            dag_run_conf=backfill.dag_run_conf,
            backfill_sort_ordinal=ordinal,
            triggering_user_name=user,
            session=session,
        )
        # the first runs start while the others are created; and Airflow ends a backfill that has no runs
        if ordinal % _RUNS_AT_ONCE == 0:
            session.commit()
    return backfill


def end_stuck(session: Session) -> Sequence[tuple[str, str]]:
    """End the queued runs of cancelled backfills, which Airflow never starts; return their ids and days.

    Such a run exists when a person clears a run of a backfill that was cancelled.
    """
    found = session.execute(
        update(DagRun)
        .where(DagRun.dag_id == DAG_ID, DagRun.state == DagRunState.QUEUED, DagRun.backfill_id.in_(_CANCELLED))
        .values(state=DagRunState.FAILED, end_date=timezone.utcnow())
        .returning(DagRun.run_id, DagRun.partition_key)
        .execution_options(synchronize_session=False)
    )
    ended = [(run_id, day or "") for run_id, day in found.tuples()]
    session.commit()
    return ended


def active(session: Session) -> list[Backfill]:
    """Return the backfills that still have runs to do, oldest first.

    Airflow records the end of a backfill up to 30 seconds later; this function records it at once.
    """
    found = []
    query = select(Backfill).where(Backfill.dag_id == DAG_ID, Backfill.completed_at.is_(None)).order_by(Backfill.id)
    for backfill in session.scalars(query).all():
        runs = select(DagRun.id).where(DagRun.backfill_id == backfill.id, DagRun.state.in_(UNDER_WAY)).limit(1)
        made = select(BackfillDagRun.id).where(BackfillDagRun.backfill_id == backfill.id).limit(1)
        if session.scalar(runs) is not None or session.scalar(made) is None:
            found.append(backfill)
        else:
            backfill.completed_at = timezone.utcnow()
    session.commit()
    return found


def last_id(session: Session, request: BackfillRequest, since: dt.timedelta | None = None) -> int | None:
    """Return the id of the last backfill for a request; with `since`, only if it is not older than that."""
    query = select(Backfill).where(Backfill.dag_id == DAG_ID).order_by(Backfill.id.desc()).limit(200)
    if since is not None:
        query = query.where(Backfill.created_at > timezone.utcnow() - since)
    return next((found.id for found in session.scalars(query) if request_of(found) == request), None)


def what_is_paused(session: Session, backfill: Backfill | None) -> str:
    """Return what is paused, and the remedy; empty if nothing is paused."""
    dag = session.get(DagModel, DAG_ID)
    if dag is None or dag.is_stale:
        return f"Airflow does not know {DAG_ID}; read its import errors."
    if dag.is_paused:
        return f"{DAG_ID} is paused; unpause it at {page(f'dags/{DAG_ID}')} and ask again."
    if backfill is not None and backfill.is_paused and backfill.completed_at is None:
        return f"backfill {backfill.id} is paused; unpause it at {page(f'dags/{DAG_ID}/backfills')} and ask again."
    return ""


def request_of(backfill: Backfill) -> BackfillRequest:
    """Return the request that a backfill was made for; it may also come from Airflow's own form or API."""
    asked = backfill.dag_run_conf or {}
    span = (backfill.to_date.date() - backfill.from_date.date()).days
    days = tuple(backfill.from_date.date() + dt.timedelta(days=offset) for offset in range(span + 1))
    resources = tuple(sorted(asked.get("resources") or ()))
    behavior = ReprocessBehavior(backfill.reprocess_behavior)
    reprocess = _REPROCESS[behavior]
    if reprocess == "completed" and asked.get("reprocess") is False:
        # Airflow was asked to make a run for each day, and the run loads only what is due
        reprocess = "none"
    return BackfillRequest(days, asked.get("source"), resources, reprocess)


def _not_published(request: BackfillRequest) -> Sequence[object]:
    """Return the partitions of a request whose present content the published tables do not hold."""
    from scripts.loading.partitions import partitions
    from scripts.planning.published import read_published

    ledger = store()
    wanted = partitions(request.days, request.sources, request.resources or None)
    entries = {partition: entry for partition in wanted if (entry := ledger.entry(partition)) is not None}
    held = read_published(entries).held
    return [item for item in wanted if item not in entries or held.get(item) != entries[item].content_state]


def about(request: BackfillRequest) -> dict[str, Any]:
    """Return the keys of an answer that describe the request."""
    return {
        "dag_id": DAG_ID,
        **range_of(request),
        "days": len(request.days),
        "time_zone": "UTC",
        "source": request.source,
        "resources": list(request.resources),
        "reprocess": request.reprocess,
        "ui_url": page(f"dags/{DAG_ID}/backfills"),
    }


def range_of(request: BackfillRequest) -> dict[str, str]:
    """Return the first and last day of a request."""
    return {"start_date": request.days[0].isoformat(), "end_date": request.days[-1].isoformat()}


def store() -> Store:
    """Return the Bronze store."""
    from scripts.bronze.stores import open_store

    return open_store()
