"""Backfills of `pipeline_bronze` from Airflow's own form and API: what they ask for is changed to the pipeline's rules.

See `scripts.planning.backfill_request.airflow_body`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from airflow.utils.session import create_session
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from backfill_state import DAG_ID, active, end_stuck
from scripts.errors import UsageError
from scripts.planning.backfill_request import airflow_body

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PATH = re.compile(r"/api/v2/backfills(?P<dry_run>/dry_run)?/?$")


class OwnBackfills:
    """Middleware that changes or refuses a request to create a backfill of `pipeline_bronze`, or its dry run."""

    def __init__(self, app: ASGIApp) -> None:
        """Store the wrapped application."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the application, or answer 422."""
        found = _PATH.search(scope.get("path", ""))
        if scope["type"] != "http" or scope["method"] != "POST" or found is None:
            await self.app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        try:
            document = json.loads(body)
            if isinstance(document, dict) and document.get("dag_id") == DAG_ID:
                body = json.dumps(airflow_body(document)).encode()
                if not found["dry_run"]:
                    await run_in_threadpool(_make_room)
        except UsageError as error:
            await JSONResponse({"detail": str(error)}, 422)(scope, receive, send)
            return
        except ValueError:
            # Airflow itself answers with the error
            pass
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        scope = {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
        replay: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_again() -> Message:
            return replay.pop() if replay else await receive()

        await self.app(scope, receive_again, send)


def _make_room() -> None:
    """Record the end of backfills that have ended, and end runs that would block their days."""
    with create_session() as session:
        active(session)
        end_stuck(session)
