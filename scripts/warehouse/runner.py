"""Runs dbt in a separate process: gives it a clean environment, logs its events, and checks its results."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from scripts.config import settings
from scripts.errors import (
    KilledError,
    MemoryLimitError,
    SettingsError,
    TransientError,
    UsageError,
    WarehouseError,
)
from scripts.utils.logging_config import get_logger
from scripts.warehouse.bucket_access import connection_for_dbt
from scripts.warehouse.database import disk_full, is_disk_full
from scripts.warehouse.failure_messages import describe_failures, one_line
from scripts.warehouse.process import Command, prepare, run_in_terminal, running
from scripts.warehouse.project import named_variables
from scripts.warehouse.pseudonyms import pseudonym_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from scripts.warehouse.versions import Warehouse

_log = get_logger("dbt")
BAD_STATUSES = frozenset({"error", "fail", "runtime error"})
"""The statuses by which dbt reports that a node failed."""
_KILLS = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM})
_HANDED_ON = frozenset(
    [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "TMPDIR",
        "TERM",
        "NO_COLOR",
        "COLUMNS",
        "PYTHONUTF8",
        "LD_LIBRARY_PATH",
        "JAVA_HOME",
    ]
)
"""Variables that dbt gets in addition to its own; it gets no other, so that no model or contract can read a secret."""
_NODE_ENDS = {"LogModelResult", "LogTestResult", "LogSnapshotResult", "LogUnitTestResult", "LogSeedResult"}
_BUILT_TYPES = ("model", "seed", "snapshot")
_KEPT_VARIABLES = re.compile(r"DBT_ENV_")
_UNREACHABLE = re.compile(
    r"failed to connect|Could not connect|TTransportException|Connection reset|Broken pipe", re.IGNORECASE
)
"""What dbt-spark says if the Thrift server does not answer, or no longer does."""

DbtMode = Literal["", "build", "fingerprint", "whole"]
"""How dbt's macros work: `build` follows the plan of a build, `fingerprint` only compiles, `whole` (on Spark) builds
everything from all partitions, empty is plain dbt."""


class NodeResult(NamedTuple):
    """The result of one node or test."""

    name: str
    kind: str
    status: str
    seconds: float
    message: str
    id: str = ""
    """dbt's `unique_id`."""
    rows: str = ""
    """For a failed test, a few of the rows that it found; values of sensitive columns are masked."""


class DbtFailedError(WarehouseError):
    """A model, a test or dbt itself failed."""

    def __init__(self, message: str, results: Sequence[NodeResult] = (), *, hint: str = "") -> None:
        """Create the error; `results` are the results of the nodes that ran."""
        super().__init__(message, where="dbt", hint=hint)
        self.results = results

    @property
    def failed_node(self) -> str:
        """Dbt's `unique_id` of the first model or test that failed; empty if dbt itself failed."""
        return next((result.id for result in self.results if result.status in BAD_STATUSES), "")

    def add_rows(self, results: Sequence[NodeResult]) -> None:
        """Add to the message the rows that failed tests found."""
        for result in results:
            if result.rows:
                self.what += f"; rows of `{result.name}`: {result.rows}"


def target_dir(warehouse: Warehouse) -> Path:
    """Return the folder of dbt's own files; it is kept between builds, so that dbt parses only changed files."""
    return warehouse.root / ("dbt-spark" if settings().on_spark else "dbt")


def run_dbt(
    arguments: Sequence[str],
    warehouse: Warehouse,
    bronze: str,
    *,
    mode: DbtMode = "build",
    inherit: Sequence[int] = (),
    version: str = "",
    told: list[str] | None = None,
) -> Sequence[NodeResult]:
    """Run dbt on the build, log the result of each node, and return the results.

    Args:
        arguments: The command line after `dbt`.
        warehouse: The warehouse whose build file dbt writes.
        bronze: The folder or URL of Bronze, which the models read.
        mode: How the macros of the project work.
        inherit: File descriptors that dbt inherits and keeps open, such as the builder's lock.
        version: On Spark, the version that dbt builds.
        told: A list for the messages of macros.

    Raises:
        DbtFailedError: A model or test failed; the message names each, with file, line and reason.
        KilledError: dbt was killed.
        StorageFullError: The disk is full.
        TransientError: Spark cannot be reached.
        SettingsError: The environment of dbt for Spark is not installed.
    """
    target = target_dir(warehouse)
    target.mkdir(parents=True, exist_ok=True)
    results_file = target / "run_results.json"
    results_file.unlink(missing_ok=True)
    complaints: list[str] = []
    logged = [*arguments, "--log-format", "json", "--log-level", "info", "--log-level-file", "none"]
    with running(_command(logged, warehouse, bronze, inherit, mode, version)) as process:
        for event in _events(process.stdout or ()):
            _log_event(event, complaints, [] if told is None else told)
        code = process.wait()
    results = read_results(results_file) if results_file.exists() else []
    bad = [result for result in results if result.status in BAD_STATUSES]
    if code == 0 and not bad:
        return results
    text = " ".join([*complaints, *(result.message for result in bad)])
    if is_disk_full(text):
        raise disk_full(warehouse.root)
    if -code in _KILLS:
        raise KilledError(
            f"dbt was killed ({signal.Signals(-code).name}); the kernel does so if memory runs out",
            where="dbt",
            hint="`pipeline build`; if it is killed again, lower DUCKDB_MEMORY_LIMIT or give it more memory;"
            " the published version has not changed",
        )
    message, hint = describe_failures(bad, complaints, code, target)
    if settings().on_spark and _UNREACHABLE.search(text):
        raise TransientError(
            f"Spark cannot be reached: {message}",
            where="dbt",
            hint="start its Thrift server, or correct SPARK_HOST and SPARK_PORT; the published version has not changed",
        )
    if "Out of Memory Error" in text:
        raise MemoryLimitError(
            f"the build needs more memory: {message}",
            where="dbt",
            hint="raise DUCKDB_MEMORY_LIMIT, then `pipeline build`; the published version has not changed",
        )
    raise DbtFailedError(message, results, hint=hint)


def prepare_dbt(warehouse: Warehouse, bronze: str) -> None:
    """Let dbt's process start, which takes more than a second, while the caller does other work."""
    prepare(environment(warehouse, bronze, "build"))


def pass_to_dbt(
    arguments: Sequence[str],
    warehouse: Warehouse,
    bronze: str,
    *,
    mode: DbtMode = "",
    inherit: Sequence[int] = (),
    version: str = "",
) -> int:
    """Run any dbt command with the input and output of this terminal, and return its exit code."""
    return run_in_terminal(_command(arguments, warehouse, bronze, inherit, mode, version))


def list_nodes(
    selectors: Sequence[str], warehouse: Warehouse, bronze: str, *, inherit: Sequence[int] = ()
) -> frozenset[str]:
    """Return the `unique_id` of each node that selectors in dbt's syntax select, such as `stg_events+`; none without.

    Raises:
        UsageError: They select no node, or are not valid.
    """
    if not selectors:
        return frozenset()
    arguments = ["ls", "--quiet", "--output", "json", "--output-keys", "unique_id", "--resource-types", *_BUILT_TYPES]
    arguments += ["--select", *selectors, "--log-level-file", "none"]
    with running(_command(arguments, warehouse, bronze, inherit, "build")) as process:
        lines = [line for line in process.stdout or () if line.strip()]
        process.wait()
    found = {event.get("unique_id", "") for event in _events(lines)} - {""}
    if not found:
        said = one_line(" ".join(lines)) if lines else "no node has such a name, path or tag"
        raise UsageError(f"--select {' '.join(selectors)} selects no node: {said}", hint="`pipeline dbt ls`")
    return frozenset(found)


def read_results(path: Path) -> Sequence[NodeResult]:
    """Return the results of the nodes and tests in a `run_results.json`."""
    return [
        NodeResult(
            name=_node_name(result["unique_id"]),
            kind=result["unique_id"].partition(".")[0],
            status=result["status"],
            seconds=result["execution_time"],
            message=one_line(result.get("message") or ""),
            id=result["unique_id"],
        )
        for result in json.loads(path.read_text())["results"]
        # dbt logs why the macro of `run-operation` failed, and its result has no message
        if not result["unique_id"].startswith("macro.")
        and (
            not result["unique_id"].startswith(("exposure.", "saved_query.", "operation."))
            or result["status"] in BAD_STATUSES
        )
    ]


def _command(
    arguments: Sequence[str],
    warehouse: Warehouse,
    bronze: str,
    inherit: Sequence[int],
    mode: DbtMode,
    version: str = "",
) -> Command:
    variables = environment(warehouse, bronze, mode) | ({"SPARK_VERSION": version} if version else {})
    return Command(arguments, settings().dbt_dir, variables, inherit, _python())


def _python() -> str | None:
    """Return the Python that has dbt for Spark; None if the target is DuckDB, whose dbt our own has."""
    if not settings().on_spark:
        return None
    path = settings().spark_python
    if not path.exists():
        raise SettingsError(
            f"SPARK_PYTHON={path} does not exist",
            expected="the Python of an environment with dbt-spark",
            hint="`make setup-spark` creates one in infra/spark/.venv",
        )
    return str(path)


def environment(warehouse: Warehouse, bronze: str, mode: DbtMode = "") -> dict[str, str]:
    """Return the environment variables of dbt; a variable that the project itself defines starts with `DBT_`.

    In a build, dbt gets such a variable only if a file of the project names it. So no variable can make dbt leave out
    or change nodes or tests.
    """
    config, target = settings(), target_dir(warehouse)
    named = named_variables() if mode else set()
    kept = {
        key: value
        for key, value in os.environ.items()
        if key in _HANDED_ON or (key.startswith("DBT_") and (not mode or key in named or _KEPT_VARIABLES.match(key)))
    }
    return kept | {
        "DBT_PROJECT_DIR": str(config.dbt_dir),
        "DBT_PROFILES_DIR": str(config.dbt_dir),
        "DBT_TARGET_PATH": str(target),
        "DBT_LOG_PATH": str(target / "logs"),
        "WAREHOUSE_BUILD": str(warehouse.build_path),
        "WAREHOUSE_FILES": str(warehouse.files(warehouse.next_version())),
        "BRONZE_DIR": bronze,
        "PIPELINE_DBT_MODE": mode,
        "DBT_TARGET": config.dbt_target,
        "DUCKDB_MEMORY_LIMIT": config.duckdb_memory_limit,
        "DUCKDB_THREADS": str(config.duckdb_threads),
        "DUCKDB_TEMP_DIR": str(warehouse.scratch),
        "DBT_ENV_SECRET_PSEUDONYM_KEY": pseudonym_key(),
        "DBT_ENV_SECRET_BUCKET": connection_for_dbt(bronze),
        "DUCKDB_ALLOWED_DIRS": ",".join(map(str, config.duckdb_allowed_dirs)),
        "SPARK_HOST": config.spark_host,
        "SPARK_PORT": str(config.spark_port),
        "SPARK_BRONZE_URL": config.spark_bronze_url or _url_on_spark(bronze),
        "SPARK_WAREHOUSE": str(warehouse.root / "spark"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }


def _url_on_spark(bronze: str) -> str:
    """Return the URL of Bronze by which Spark reads it, if it has the client and the keys of the bucket."""
    return bronze.replace("s3://", "s3a://", 1) if "://" in bronze else f"file://{bronze}"


def _events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            yield {"info": {"level": "info", "msg": line.strip(), "name": "text"}, "data": {}}


def _log_event(event: dict[str, Any], complaints: list[str], told: list[str]) -> None:
    info, data = event.get("info", {}), event.get("data", {})
    message = one_line(str(info.get("msg", "")))
    if info.get("name") in _NODE_ENDS:
        _log_node(data)
    elif info.get("name") == "JinjaLogInfo":
        told.append(str(data.get("msg", "")))
    elif info.get("level") == "error":
        complaints.append(message)
        _log.debug("%s", message)
    elif info.get("level") == "warn" and message:
        _log.warning("%s", message)
    else:
        _log.debug("%s", message)


def _log_node(data: dict[str, Any]) -> None:
    node = data.get("node_info") or {}
    status, seconds = str(data.get("status")), float(data.get("execution_time", 0))
    status = "success" if status == "OK" else status
    level = "error" if status.lower() in BAD_STATUSES else "warning" if status.lower() == "warn" else "info"
    _log.log(
        {"error": 40, "warning": 30, "info": 20}[level],
        "%s %s %s in %.2f s",
        node.get("resource_type", "test"),
        _node_name(node["unique_id"]) if "unique_id" in node else data.get("name"),
        status,
        seconds,
        extra={"node": node.get("unique_id"), "status": status, "seconds": round(seconds, 3)},
    )


def _node_name(unique_id: str) -> str:
    # the identifier of a test ends in a hash; a unit test is named by its model and its own name
    kind, _, *names = unique_id.split(".")
    return ".".join(names) if kind == "unit_test" else names[0]
