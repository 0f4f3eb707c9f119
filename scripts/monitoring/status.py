"""Status: the row counts of every partition, from the API's own count to Silver, and whether they add up."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, NamedTuple

import pyarrow.parquet as pq

from scripts.bronze.ledger import LedgerEntry, Partition
from scripts.bronze.loaded_contracts import as_of_now, damaged_contracts, outdated_days
from scripts.bronze.store import verify
from scripts.config import settings
from scripts.contracts import catalog
from scripts.errors import PipelineError
from scripts.planning.due import state_of
from scripts.warehouse import build_state, spark_versions
from scripts.warehouse.bucket_access import register_bucket
from scripts.warehouse.build import warehouse
from scripts.warehouse.database import number
from scripts.warehouse.versions import reading

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    import duckdb

    from scripts.bronze.store import Store
    from scripts.contracts.source import Resource, Source


_DAY_OF_FILE = """regexp_extract("file of the partition", 'dt=([0-9-]{10})/[^/]*$', 1)"""


class PartitionStatus(NamedTuple):
    """The row counts of one partition; `silver` counts the rows whose latest version is of its day."""

    source: str
    resource: str
    day: dt.date
    state: str
    declared: int | None
    fetched: int
    bronze: int
    quarantined: int
    silver: int | None
    problem: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class ModelStatus:
    """The row count of one model, and the count that follows from the layer below."""

    model: str
    layer: str
    rows: int
    expected: int | None
    explanation: str
    problem: str = ""


class Status(NamedTuple):
    """The status of the ledger, Bronze and the published warehouse."""

    version: str | None
    partitions: Sequence[PartitionStatus]
    models: Sequence[ModelStatus]
    ledger_problems: Sequence[str] = ()
    """Ledger files that cannot be read, and days that must not be mixed in a build, each with its remedy."""
    notes: Sequence[str] = ()
    """Days that were loaded with another contract and need not be loaded again."""

    @property
    def problems(self) -> Sequence[str]:
        """The problems, as texts."""
        return [
            *self.ledger_problems,
            *(f"{row.source}/{row.resource}/{row.day}: {row.problem}" for row in self.partitions if row.problem),
            *(f"{row.model}: {row.problem}" for row in self.models if row.problem),
        ]


def read_status(store: Store, *, content: bool = False) -> Status:
    """Return the counts of all partitions and models, each checked.

    Args:
        store: The Bronze folder.
        content: Read every Bronze file: compare its hash, and not only its presence and size, and count the keys that
            Silver must have of each day, instead of comparing Silver with the count of the build that published it.
    """
    with store.index() as index:
        sources = catalog.read_all().sources
        entries = list(as_of_now(store, index.entries(), sources))
        problems = [str(problem) for problem in index.problems()]
        outdated = outdated_days(store, sources.values(), index=index)
    if content:
        problems += damaged_contracts(store, entries)
    problems += [f"{days} (next: {days.remedy})" for days in outdated if days.is_conflict]
    notes = [f"{days} (next: {days.remedy})" for days in outdated if not days.is_conflict]
    target, now = warehouse(), dt.datetime.now(dt.UTC)
    is_present = store.presence()
    if settings().on_spark:
        found = spark_versions.published(target)
        held = found.held if found else None
        rows = [_partition(store, sources, entry, held, None, now, is_present, content=content) for entry in entries]
        return Status(found.name if found else None, rows, [], problems, notes)
    if target.current() is None:
        rows = [_partition(store, sources, entry, None, None, now, is_present, content=content) for entry in entries]
        return Status(None, rows, [], problems, notes)
    with reading(target.path) as connection:
        built = build_state.held_partitions(connection)
        silver = _silver_by_day(connection)
        rows = [_partition(store, sources, entry, built, silver, now, is_present, content=content) for entry in entries]
        damaged = {(row.source, row.resource) for row in rows if row.problem}
        models = _models(connection, store, _by_resource(entries, built), damaged, silver, content=content)
    return Status(target.current(), rows, models, problems, notes)


def _partition(
    store: Store,
    sources: Mapping[str, Source],
    entry: LedgerEntry,
    built: Mapping[Partition, str] | None,
    silver: Mapping[Partition, int] | None,
    now: dt.datetime,
    is_present: Callable[[LedgerEntry], bool],
    *,
    content: bool,
) -> PartitionStatus:
    state, partition = str(entry.status), entry.partition
    if state == "validated":
        state = "built" if (built or {}).get(partition) == entry.content_state else "build pending"
        source = sources.get(entry.source)
        if source and entry.resource in source.resources:
            planned = state_of(source, partition, entry, now)
            state += f", {planned}" if planned in {"provisional", "outdated"} else ""
    return PartitionStatus(
        *partition,
        state=state,
        declared=entry.declared,
        fetched=entry.fetched,
        bronze=entry.bronze,
        quarantined=entry.quarantined,
        silver=None if silver is None else silver.get(partition, 0),
        problem=_problem(store, entry, is_present, content=content),
    )


def _problem(store: Store, entry: LedgerEntry, is_present: Callable[[LedgerEntry], bool], *, content: bool) -> str:
    try:
        entry.check()
        if not content and is_present(entry):
            return ""
        entry = verify(store, entry, content=content)
        if not content:
            return ""
        with store.data_file(entry) as data:
            rows = pq.read_metadata(data).num_rows
        kept = len(store.quarantined(entry))
    except PipelineError as error:
        return f"{error.what} (next: {error.hint})" if error.hint else error.what
    except OSError as error:
        return str(error)
    if (rows, kept) != (entry.bronze, entry.quarantined):
        counted = f"{entry.bronze} and {entry.quarantined}"
        return f"files hold {rows} rows and {kept} quarantined ones, the ledger says {counted}"
    return ""


def _silver_by_day(connection: duckdb.DuckDBPyConnection) -> Mapping[Partition, int]:
    counts: dict[Partition, int] = {}
    for model in build_state.counted_models(connection).values():
        if model.source is None or model.resource is None:
            continue
        query = f"select last_seen_date, count(*) from {model.relation} group by all"  # noqa: S608 — a node of the project
        found = connection.execute(query).fetchall()
        counts |= {Partition(model.source, model.resource, day): rows for day, rows in found}
    return counts


class _OfResource(NamedTuple):
    """The partitions of one resource."""

    valid: dict[Partition, LedgerEntry]
    built: dict[Partition, str]

    @property
    def is_built(self) -> bool:
        """Whether Silver was built from the present content of each validated partition, and from no other."""
        return {partition: entry.content_state for partition, entry in self.valid.items()} == self.built


def _by_resource(
    entries: Iterable[LedgerEntry], built: Mapping[Partition, str]
) -> Mapping[tuple[str, str], _OfResource]:
    found: dict[tuple[str, str], _OfResource] = collections.defaultdict(lambda: _OfResource({}, {}))
    for entry in entries:
        if entry.status == "validated":
            found[entry.source, entry.resource].valid[entry.partition] = entry
    for partition, content in built.items():
        found[partition.source, partition.resource].built[partition] = content
    return found


def _models(
    connection: duckdb.DuckDBPyConnection,
    store: Store,
    partitions: Mapping[tuple[str, str], _OfResource],
    damaged: Collection[tuple[str, str]],
    silver: Mapping[Partition, int],
    *,
    content: bool,
) -> Sequence[ModelStatus]:
    rows = []
    counted = build_state.counted_models(connection).values()
    for model in sorted(sorted(counted, key=lambda found: found.model), key=lambda found: found.layer, reverse=True):
        count = number(connection, f"select count(*) from {model.relation}")  # noqa: S608 — a node of the project
        expected, explanation, other_day = model.expected_row_count, model.expected_rows_reason or "", ""
        if (model.source, model.resource) in damaged:
            expected, explanation = None, "not counted: a Bronze file is damaged"
        elif model.source is not None and model.resource is not None:
            of_resource = partitions[model.source, model.resource]
            if not of_resource.is_built:
                expected, explanation = None, "build pending"
            elif content:
                keys = _keys_by_last_day(connection, store, of_resource.valid, model.source, model.resource)
                expected = None if keys is None else sum(keys.values())
                explanation = "distinct keys in Bronze"
                other_day = _other_day(keys or {}, silver, model.source, model.resource)
            else:
                expected, explanation = model.row_count, "rows that the build counted"
        problem = f"{count} rows, expected {expected}: {explanation}" if expected not in (None, count) else other_day
        rows.append(ModelStatus(model.model, model.layer, count, expected, explanation, problem))
    return rows


def _keys_by_last_day(
    connection: duckdb.DuckDBPyConnection,
    store: Store,
    valid: Mapping[Partition, LedgerEntry],
    source: str,
    name: str,
) -> Mapping[dt.date, int] | None:
    """Return the number of keys in the Bronze files of a resource by the last day of each; None without a contract."""
    paths = [store.data_place(entry) for entry in valid.values()]
    resource: Resource | None = _resource(source, name)
    if resource is None or not paths:
        return {} if resource is not None else None
    import duckdb  # noqa: PLC0415 — slow to import, and few commands need it

    register_bucket(connection, store.location)
    key = ", ".join(_key_expression(column, resource) for column in resource.primary_key)
    # the day is read from the file's own folder, since other folders of its path may hold a `=` too
    query = (
        f"select last_day, count(*) from (select max({_DAY_OF_FILE}) as last_day from read_parquet(?,"  # noqa: S608 — columns of a checked contract
        f" hive_partitioning = false, filename = 'file of the partition', union_by_name = true) group by {key})"
        " group by last_day"
    )
    try:
        return {dt.date.fromisoformat(day): keys for day, keys in connection.execute(query, [paths]).fetchall()}
    except duckdb.Error:
        # it cannot read one of the files: name it
        for entry in valid.values():
            verify(store, entry)
        raise


def _other_day(keys: Mapping[dt.date, int], silver: Mapping[Partition, int], source: str, resource: str) -> str:
    """Return the first day of which Silver has too few or too many rows; empty if there is none."""
    rows = {partition.day: n for partition, n in silver.items() if partition[:2] == (source, resource)}
    for day in sorted({*keys, *rows}):
        if rows.get(day, 0) != keys.get(day, 0):
            return (
                f"{rows.get(day, 0)} rows are of {day}, expected {keys.get(day, 0)}: the keys in Bronze whose last day"
                " it is (next: `pipeline build --full-refresh`)"
            )
    return ""


def _key_expression(name: str, resource: Resource) -> str:
    if name == "dt":
        return _DAY_OF_FILE
    if (was := resource.column(name).was) is None:
        return f'"{name}"'
    # days that were loaded before hold it under its old name
    return f"coalesce(*columns(lambda column: column in ('{name}', '{was}')))"


def _resource(source: str, name: str) -> Resource | None:
    known = catalog.read_all().sources.get(source)
    return known.resources.get(name) if known else None
