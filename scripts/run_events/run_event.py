"""A run event as plain data: which job ran, what it read and wrote, and how it ended."""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from scripts.bronze.run import Run

State = Literal["START", "COMPLETE", "FAIL"]
_IDS = uuid.UUID("5f3b0d1e-6f0c-5c5e-9d0a-3d3f6a8c2b10")
"""The name space of the ids that follow from the ids of the pipeline's own runs."""


class Field(NamedTuple):
    """A column of a dataset."""

    name: str
    type: str = ""
    description: str = ""
    sensitive: str = ""
    """How a sensitive column is treated (`mask`, `hash`, `drop`); empty if it is not sensitive."""


class Origin(NamedTuple):
    """A column that another column is computed from."""

    namespace: str
    dataset: str
    field: str
    kind: Literal["IDENTITY", "TRANSFORMATION", "AGGREGATION"]
    """The value as it is, a value computed from it, or a value computed from many rows."""


class Check(NamedTuple):
    """A rule or test, and whether the rows passed."""

    name: str
    kind: str
    passed: bool
    column: str = ""
    severity: str = ""
    rows: int | None = None
    """Rows that broke it."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """What a run reads or writes. `rows` and `bytes` are those that it read or wrote."""

    namespace: str
    name: str
    description: str = ""
    owner: str = ""
    file_format: str = ""
    version: str = ""
    fields: tuple[Field, ...] = ()
    origins: Mapping[str, tuple[Origin, ...]] = dataclasses.field(default_factory=dict)
    """For each column, the columns that it is computed from."""
    rows: int | None = None
    bytes: int | None = None
    checks: tuple[Check, ...] = ()


class Task(NamedTuple):
    """One run of a job."""

    job: str
    run_id: str
    """A UUID."""


@dataclasses.dataclass(frozen=True)
class RunEvent:
    """The start or the end of a run."""

    state: State
    task: Task
    job_type: str
    at: dt.datetime
    parents: tuple[Task, ...]
    """The run that started this one, and so on up to the request to the pipeline."""
    description: str = ""
    inputs: tuple[Dataset, ...] = ()
    outputs: tuple[Dataset, ...] = ()
    day: dt.date | None = None
    error: str = ""
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)


def request_task(run: Run) -> Task:
    """Return the request to the pipeline, which is the parent of everything that it starts.

    The id follows from the id of the run, so that it is the same in every process that works for the request.
    """
    return Task("request", str(uuid.uuid5(_IDS, run.run_id)))


def new_task(job: str) -> Task:
    """Return a new run of a job."""
    return Task(job, str(uuid.uuid4()))


def tags_of(run: Run) -> Mapping[str, str]:
    """Return what leads from an event to the logs and the ledger."""
    return {"run_id": run.run_id, "triggered_by": run.triggered_by}


def about_error(error: BaseException) -> str:
    """Return what went wrong, without the message of the error, which may hold values of rows."""
    meaning = (type(error).__doc__ or "").strip().partition("\n")[0]
    return f"{type(error).__name__}: {meaning}".rstrip(": ")
