"""The callback of a backfill: posts its progress, when it ends, to the address that came with the request."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from scripts.config import settings

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

_log = logging.getLogger("pipeline.airflow")
_TRIES, _WAIT_SECONDS, _TIMEOUT_SECONDS = 3, 5, 10
_SETTLE_SECONDS = 30
"""How long to wait until the database shows the end of the last run."""


def is_allowed(url: str) -> bool:
    """Return whether the settings allow calls to this address: its host is in `BACKFILL_CALLBACK_HOSTS`."""
    return (urlsplit(url).hostname or "") in settings().backfill_callback_hosts


def tell_if_over(dag_run: DagRun) -> None:
    """Call the callback address of a run's backfill in a new thread, if this was the last run of the backfill."""
    url = (dag_run.conf or {}).get("callback_url")
    if dag_run.backfill_id is None or not isinstance(url, str) or not is_allowed(url):
        return
    threading.Thread(target=_tell, args=(dag_run.backfill_id, url), name="backfill callback", daemon=True).start()


def _tell(backfill_id: int, url: str) -> None:
    for _ in range(_SETTLE_SECONDS):
        document = _progress(backfill_id)
        if document is None or document["progress"]["queued"] + document["progress"]["running"] > 1:
            return
        if document["status"] in {"done", "failed"}:
            _post(url, document)
            return
        time.sleep(1)


def _progress(backfill_id: int) -> dict[str, Any] | None:
    from airflow.models.backfill import Backfill
    from airflow.utils.session import create_session

    from backfill_state import Days, request_of, store

    with create_session() as session:
        backfill = session.get(Backfill, backfill_id)
        if backfill is None:
            return None
        request = request_of(backfill)
        days = Days(session, request, request.states(store()))
        return {"backfill_id": backfill_id} | days.progress("")


def _post(url: str, document: dict[str, Any]) -> None:
    for attempt in range(_TRIES):
        try:
            answer = requests.post(url, json=document, timeout=_TIMEOUT_SECONDS, allow_redirects=False)
        except requests.RequestException as error:
            found = type(error).__name__
        else:
            if answer.ok:
                return
            found = f"HTTP {answer.status_code}"
        _log.warning("backfill %s: the callback failed: %s", document["backfill_id"], found)
        if attempt + 1 < _TRIES:
            time.sleep(_WAIT_SECONDS)
