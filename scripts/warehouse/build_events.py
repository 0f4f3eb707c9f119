"""Run events of a build: of the build, of each model that it made, and of the tests of each model."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from scripts.errors import WarehouseError
from scripts.run_events.partitions import bronze_dataset
from scripts.run_events.run_event import (
    Check,
    Dataset,
    Field,
    Origin,
    RunEvent,
    Task,
    about_error,
    new_task,
    request_task,
    tags_of,
)
from scripts.run_events.sending import is_on, send
from scripts.security.outside_text import one_line
from scripts.utils.logging_config import get_logger
from scripts.warehouse import build_state
from scripts.warehouse.database import reading
from scripts.warehouse.kept_manifest import KeptManifest
from scripts.warehouse.manifest import description_of, is_bronze
from scripts.warehouse.project_reading import last_project
from scripts.warehouse.runner import BAD_STATUSES, DbtFailedError, target_dir

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from scripts.bronze.run import Run
    from scripts.run_events.run_event import State
    from scripts.warehouse.column_origins import Kind
    from scripts.warehouse.project import Project
    from scripts.warehouse.runner import NodeResult
    from scripts.warehouse.versions import Warehouse

_log = get_logger("openlineage")
_MADE = {"model", "seed", "snapshot"}
_GOOD = {"success", "pass"}
_KINDS: Mapping[Kind, Literal["IDENTITY", "TRANSFORMATION", "AGGREGATION"]] = {
    "same": "IDENTITY",
    "computed": "TRANSFORMATION",
    "aggregated": "AGGREGATION",
    "rows": "AGGREGATION",
}


class _Made(NamedTuple):
    """What the build's file holds of a table."""

    rows: int | None
    columns: tuple[tuple[str, str], ...]


class BuildEvents:
    """Sends the events of one build."""

    def __init__(self, run: Run, target: Warehouse, before: Sequence[NodeResult]) -> None:
        """Keep what the events are about; `before` are the results of the build that this one resumes."""
        self._run, self._target, self._before = run, target, set(before)
        self._task = new_task("build")
        self._started = dt.datetime.now(dt.UTC)
        self._send([self._of_build("START", self._started)])

    def done(self, results: Sequence[NodeResult], version: str | None) -> None:
        """Tell that the build has ended, and what it made."""
        file = self._target.build_path if version is None else self._target.file(version)
        self._end("COMPLETE", results, file, "")

    def failed(self, error: BaseException) -> None:
        """Tell that the build has failed, and which models and tests ran before."""
        results = error.results if isinstance(error, DbtFailedError) else ()
        self._end("FAIL", results, self._target.build_path, about_error(error))

    def _end(self, state: State, results: Sequence[NodeResult], file: Path, error: str) -> None:
        if not is_on():
            return
        ended = dt.datetime.now(dt.UTC)
        ran = [result for result in results if result not in self._before and result.status != "skipped"]
        try:
            # not in the background: the next build changes the files that this reads
            events = self._of_nodes(ran, file, ended)
        except Exception as problem:  # noqa: BLE001 — events never fail the work that they are about
            _log.warning("no events about models are sent: %s", one_line(repr(problem)))
            events = []
        self._send([*events, self._of_build(state, ended, error)])

    def _of_nodes(self, ran: Sequence[NodeResult], file: Path, ended: dt.datetime) -> list[RunEvent]:
        project = last_project(self._target)
        if project is None or not ran:
            return []
        return _Nodes(project, self._target, _made(file), self._run, self._task, self._started, ended).events(ran)

    def _of_build(self, state: State, at: dt.datetime, error: str = "") -> RunEvent:
        request = request_task(self._run)
        return RunEvent(state, self._task, "BUILD", at, (request,), error=error, tags=tags_of(self._run))

    @staticmethod
    def _send(events: Sequence[RunEvent]) -> None:
        send(lambda: events)


@contextlib.contextmanager
def telling(run: Run, target: Warehouse, before: Sequence[NodeResult]) -> Iterator[BuildEvents]:
    """Yield what sends the events of the build in the block, which has started; an error ends it as failed."""
    events = BuildEvents(run, target, before)
    try:
        yield events
    except BaseException as error:
        events.failed(error)
        raise


class _Nodes:
    """Makes the events of the models and tests of a build."""

    def __init__(
        self,
        project: Project,
        target: Warehouse,
        made: Mapping[str, _Made],
        run: Run,
        build: Task,
        started: dt.datetime,
        ended: dt.datetime,
    ) -> None:
        self._project, self._made, self._run, self._build = project, made, run, build
        self._kept = msgspec.json.decode(project.kept, type=KeptManifest)
        self._times = _times(target, started, ended)
        self._span = started, ended
        self._namespace = f"duckdb://{target.path}"
        self._database = target.path.stem
        self._bronze = run.store.location

    def events(self, results: Sequence[NodeResult]) -> list[RunEvent]:
        """Return the start and the end of each model, and of the tests of each model."""
        found: list[RunEvent] = []
        for result in results:
            if result.kind in _MADE and result.id in self._project.nodes:
                found += self._of_model(result)
        tests: dict[str, list[NodeResult]] = {}
        for result in results:
            if (node := self._tested(result)) is not None:
                tests.setdefault(node, []).append(result)
        for node, of_node in tests.items():
            found += self._of_tests(node, of_node)
        return found

    def _of_model(self, result: NodeResult) -> list[RunEvent]:
        node = self._project.nodes[result.id]
        task = new_task(f"build.{node.schema}.{node.identifier}")
        inputs = (
            *(bronze_dataset(self._bronze, source, resource) for source, resource in node.resources),
            *(self._table(parent) for parent in node.parents if parent in self._project.nodes),
        )
        output = self._table(result.id, is_written=result.status in _GOOD)
        start, end = self._times.get(result.id, self._span)
        error = f"dbt: {result.kind} `{result.name}` ended with status {result.status}"
        return self._pair(task, "MODEL", (start, end), inputs, (output,), "" if result.status in _GOOD else error)

    def _of_tests(self, node: str, results: Sequence[NodeResult]) -> list[RunEvent]:
        place = self._project.nodes[node]
        task = new_task(f"test.{place.schema}.{place.identifier}")
        checks = tuple(self._check(result) for result in results)
        times = [self._times.get(result.id, self._span) for result in results]
        span = min(start for start, _ in times), max(end for _, end in times)
        bad = [result.name for result in results if result.status in BAD_STATUSES]
        error = f"dbt: {len(bad)} tests failed, such as `{bad[0]}`" if bad else ""
        return self._pair(task, "TEST", span, (self._table(node, checks=checks),), (), error)

    def _pair(
        self,
        task: Task,
        job_type: str,
        span: tuple[dt.datetime, dt.datetime],
        inputs: tuple[Dataset, ...],
        outputs: tuple[Dataset, ...],
        error: str,
    ) -> list[RunEvent]:
        parents, tags = (self._build, request_task(self._run)), tags_of(self._run)
        description = outputs[0].description if outputs else ""
        end: State = "FAIL" if error else "COMPLETE"
        return [
            RunEvent("START", task, job_type, span[0], parents, description, inputs, outputs, tags=tags),
            RunEvent(end, task, job_type, span[1], parents, description, inputs, outputs, error=error, tags=tags),
        ]

    def _table(self, unique_id: str, *, is_written: bool = False, checks: tuple[Check, ...] = ()) -> Dataset:
        node = self._project.nodes[unique_id]
        made = self._made.get(f"{node.schema}.{node.identifier}", _Made(None, ()))
        described = self._kept.nodes.get(unique_id, {})
        about = {name.lower(): column for name, column in (described.get("columns") or {}).items()}
        return Dataset(
            self._namespace,
            f"{self._database}.{node.schema}.{node.identifier}",
            description_of(described),
            fields=tuple(
                Field(name, kind.lower(), (about.get(name.lower()) or {}).get("description") or "")
                for name, kind in made.columns
            ),
            origins=self._origins(unique_id) if is_written else {},
            rows=made.rows if is_written or checks else None,
            checks=checks,
        )

    def _origins(self, unique_id: str) -> Mapping[str, tuple[Origin, ...]]:
        known = self._kept.columns.get(unique_id)
        found = {
            column: tuple(
                Origin(*place, item.column, _KINDS[item.kind])
                for item in origin.inputs
                if item.column is not None and (place := self._place(item.node)) is not None
            )
            for column, origin in (known.columns if known else {}).items()
        }
        return {column: origins for column, origins in found.items() if origins}

    def _place(self, unique_id: str) -> tuple[str, str] | None:
        """Return the namespace and name of what a node or source of dbt stands for."""
        if (node := self._project.nodes.get(unique_id)) is not None:
            return self._namespace, f"{self._database}.{node.schema}.{node.identifier}"
        if (source := self._kept.sources.get(unique_id)) is not None and is_bronze(source):
            bronze = bronze_dataset(self._bronze, source["source_name"], source["name"])
            return bronze.namespace, bronze.name
        return None

    def _tested(self, result: NodeResult) -> str | None:
        test = self._project.tests.get(result.id)
        if test is None:
            return None
        attached = self._kept.nodes.get(result.id, {}).get("attached_node")
        return attached if attached in self._project.nodes else next(iter(test.parents), None)

    def _check(self, result: NodeResult) -> Check:
        about = self._kept.nodes.get(result.id, {})
        kind = (about.get("test_metadata") or {}).get("name") or result.name
        severity = str((about.get("config") or {}).get("severity") or "").lower()
        return Check(result.name, kind, result.status in _GOOD, about.get("column_name") or "", severity)


def _made(file: Path) -> Mapping[str, _Made]:
    """Return the rows and columns of each table and view of a warehouse, by `schema.name`; empty without a file."""
    try:
        with reading(file) as connection:
            counts = build_state.counted_models(connection).values()
            counted = {found.relation.replace('"', ""): found.row_count for found in counts}
            columns: dict[str, list[tuple[str, str]]] = {}
            query = "select table_schema || '.' || table_name, column_name, data_type from information_schema.columns"
            for table, name, kind in connection.execute(f"{query} order by ordinal_position").fetchall():
                columns.setdefault(table, []).append((name, kind))
    except WarehouseError:
        return {}
    return {table: _Made(counted.get(table), tuple(found)) for table, found in columns.items()}


def _times(
    target: Warehouse, started: dt.datetime, ended: dt.datetime
) -> Mapping[str, tuple[dt.datetime, dt.datetime]]:
    """Return when dbt started and ended each node and test, as far as the last command of dbt ran it in this build."""
    try:
        results = json.loads((target_dir(target) / "run_results.json").read_bytes())["results"]
    except (OSError, ValueError, KeyError):
        return {}
    found = {}
    for result in results:
        moments = [
            dt.datetime.fromisoformat(part[key])
            for part in result["timing"]
            for key in ("started_at", "completed_at")
            if part.get(key)
        ]
        if moments and started <= min(moments) and max(moments) <= ended:
            found[result["unique_id"]] = min(moments), max(moments)
    return found
