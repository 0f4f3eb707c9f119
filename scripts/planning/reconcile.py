"""The reconciling run: find what is due, do it, and say why the rest cannot be done now."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, NamedTuple

from scripts.bronze import attempts
from scripts.bronze.loaded_contracts import as_of_now
from scripts.contracts import catalog
from scripts.errors import PipelineError
from scripts.loading.partitions import Outcome, load
from scripts.planning.due import Due, Planned, due, plan, state_of
from scripts.planning.published import attempt_path, read_published
from scripts.utils.logging_config import get_logger
from scripts.warehouse.build import BuildResult, build_warehouse

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from scripts.bronze.ledger import LedgerEntry, Partition
    from scripts.bronze.run import Run
    from scripts.bronze.store import Store
    from scripts.warehouse.candidate import Layer

_log = get_logger("reconcile")


class Reconciled(NamedTuple):
    """What a reconciling run did, and what stays."""

    outcomes: Sequence[Outcome]
    """The partitions that it loaded or validated."""
    build: BuildResult | None
    """The build that it made; None where none was due."""
    error: PipelineError | None
    """Why its build failed."""
    stays: Due
    """What is due afterwards."""


def examine(store: Store, now: dt.datetime | None = None) -> Due:
    """Return what is due now."""
    ledger = read_ledger(store)
    moment = now or dt.datetime.now(dt.UTC)
    return due(catalog.read_all(), ledger, attempts.all_of(store), read_published(ledger), moment)


def read_ledger(store: Store) -> Mapping[Partition, LedgerEntry]:
    """Return the record of each partition; with the contract of now where the change since then changes no rows."""
    found = as_of_now(store, store.entries(), catalog.read_all().sources)
    return {entry.partition: entry for entry in found}


def last_load(store: Store) -> dt.datetime | None:
    """Return when the last partition was written; None where none was ever."""
    folders = (store.root / "_ledger").glob("*/*")
    times = [folder.stat().st_mtime for folder in folders if folder.is_dir()]
    return dt.datetime.fromtimestamp(max(times), dt.UTC) if times else None


def plan_request(store: Store, wanted: Iterable[Partition]) -> Sequence[Planned]:
    """Return the state of each partition of a request; all but `loaded` are due by default."""
    chosen, sources = list(wanted), catalog.read_all()
    entries = (entry for partition in chosen if (entry := store.entry(partition)) is not None)
    found = {entry.partition: entry for entry in as_of_now(store, entries, sources.sources)}
    return plan(sources, found, chosen)


def done_since(asked_at: dt.datetime, *, again: bool) -> Callable[[LedgerEntry], bool]:
    """Return what tells whether a record is what a request was for, which was made at `asked_at`.

    A load that began after the request is. Unless the request is to load `again`, so is one that needs no other.
    """

    def is_done(entry: LedgerEntry) -> bool:
        if entry.status == "failed":
            return False
        if entry.started_at >= asked_at:
            return True
        return not again and state_of(catalog.pick(entry.source), entry.partition, entry) in {"loaded", "not validated"}

    return is_done


def build(
    run: Run,
    layer: Layer = "all",
    *,
    full_refresh: bool = False,
    full_tests: bool = False,
    retry: bool = False,
    drop: Collection[str] = (),
) -> BuildResult:
    """Build and publish (see `build_warehouse`); a failure is noted until a build succeeds.

    Raises:
        PipelineError: See `build_warehouse`.
    """
    fingerprint = read_published(read_ledger(run.store)).fingerprint
    with attempts.noting(attempt_path(), run, fingerprint=fingerprint):
        return build_warehouse(run, layer, full_refresh=full_refresh, full_tests=full_tests, retry=retry, drop=drop)


def load_due(run: Run, found: Due) -> Sequence[Outcome]:
    """Load and validate the partitions that can be now; one that fails does not stop the others."""
    by_step = {step: [item.partition for item in found.ready if item.step == step] for step in ("load", "validate")}
    outcomes: list[Outcome] = []
    if partitions := by_step["validate"]:
        outcomes += load(run, partitions, steps=("validate",))
    if partitions := by_step["load"]:
        outcomes += load(run, partitions, is_done=done_since(found.at, again=False))
    return outcomes


def reconcile(run: Run) -> Reconciled:
    """Load, validate, build and publish what is due, and return what was done and what stays.

    Whatever was lost before (an event, a run, a process, days without a schedule) makes no difference: what is due is
    derived from the ledger. Nothing due: nothing is done.
    """
    run.store.recover()
    found = examine(run.store)
    outcomes = load_due(run, found)
    after = examine(run.store) if outcomes else found
    if not after.build.is_ready:
        return Reconciled(outcomes, None, None, after)
    _log.info("a build is due: %s", "; ".join(after.build.reasons))
    try:
        done, error = build(run), None
    except PipelineError as problem:
        done, error = None, problem
    return Reconciled(outcomes, done, error, examine(run.store))
