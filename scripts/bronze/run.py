"""A run: its id, its entry point, and the Bronze store that it writes to."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import secrets
from typing import TYPE_CHECKING, Self

from scripts.bronze.stores import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.bronze.store import Store

RECONCILE = "reconcile"
"""The entry point of every reconciling run: of the command, of Airflow's DAG and of Prefect's flow."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One request to the pipeline.

    Attributes:
        run_id: Identifies the run in logs, ledger and quarantine; sorts by time.
        triggered_by: The entry point of the request: cli, script, airflow, prefect, reconcile.
        store: The Bronze store.
    """

    run_id: str
    triggered_by: str
    store: Store

    @classmethod
    def create(cls, *, triggered_by: str = "cli", bronze_dir: Path | None = None, run_id: str | None = None) -> Self:
        """Return a new run; an orchestrator can set its id with `PIPELINE_RUN_ID`."""
        now = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
        name = run_id or os.environ.get("PIPELINE_RUN_ID") or f"{now}-{secrets.token_hex(3)}"
        return cls(name, triggered_by, open_store(bronze_dir))
