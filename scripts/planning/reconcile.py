"""The reconciling run: it finds what is due, does it, and reports why the rest cannot be done now."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import TYPE_CHECKING, NamedTuple

from scripts.bronze import attempts
from scripts.bronze.loaded_contracts import as_of_now
from scripts.bronze.store import for_each
from scripts.contracts import catalog
from scripts.errors import PipelineError
from scripts.loading import breaker
from scripts.loading.partitions import Outcome, load
from scripts.planning.due import Due, Planned, UnderWay, due, plan, state_of
from scripts.planning.published import attempt_document, fingerprint_of_build, read_published
from scripts.utils.days import is_ahead
from scripts.utils.files import is_locked
from scripts.utils.logging_config import get_logger
from scripts.warehouse.build import build_warehouse, warehouse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from scripts.bronze.ledger import LedgerEntry, Partition
    from scripts.bronze.run import Run
    from scripts.bronze.store import Store
    from scripts.warehouse.build_result import BuildResult

_log = get_logger("reconcile")


class Reconciled(NamedTuple):
    """What a reconciling run did, and what is still due."""

    outcomes: Sequence[Outcome]
    """The partitions that it loaded or validated."""
    build: BuildResult | None
    """Its build; None if no build was due."""
    error: PipelineError | None
    """The error of its build; None if the build did not fail."""
    stays: Due
    """What is still due afterwards."""


def examine(store: Store, now: dt.datetime | None = None) -> Due:
    """Return what is due now."""
    ledger = read_ledger(store)
    moment = now or dt.datetime.now(dt.UTC)
    failed = attempts.read_all(store)
    found = due(catalog.read_all(), ledger, failed.partitions, read_published(ledger), moment)
    unavailable = {
        source: f"{attempt.count} loads failed in a row, the last at {attempt.failed_at:%Y-%m-%d %H:%M} (UTC):"
        f" {attempt.message}"
        for source, attempt in failed.sources.items()
        if attempt.count >= breaker.FAILURES
    }
    return found._replace(unavailable=unavailable, under_way=_under_way(store))


def _under_way(store: Store) -> UnderWay:
    return UnderWay(frozenset(item.source for item in store.under_way()), is_locked(warehouse().lock))


def read_ledger(store: Store) -> Mapping[Partition, LedgerEntry]:
    """Return the record of each partition, with the present contract if the contract's change affects no rows."""
    found = as_of_now(store, store.entries(), catalog.read_all().sources)
    return {entry.partition: entry for entry in found}


def last_load(store: Store) -> dt.datetime | None:
    """Return when the last partition was written; None if no partition was ever written."""
    # a clock that was ahead may have dated some in the future
    return max((moment for moment in store.last_load() if not is_ahead(moment, dt.datetime.now(dt.UTC))), default=None)


def plan_request(store: Store, wanted: Iterable[Partition]) -> Sequence[Planned]:
    """Return the state of each partition of a request; all but `loaded` are due by default.

    What killed processes left is completed or removed first, since a committed load may change the state.
    """
    store.recover()
    chosen, sources = list(wanted), catalog.read_all()
    entries = (entry for entry in for_each(store, store.entry, chosen) if entry is not None)
    found = {entry.partition: entry for entry in as_of_now(store, entries, sources.sources)}
    return plan(sources, found, chosen, dt.datetime.now(dt.UTC))


def done_since(asked_at: dt.datetime, *, again: bool) -> Callable[[LedgerEntry], bool]:
    """Return a function that tells whether a ledger record already fulfills a request made at `asked_at`.

    A load that started after the request fulfills it. Unless the request asks to load `again`, an earlier load whose
    partition is up to date fulfills it too.
    """

    def is_done(entry: LedgerEntry) -> bool:
        if entry.status == "failed":
            return False
        now = dt.datetime.now(dt.UTC)
        if entry.started_at >= asked_at and not is_ahead(entry.started_at, now):
            return True
        state = state_of(catalog.pick(entry.source), entry.partition, entry, now)
        return not again and state in {"loaded", "not validated"}

    return is_done


@contextlib.contextmanager
def noting_build(run: Run) -> Iterator[None]:
    """Record a failure of the build in the `with` block until a build succeeds; what is due depends on it."""
    fingerprint = fingerprint_of_build(read_ledger(run.store))
    with attempts.noting(attempt_document(), run, fingerprint=fingerprint):
        yield


def load_due(run: Run, found: Due) -> Sequence[Outcome]:
    """Load and validate the partitions that are ready; one that fails does not stop the others."""
    by_step = {step: [item.partition for item in found.ready if item.step == step] for step in ("load", "validate")}
    outcomes: list[Outcome] = []
    if partitions := by_step["validate"]:
        outcomes += load(run, partitions, steps=("validate",))
    if partitions := by_step["load"]:
        outcomes += load(run, partitions, is_done=done_since(found.at, again=False))
    return outcomes


def reconcile(run: Run) -> Reconciled:
    """Load, validate, build and publish what is due, and return what was done and what is still due.

    What is due is computed from the ledger. So a lost event, run or process, or days without a schedule, make no
    difference. If nothing is due, the function does nothing.
    """
    run.store.recover()
    found = examine(run.store)
    outcomes = load_due(run, found)
    after = examine(run.store) if outcomes else found
    if not after.build.is_ready:
        return Reconciled(outcomes, None, None, after)
    _log.info("a build is due: %s", "; ".join(after.build.reasons))
    try:
        with noting_build(run):
            done, error = build_warehouse(run), None
    except PipelineError as problem:
        done, error = None, problem
    return Reconciled(outcomes, done, error, examine(run.store))
