"""The doctor's checks of Spark, if the models are built there: dbt's environment, and the Thrift server."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from scripts.admin.check_result import CheckResult
from scripts.config import settings

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS = 10


def examine_spark() -> Sequence[CheckResult]:
    """Return the findings; none if the models are built by DuckDB."""
    target = settings().dbt_target
    checks = {"spark": (_client, _server), "spark_session": (_client,)}
    return [check() for check in checks.get(target, ())]


def _client() -> CheckResult:
    path = settings().spark_python
    return CheckResult(
        "dbt for Spark",
        ok=path.exists(),
        found=f"SPARK_PYTHON={path} {'exists' if path.exists() else 'does not exist'}",
        fix="`make setup-spark`, or set SPARK_PYTHON to the Python of an environment with dbt-spark",
    )


def _server() -> CheckResult:
    host, port = settings().spark_host, settings().spark_port
    try:
        socket.create_connection((host, port), timeout=_SECONDS).close()
    except OSError as error:
        found, fix = f"{host}:{port} does not answer: {error}", "start it, or correct SPARK_HOST and SPARK_PORT"
        return CheckResult("Spark's Thrift server", ok=False, found=found, fix=fix)
    return CheckResult("Spark's Thrift server", ok=True, found=f"{host}:{port} answers")
