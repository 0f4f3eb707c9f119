"""A run: who asked for it, through which door, and where it writes."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import secrets
from typing import TYPE_CHECKING, Self

from scripts.bronze import Store
from scripts.config import settings

if TYPE_CHECKING:
    from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Run:
    """One request to the pipeline.

    Attributes:
        run_id: Identifies the run in logs, ledger and quarantine; sorts by time.
        door: Where the request came in: cli, script, airflow, prefect, n8n.
        store: The Bronze folder.
    """

    run_id: str
    door: str
    store: Store

    @classmethod
    def start(cls, *, door: str = "cli", bronze_dir: Path | None = None, run_id: str | None = None) -> Self:
        """Return a new run; `PIPELINE_RUN_ID` gives it the identity that an orchestrator has chosen."""
        now = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
        name = run_id or os.environ.get("PIPELINE_RUN_ID") or f"{now}-{secrets.token_hex(3)}"
        return cls(name, door, Store(bronze_dir or settings().bronze_path))
