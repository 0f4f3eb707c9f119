"""dbt by hand: any command of dbt on a private copy of the published warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.bronze.schemas import write_schemas
from scripts.config import settings
from scripts.utils.files import make_dir, storage_errors
from scripts.warehouse.build import warehouse
from scripts.warehouse.runner import pass_to_dbt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.bronze.run import Run


def run_dbt_on_copy(run: Run, arguments: Sequence[str], *, version: str = "") -> int:
    """Run any dbt command on a private copy of the published warehouse, and return dbt's exit code.

    The copy is never published. On Spark there is no copy: only with a `version` do commands find what the models read,
    and they must not write to it.
    """
    target = warehouse()
    purpose = f"dbt {' '.join(arguments)} by {run.triggered_by}"
    with storage_errors(target.root), target.building(purpose=purpose, timeout=settings().lock_timeout) as lock:
        write_schemas(run.store)
        if not settings().on_spark:
            target.clone()
            make_dir(target.files(target.next_version()))
        return pass_to_dbt(arguments, target, run.store.location, inherit=[lock], version=version)
