"""Ingestion: one resource on one day, from the API to a Bronze partition.

Runs as a script too: `python scripts/ingest_api.py --start-date 2024-01-01 --end-date 2024-01-01 --output-dir DIR`.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # the script's folder must not hide modules that have the same names as its files
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import contextlib
import dataclasses
import datetime as dt
import json
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
import pyarrow as pa
import requests

from scripts.bronze import attempts, parquet, quarantine
from scripts.bronze.ledger import DriftNote, LedgerEntry, Partition
from scripts.bronze.loaded_contracts import keep_contract
from scripts.config import settings
from scripts.contracts.load import SnapshotLoad, WatermarkLoad
from scripts.errors import BronzeError, UsageError, naming_partition
from scripts.extract import client, retries
from scripts.extract.answers import Fetcher
from scripts.extract.drift import Drift, tell_drift
from scripts.extract.json_text import to_utf8
from scripts.extract.limits import within_limits
from scripts.extract.responses import RawPage, normalize_response
from scripts.extract.rows import RowReader
from scripts.extract.transport import part_deadline
from scripts.loading import breaker
from scripts.loading.admission import keep_verdict, stage_verdict, tell_verdict
from scripts.loading.completeness import Arrivals, Completeness, compares_keys, require_admitted
from scripts.loading.rule_checks import RuleChecker
from scripts.loading.script_arguments import run_script
from scripts.run_events import partitions as run_events
from scripts.utils.days import is_ahead
from scripts.utils.logging_config import get_logger, log_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from scripts.bronze.run import Run
    from scripts.bronze.store import Staged
    from scripts.contracts.source import Resource, Source
    from scripts.extract.responses import Answer
    from scripts.extract.rows import Page, Reject

__all__ = ["FetchedPage", "fetch_page", "ingest_partition", "main", "normalize_response"]

_log = get_logger("ingest")
_NO_CONTENT = 204


class FetchedPage(TypedDict):
    """The records of one page."""

    data: list[Any]
    page: int
    total: int | None


def fetch_page(
    url: str,
    page: int,
    page_size: int,
    *,
    session: requests.Session | None = None,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    page_param: str = "_page",
    size_param: str = "_limit",
) -> FetchedPage:
    """Return one page of a collection: its records, its number, and the total that the API declares.

    Transient errors are retried (see `retries.fetch`), terminal errors are not.

    Args:
        url: Address of the collection.
        page: Number of the page, counted as the API counts.
        page_size: Number of rows to request.
        session: Session to use, which reuses connections; by default, `requests.get`.
        params: Further query parameters.
        headers: Further headers.
        page_param: Name of the query parameter for the page number.
        size_param: Name of the query parameter for the page size.

    Raises:
        SourceRejectedError: The source refuses the request.
        SourceUnavailableError: No try succeeded.
    """
    asked = {**(params or {}), page_param: page, size_param: page_size}

    def parse(response: requests.Response) -> FetchedPage:
        if response.status_code == _NO_CONTENT:
            return {"data": [], "page": page, "total": None}
        payload = msgspec.json.decode(to_utf8(_content(response), str(response.headers.get("Content-Type"))))
        data = payload if isinstance(payload, list) else [payload]
        total = response.headers.get("X-Total-Count")
        known = int(total) if isinstance(total, str) and total.isdigit() else None
        return {"data": data, "page": page, "total": known}

    return retries.fetch(session.get if session else requests.get, url, parse, params=asked, headers=headers)


def ingest_partition(
    source: Source,
    name: str,
    day: dt.date,
    run: Run,
    connection: client.Client,
    *,
    validate: bool = False,
    is_done: Callable[[LedgerEntry], bool] = lambda _: False,
) -> LedgerEntry:
    """Load one resource on one day into Bronze, and return its ledger record.

    With `validate`, the rules are evaluated on the rows while they are written. The result is the same as that of a
    later `validate_partition`, in one pass.

    Loading again replaces the partition; the same answers give the same bytes. Rows that do not fit the contract go to
    quarantine. In the ledger record, fetched = bronze + quarantined, and declared = fetched if the API declares it.
    A failure is recorded until a load succeeds (see `attempts`).

    Args:
        source: The contract.
        name: The resource.
        day: The day.
        run: The run that asks for it.
        connection: Connections to the source.
        validate: Whether to evaluate the rules in the same pass.
        is_done: Returns whether an existing record makes this load unnecessary. It is called after the partition is
            locked, since another process may have loaded it while this one waited.

    Raises:
        SourceUnavailableError, SourceRejectedError: See `retries.fetch`.
        DataError: A row does not fit, and the policy is `fail`; or, with `validate`, it breaks a rule of that severity.
        LockedError, StorageError: The partition cannot be written.
    """
    partition = Partition(source.source, name, day)
    resource = source.resources[name]
    _refuse_past_of_now(resource, partition)
    reader = RowReader(resource)
    with (
        naming_partition(partition),
        log_context(run_id=run.run_id, source=source.source, resource=name, day=day),
        attempts.noting(attempts.document_of(run.store, partition), run, fingerprint=resource.version),
        run_events.telling(source, partition, run, connection.base_url) as events,
        part_deadline(),
    ):
        purpose = f"load of {partition} by {run.triggered_by}"
        with run.store.replacing(partition, purpose=purpose, timeout=settings().lock_timeout) as staged:
            if (known := _replaced(staged)) is not None and is_done(known):
                _log.info("run %s has loaded the partition in the meantime", known.run_id)
                return known
            events.start("ingest")
            completeness, since = Completeness(), _watermark(resource, partition, run)
            with breaker.watching(source.source, run):
                while True:
                    started, tries = dt.datetime.now(dt.UTC), retries.Retries()
                    answers = Fetcher(source, day, connection, tries, since).answers(name, reader)
                    checker = RuleChecker(resource) if validate else None
                    blank = _empty_entry(partition, resource, run, started)
                    entry, arrivals = _stage(answers, resource, staged, reader, blank, checker)
                    if completeness.is_reached(arrivals):
                        break
            require_admitted(entry, resource, arrivals.reason)
            entry = msgspec.structs.replace(entry, retries=tries.count)
            verdict = None
            if checker is None:
                entry = keep_verdict(entry, _replaced(staged), staged.data)
            else:
                verdict = stage_verdict(entry, staged.data, staged, resource, checker, run)
                entry = verdict.entry
            keep_contract(run.store, partition.source, name, resource)
            entry = staged.commit(entry)
        events.loaded(entry)
        if resource.total is not None and entry.declared is None and resource.nested is None:
            _log.warning("the API declares no total where the contract expects it: missing rows cannot be detected")
        tell_drift([Drift(**msgspec.structs.asdict(note)) for note in entry.drift])
        _log.info(
            "ingested: fetched %d = Bronze %d + quarantined %d",
            entry.fetched,
            entry.bronze,
            entry.quarantined,
            extra={"declared": entry.declared, "pages": entry.pages, "retries": entry.retries},
        )
        if verdict is not None:
            events.validated(entry)
            tell_verdict(verdict)
        return entry


def _watermark(resource: Resource, partition: Partition, run: Run) -> dt.datetime | None:
    """Return when the load of the latest earlier day started; None if there is no earlier day.

    It leaves out loads that a clock dated in the future: a source asked since then would leave out rows.
    """
    if not isinstance(resource.load, WatermarkLoad):
        return None
    now = dt.datetime.now(dt.UTC)
    earlier = [
        entry
        for entry in run.store.entries()
        if (entry.source, entry.resource) == partition[:2]
        and entry.day < partition.day
        and not is_ahead(entry.started_at, now)
    ]
    return max(earlier, key=lambda entry: entry.day).started_at if earlier else None


def _replaced(staged: Staged) -> LedgerEntry | None:
    try:
        return staged.current
    except BronzeError:
        # a record that cannot be read counts as none: this load replaces it
        return None


def _refuse_past_of_now(resource: Resource, partition: Partition) -> None:
    if not isinstance(resource.load, SnapshotLoad) or resource.load.of == "day":
        return
    today = dt.datetime.now(dt.UTC).date()
    if partition.day < today - dt.timedelta(days=1):
        raise UsageError(
            "the source only knows its current state: rows of today would be stored as rows of a past day",
            where=str(partition),
            expected=f"{today} or the day before",
            hint="if the source answers for past days, set `load: {mode: snapshot, of: day}` or `mode: incremental`",
        )


def _stage(
    answers: Iterator[Answer],
    resource: Resource,
    staged: Staged,
    reader: RowReader,
    entry: LedgerEntry,
    checker: RuleChecker | None,
) -> tuple[LedgerEntry, Arrivals]:
    """Write the pages to the staged files, and return the record with their counts."""
    observe = checker.check if checker is not None else None
    arrivals = Arrivals()
    compare = compares_keys(resource)
    with (
        parquet.PartitionWriter(staged.data, reader.schema, observe) as writer,
        staged.quarantine.open("wb") as rejected,
        contextlib.closing(answers),  # type: ignore[type-var]
    ):
        for answer in within_limits(answers):
            page = answer.page
            if isinstance(page, RawPage):
                message = "expected a page of rows"
                raise TypeError(message)
            writer.write(page.batch, _positions(page, arrivals.fetched))
            rejected.write(
                quarantine.encode(
                    _quarantined_rows(
                        page.rejects,
                        staged.partition,
                        first_row=arrivals.fetched,
                        stage="schema",
                        contract_version=entry.contract_version,
                        run_id=entry.run_id,
                    )
                )
            )
            arrivals.add(answer, page, compare_keys=compare)
    entry = msgspec.structs.replace(
        entry,
        declared=None if resource.nested else arrivals.declared(),
        fetched=arrivals.fetched,
        bronze=writer.rows,
        quarantined=arrivals.quarantined,
        pages=arrivals.pages,
        loaded_at=dt.datetime.now(dt.UTC),
        drift=tuple(DriftNote(**dataclasses.asdict(note)) for note in arrivals.drift.notes()),
    )
    return entry, arrivals


def _quarantined_rows(
    rejects: Iterable[Reject],
    partition: Partition,
    *,
    first_row: int,
    stage: quarantine.Stage,
    contract_version: str,
    run_id: str,
) -> Iterator[quarantine.QuarantinedRow]:
    """Yield the quarantine rows of rejected records; `first_row` is the position of the first record of their page."""
    for reject in rejects:
        raw, raw_base64 = quarantine.as_text(reject.raw)
        yield quarantine.QuarantinedRow(
            source=partition.source,
            resource=partition.resource,
            day=partition.day.isoformat(),
            row=first_row + reject.position,
            stage=stage,
            rule=reject.rule,
            reason=reject.reason,
            raw=raw,
            raw_base64=raw_base64,
            contract_version=contract_version,
            run_id=run_id,
        )


def _empty_entry(partition: Partition, resource: Resource, run: Run, started: dt.datetime) -> LedgerEntry:
    return LedgerEntry(
        *partition,
        status="ingested",
        declared=None,
        fetched=0,
        bronze=0,
        quarantined=0,
        pages=0,
        retries=0,
        path="",
        bytes=0,
        content_hash="",
        contract_version=resource.version,
        run_id=run.run_id,
        triggered_by=run.triggered_by,
        started_at=started,
        loaded_at=started,
    )


def _positions(page: Page, first: int) -> pa.Array:
    if isinstance(page.positions, range):
        return pa.array(range(first, first + len(page.positions)), type=pa.int64())
    return pa.array([first + position for position in page.positions], type=pa.int64())


def _content(response: requests.Response) -> bytes:
    content = response.content
    return content if isinstance(content, bytes) else json.dumps(response.json()).encode()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ingestion as a script (see `--help`), and return the exit code."""

    def work(run: Run, source: Source, name: str, day: dt.date) -> str:
        with client.Client(source) as connection:
            return run.store.data_place(ingest_partition(source, name, day, run, connection))

    return run_script("Load days of an API into Bronze Parquet, one file per day.", work, arguments)


if __name__ == "__main__":
    sys.exit(main())
