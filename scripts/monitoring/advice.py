"""Advice: how to go on after an alert, in the place where the alert is read."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.monitoring.alerts import Kind

Place = Literal["terminal", "airflow", "prefect", "n8n"]
"""Where the work was started, and where a person goes on."""

_REPLAY = "If the rule is wrong, correct the contract, then run `pipeline quarantine replay` and `pipeline build`."
_RANGE = "start the deployment `range` in Prefect with the same days (*Run*, *Custom run*)"
ADVICE: Mapping[Place, Mapping[Kind, str]] = MappingProxyType(
    {
        "terminal": {
            "task failed": "When the cause is corrected, run the command again; `pipeline backfill` loads only what is"
            " missing.",
            "validation failed": "When the source or the rule is corrected, load the day again with `pipeline run`.",
            "dbt failed": "When the cause is corrected, `pipeline build --retry` resumes the build.",
            "rows quarantined": f"`pipeline quarantine show` lists the rows. {_REPLAY} If the source is wrong, load the"
            " day again with `pipeline run` when it is corrected.",
            "data overdue": "`pipeline due` shows what waits for what; `pipeline reconcile` does what can be done now.",
        },
        "airflow": {
            "task failed": "When the cause is corrected, clear the task in Airflow.",
            "validation failed": "When the source or the rule is corrected, clear `load.ingest` of the day in Airflow.",
            "dbt failed": "When the cause is corrected, clear the task in Airflow: the build goes on where it failed.",
            "run late": "The *Gantt* view of the run in Airflow shows which task takes the time.",
            "data stale": "In Airflow, check that `pipeline_bronze` is on and has runs; *Trigger*, *Backfill* loads"
            " missing days.",
            "data overdue": "In Airflow, check that the DAGs are on; clear a failed task when its cause is corrected;"
            " *Trigger*, *Backfill* of `pipeline_bronze` loads missing days.",
            "rows quarantined": f"{_REPLAY} If the source is wrong, clear `load.ingest` of the day in Airflow when it"
            " is corrected.",
            "ledger": "To load a damaged day again, clear its `load.ingest` in Airflow, then clear this task.",
        },
        "prefect": {
            "task failed": f"When the cause is corrected, {_RANGE}: only what is missing is loaded.",
            "validation failed": f"When the source or the rule is corrected, {_RANGE}.",
            "dbt failed": f"When the cause is corrected, {_RANGE}, or wait for `elt-reconcile`: the build follows.",
            "run late": "The timeline of the run in Prefect shows which task takes the time; *Cancel* ends the run.",
            "data overdue": "In Prefect, check that the schedules of `daily` and `reconcile` are on; the deployment"
            " `range` loads missing days (*Run*, *Custom run*).",
            "rows quarantined": f"{_REPLAY} If the source is wrong, {_RANGE} and `reprocess` when it is corrected.",
        },
        "n8n": {
            "workflow failed": "When the cause is corrected, send the request again: the same request never starts a"
            " second backfill.",
        },
    }
)


def advice(kind: Kind, place: Place) -> str:
    """Return how to go on after an alert of a kind; empty for a kind that the place does not send."""
    return ADVICE[place].get(kind, "")
