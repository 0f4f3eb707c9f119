"""Run events of the work on one partition: its load and its validation."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scripts.run_events.run_event import (
    Check,
    Dataset,
    Field,
    Origin,
    RunEvent,
    about_error,
    new_task,
    request_task,
    tags_of,
)
from scripts.run_events.sending import send, sending

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.bronze.ledger import LedgerEntry, Partition
    from scripts.bronze.run import Run
    from scripts.contracts.column import Column
    from scripts.contracts.source import Resource, Source
    from scripts.run_events.run_event import State, Task

_EXTRA = (
    Field("_extra", "json", "Fields that the contract does not name."),
    Field("_row", "integer", "Position of the row among all that the source sent for the day."),
)


class PartitionEvents:
    """Sends the events of the work on one partition."""

    def __init__(self, source: Source, partition: Partition, run: Run, base_url: str) -> None:
        """Keep what the events are about. `base_url` is the address of the source that the run uses."""
        self._source, self._partition, self._run, self._base_url = source, partition, run, base_url
        self._open: tuple[Task, str] | None = None

    @property
    def _resource(self) -> Resource:
        return self._source.resources[self._partition.resource]

    def start(self, kind: str) -> None:
        """Tell that a load (`ingest`), a validation (`validate`) or a replay of quarantined rows (`replay`) starts."""
        task = new_task(f"{kind}.{self._partition.source}.{self._partition.resource}")
        self._open = task, kind
        self._send("START", task, kind, None)

    def loaded(self, entry: LedgerEntry) -> None:
        """Tell that the load or replay is committed."""
        self._end("COMPLETE", entry)

    def validated(self, entry: LedgerEntry) -> None:
        """Tell how the validation ended; it is told as a run of its own, also if it was part of the load."""
        if self._open is None:
            self.start("validate")
        self._end("FAIL" if entry.status == "failed" else "COMPLETE", entry)

    def failed(self, error: BaseException) -> None:
        """Tell that the work that was told to have started has failed; nothing happens if it has ended."""
        self._end("FAIL", None, about_error(error))

    def _end(self, state: State, entry: LedgerEntry | None, error: str = "") -> None:
        if self._open is None:
            return
        (task, kind), self._open = self._open, None
        if state == "FAIL" and not error:
            error = "rows break a rule of severity `fail`"
        self._send(state, task, kind, entry, error)

    def _send(self, state: State, task: Task, kind: str, entry: LedgerEntry | None, error: str = "") -> None:
        now = dt.datetime.now(dt.UTC)

        def make() -> list[RunEvent]:
            described = {"ingest": _of_load, "validate": _of_validation, "replay": _of_replay}[kind]
            location = self._run.store.location
            inputs, outputs = described(self._source, self._resource, self._partition, location, self._base_url, entry)
            event = RunEvent(
                state,
                task,
                kind.upper(),
                now,
                (request_task(self._run),),
                self._resource.description,
                inputs,
                outputs,
                self._partition.day,
                error,
                tags_of(self._run),
            )
            return [event]

        send(make)


@contextlib.contextmanager
def telling(source: Source, partition: Partition, run: Run, base_url: str = "") -> Iterator[PartitionEvents]:
    """Yield what sends the events of the work in the block; if the block fails, the started work is told as failed."""
    events = PartitionEvents(source, partition, run, base_url)
    with sending():
        try:
            yield events
        except BaseException as error:
            events.failed(error)
            raise


def bronze_dataset(location: str, source: str, resource: str) -> Dataset:
    """Return the rows of a resource in Bronze."""
    return Dataset(*_name(location, source, resource), file_format="parquet")


def _name(location: str, *names: str) -> tuple[str, str]:
    """Return namespace and name of a folder in Bronze; OpenLineage names a bucket in the namespace."""
    place = "/".join((location, *names))
    if "://" not in location:
        return "file", place
    scheme, _, rest = place.partition("://")
    bucket, _, name = rest.partition("/")
    return f"{scheme}://{bucket}", name


def _of_load(
    source: Source, resource: Resource, partition: Partition, location: str, base_url: str, entry: LedgerEntry | None
) -> tuple[tuple[Dataset, ...], tuple[Dataset, ...]]:
    api = _api_dataset(resource, partition, str(resource.base_url or base_url), entry)
    origins = {
        column.name: (
            Origin(
                api.namespace,
                api.name,
                column.field or column.name,
                "TRANSFORMATION" if column.is_converted else "IDENTITY",
            ),
        )
        for column in resource.columns
    }
    bronze = Dataset(
        *_name(location, source.source, partition.resource),
        resource.description,
        source.owner,
        "parquet",
        entry.content_hash if entry else "",
        (*(_field(column.name, column) for column in resource.columns), *_EXTRA),
        origins,
        entry.bronze if entry else None,
        entry.bytes if entry else None,
    )
    return (api,), (bronze, _quarantine_dataset(partition, location, entry))


def _of_validation(
    source: Source, resource: Resource, partition: Partition, location: str, base_url: str, entry: LedgerEntry | None
) -> tuple[tuple[Dataset, ...], tuple[Dataset, ...]]:
    (_, (bronze, quarantine)) = _of_load(source, resource, partition, location, base_url, entry)
    broken = {note.rule: note.rows for note in entry.rules} if entry else {}
    checks = tuple(
        Check(rule.name, rule.kind, rule.name not in broken, rule.column or "", rule.severity, broken.get(rule.name, 0))
        for rule in (resource.rules if entry else ())
    )
    return (dataclasses.replace(bronze, origins={}, checks=checks),), (quarantine,)


def _of_replay(
    source: Source, resource: Resource, partition: Partition, location: str, base_url: str, entry: LedgerEntry | None
) -> tuple[tuple[Dataset, ...], tuple[Dataset, ...]]:
    (_, (bronze, quarantine)) = _of_load(source, resource, partition, location, base_url, entry)
    return (dataclasses.replace(quarantine, rows=None),), (dataclasses.replace(bronze, origins={}), quarantine)


def _api_dataset(resource: Resource, partition: Partition, base_url: str, entry: LedgerEntry | None) -> Dataset:
    parts = urlsplit(base_url)
    # without a user or a query, which may be secrets; templates in the path are not filled
    authority = f"{parts.hostname or partition.source}{f':{parts.port}' if parts.port else ''}"
    name = f"{parts.path.rstrip('/')}{resource.path or f'/{partition.resource}'}"
    if resource.nested is not None:
        name += f"#{resource.nested.path}"
    fields = tuple(_field(column.field or column.name, column) for column in resource.columns)
    return Dataset(
        f"{parts.scheme or 'api'}://{authority}",
        name,
        resource.description,
        fields=fields,
        rows=entry.fetched if entry else None,
    )


def _quarantine_dataset(partition: Partition, location: str, entry: LedgerEntry | None) -> Dataset:
    return Dataset(
        *_name(location, "_quarantine", partition.source, partition.resource),
        "Rows that were received and not admitted.",
        file_format="jsonl",
        rows=entry.quarantined if entry else None,
    )


def _field(name: str, column: Column) -> Field:
    treatment = column.sensitive if isinstance(column.sensitive, str) else "mask" if column.sensitive else ""
    return Field(name, column.type, column.description, treatment)
