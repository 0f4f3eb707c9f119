"""The API for backfills from the webhook: the ledger determines which days are due, and an answer says what runs.

Airflow's own API knows only runs: it counts a day as done when its run was canceled, deleted or marked by hand. Here a
day is done when it is loaded. The API creates backfills of Airflow, with one run for each day that is due.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import threading
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from airflow import settings as database
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models.backfill import Backfill
from airflow.utils.session import create_session
from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy import text

from backfill_callback import is_allowed
from backfill_state import (
    DAG_ID,
    Days,
    about,
    active,
    create,
    last_id,
    range_of,
    request_of,
    store,
    what_is_paused,
)
from scripts.errors import PipelineError, UsageError
from scripts.planning.backfill_request import BackfillRequest, Reprocess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy.orm import Session

_LOCK_KEY = 7_240_317
"""The key of the advisory lock that lets API servers run one request at a time; any number that nothing else uses."""

_LATELY = dt.timedelta(minutes=10)

router = APIRouter()
_turns = threading.Lock()


class BackfillBody(BaseModel):
    """The body of a request; n8n has checked it before and names the field of each problem."""

    model_config = ConfigDict(extra="forbid", strict=True)

    start_date: str
    end_date: str
    source: str | None = None
    resources: list[str] = []
    reprocess: Reprocess = "none"
    dry_run: bool = False
    wait: bool = False
    callback_url: str | None = None


class Refused(Exception):  # noqa: N818 — an answer, not an error
    """An answer that refuses the request: status, code, message and details."""

    def __init__(self, status: int, code: str, message: str, *details: Mapping[str, Any]) -> None:
        """Create the answer."""
        super().__init__(message)
        self.answer = JSONResponse({"error": {"code": code, "message": message, "details": list(details)}}, status)


@router.post("/backfills", dependencies=[Depends(requires_access_dag("POST", DagAccessEntity.RUN, DAG_ID))])
def ask(body: BackfillBody, user: GetUserDep) -> JSONResponse:
    """Start a backfill of the days that are due; in a dry run, return these days.

    The answer is 202 only if runs were created or exist, or all days are loaded: `accepted`, `queued` (behind another
    backfill), `already_running` or `loaded`.
    """
    try:
        request = _checked(body)
        _check_callback(body.callback_url)
        with _one_at_a_time(), create_session() as session:
            loaded = request.states(store())
            days = Days(session, request, loaded)
            if body.dry_run:
                return JSONResponse(days.plan())
            name, url = user.get_name(), body.callback_url
            return JSONResponse(_start(session, request, days, wait=body.wait, user=name, callback_url=url), 202)
    except Refused as refused:
        return refused.answer
    except PipelineError as error:
        return Refused(500, "pipeline_error", str(error)).answer


@router.get("/backfills/{backfill_id}", dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN, DAG_ID))])
def progress(backfill_id: int) -> JSONResponse:
    """Return the progress of a backfill: a day is done when it is loaded."""
    with create_session() as session:
        backfill = session.get(Backfill, backfill_id)
        if backfill is None or backfill.dag_id != DAG_ID:
            return Refused(404, "not_found", "There is no such backfill.", _detail("id", "is not known")).answer
        request = request_of(backfill)
        days = Days(session, request, request.states(store()))
        return JSONResponse({"backfill_id": backfill_id} | days.progress(what_is_paused(session, backfill)))


@router.get("/backfills", dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN, DAG_ID))])
def find(
    start_date: str,
    end_date: str,
    source: str | None = None,
    resources: str = "",
    reprocess: Reprocess = "none",
) -> JSONResponse:
    """Return the backfill of a request that was started in the last minutes, for a caller that got no answer."""
    names = [name for name in resources.split(",") if name]
    try:
        request = _checked(
            BackfillBody(start_date=start_date, end_date=end_date, source=source, resources=names, reprocess=reprocess)
        )
    except Refused as refused:
        return refused.answer
    with create_session() as session:
        if (backfill_id := last_id(session, request, since=_LATELY)) is not None:
            return JSONResponse(_answer(request, "accepted", backfill_id), 202)
    return Refused(404, "not_found", "No such backfill was started lately.").answer


def _start(
    session: Session, request: BackfillRequest, days: Days, *, wait: bool, user: str, callback_url: str | None
) -> dict[str, Any]:
    others = active(session)
    same = next((backfill for backfill in others if request_of(backfill) == request), None)
    if not days.due and same is None:
        if not all(days.loaded.values()):
            missing = sum(not done for done in days.loaded.values())
            words = f"No day of the range failed; {missing} are not loaded yet: ask with reprocess none."
            raise Refused(409, "nothing_failed", words)
        return _answer(request, "loaded", last_id(session, request))
    if paused := what_is_paused(session, same):
        raise Refused(409, "dag_paused", f"Nothing runs now: {paused}", _detail("dag_id", "is paused"))
    if same is not None:
        return _answer(request, "already_running", same.id)
    if others and not wait:
        running = request_of(others[0])
        raise Refused(
            409,
            "backfill_running",
            'Another backfill is still running; ask again when it is done, or with "wait": true to queue behind it.',
            _detail("dag_id", "is being backfilled") | {"backfill_id": others[0].id} | range_of(running),
        )
    made = create(session, request, days.due, user, callback_url)
    return _answer(request, "queued" if others else "accepted", made.id)


def _checked(body: BackfillBody) -> BackfillRequest:
    try:
        return BackfillRequest.create(body.start_date, body.end_date, body.source, body.resources, body.reprocess)
    except UsageError as error:
        field = "resources" if body.resources else "source"
        field = "start_date" if re.search(r"\d{4}-|date|range", error.what) else field
        message = f"{error.what}; expected {error.expected}" if error.expected else error.what
        refused = Refused(
            400, "invalid_request", "The request is not a valid backfill request.", _detail(field, message)
        )
        raise refused from None


def _check_callback(url: str | None) -> None:
    if url is not None and not is_allowed(url):
        message = f"{urlsplit(url).hostname} is not a host that BACKFILL_CALLBACK_HOSTS allows"
        words = "The request is not a valid backfill request."
        raise Refused(400, "invalid_request", words, _detail("callback_url", message))


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Run one request at a time, in this process and all API servers: the second one sees the result of the first."""
    # a separate connection: a session returns its connection at every commit, and would release the lock
    with _turns, database.get_engine().connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("select pg_advisory_lock(:key)"), {"key": _LOCK_KEY})
        try:
            yield
        finally:
            if connection.dialect.name == "postgresql":
                connection.execute(text("select pg_advisory_unlock(:key)"), {"key": _LOCK_KEY})


def _answer(
    request: BackfillRequest, state: Literal["accepted", "queued", "already_running", "loaded"], backfill_id: int | None
) -> dict[str, Any]:
    return {"backfill_id": backfill_id, "status": state} | about(request)


def _detail(field: str, message: str) -> dict[str, Any]:
    return {"field": field, "message": message}
