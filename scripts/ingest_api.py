"""Ingestion: one resource on one day, from the API to a Bronze partition.

Runs as a script too: `python scripts/ingest_api.py --start-date 2024-01-01 --end-date 2024-01-01 --output-dir DIR`.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # the folder of the script must not hide modules that are named like its files
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import concurrent.futures
import contextlib
import contextvars
import datetime as dt
import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import msgspec
import pyarrow as pa
import requests

from scripts.bronze import attempts, parquet, quarantine
from scripts.bronze.ledger import DriftNote, LedgerEntry, Partition
from scripts.config import settings
from scripts.errors import SourceUnavailableError, naming_partition
from scripts.extract import client, retries
from scripts.extract.pagination import walk
from scripts.extract.responses import Answer, normalize_response, read_answer
from scripts.extract.rows import Drift, RowReader
from scripts.loading.admission import keep_verdict, stage_verdict, tell_verdict
from scripts.loading.rule_checks import RuleChecker
from scripts.loading.script_arguments import run_script
from scripts.utils.logging_config import get_logger, log_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from scripts.bronze.run import Run
    from scripts.bronze.store import Staged
    from scripts.contracts.source import Resource, Source
    from scripts.extract.rows import Page, Reject

__all__ = ["FetchedPage", "fetch_page", "ingest_partition", "main", "normalize_response"]

_log = get_logger("ingest")
_FETCHES = 3
"""How often a partition is fetched from its first page when rows moved between pages while it was read."""


class FetchedPage(TypedDict):
    """One page as records."""

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

    Transient errors are tried again (see `retries.fetch`), final ones are not.

    Args:
        url: Address of the collection.
        page: Number of the page, as the API counts.
        page_size: Rows that are asked for.
        session: Kept-alive connections to use; `requests.get` without.
        params: Further query parameters.
        headers: Further headers.
        page_param: Name of the parameter with the number.
        size_param: Name of the parameter with the size.

    Raises:
        SourceRejectedError: The source refuses the request.
        SourceUnavailableError: No try succeeded.
    """
    asked = {**(params or {}), page_param: page, size_param: page_size}

    def parse(response: requests.Response) -> FetchedPage:
        payload = msgspec.json.decode(_content(response))
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

    With `validate` the rules are evaluated on the rows as they are written, and the partition is validated at once:
    the same as `validate_partition` afterwards, in one pass.

    Loading again replaces the partition; the same answers give the same bytes. Rows that do not fit the contract go to
    quarantine, so that the record's fetched = bronze + quarantined, and declared = fetched where the API declares.
    A failure is noted until a load succeeds (see `attempts`).

    Args:
        source: The contract.
        name: The resource.
        day: The day.
        run: The run that asks for it.
        connection: Connections to the source.
        validate: Whether to evaluate the rules in the same pass.
        is_done: Whether a record is what this load is for; asked when the partition is this load's alone, for another
            process may have loaded it while this one waited.

    Raises:
        SourceUnavailableError, SourceRejectedError: See `retries.fetch`.
        DataError: A row does not fit, and the contract says `fail`; or, with `validate`, a rule of severity `fail`.
        LockedError, StorageError: The partition cannot be written.
    """
    partition = Partition(source.source, name, day)
    resource = source.resources[name]
    reader = RowReader(resource)
    with (
        naming_partition(partition),
        log_context(run_id=run.run_id, source=source.source, resource=name, day=day),
        attempts.noting(attempts.path_of(run.store, partition), run, fingerprint=resource.version),
    ):
        purpose = f"load of {partition} by {run.triggered_by}"
        with run.store.replacing(partition, purpose=purpose, timeout=settings().lock_timeout) as staged:
            if (known := run.store.entry(partition)) is not None and is_done(known):
                _log.info("loaded by run %s meanwhile", known.run_id)
                return known
            for remaining in reversed(range(_FETCHES)):
                started = dt.datetime.now(dt.UTC)
                pages = _fetch(source, resource, day, reader, connection)
                checker = RuleChecker(resource) if validate else None
                entry = _stage(pages, staged, reader, _empty_entry(partition, resource, run, started), checker)
                if entry.declared in (None, entry.fetched):
                    break
                _report_count_mismatch(entry, remaining)
            verdict = None
            if checker is None:
                entry = keep_verdict(entry, run.store.entry(partition), staged.data)
            else:
                verdict = stage_verdict(entry, staged.data, staged, resource, checker, run)
                entry = verdict.entry
            entry = staged.commit(entry)
        if resource.total is not None and entry.declared is None:
            _log.warning(
                "the API declares no total, although its contract says where: whether rows are missing is not known"
            )
        for drift in entry.drift:
            _log.warning(
                "drift: field `%s` is %s in %d rows (policy %s), for example %s",
                drift.field,
                drift.kind,
                drift.rows,
                drift.action,
                drift.example,
                extra={"drift": drift.kind, "field": drift.field, "rows": drift.rows},
            )
        _log.info(
            "ingested: fetched %d = Bronze %d + quarantined %d",
            entry.fetched,
            entry.bronze,
            entry.quarantined,
            extra={"declared": entry.declared, "pages": entry.pages, "retries": entry.retries},
        )
        if verdict is not None:
            tell_verdict(verdict)
        return entry


class _Progress(NamedTuple):
    """What the pages of a partition amount to."""

    answers: Iterator[Answer]
    retries: retries.Retries


def _fetch(source: Source, resource: Resource, day: dt.date, reader: RowReader, connection: client.Client) -> _Progress:
    attempts = retries.Retries()
    headers = {key: _fill(value, day) for key, value in source.headers.items()}
    context = contextvars.copy_context()

    def get(url: str, params: dict[str, Any]) -> Answer:
        def parse(response: requests.Response) -> Answer:
            next_url = response.links.get("next", {}).get("url")
            return read_answer(response.content, response.headers, next_url, resource, reader)

        return context.copy().run(
            retries.fetch, connection.get, url, parse, params=params, headers=headers, retries=attempts
        )

    def answers() -> Iterator[Answer]:
        ahead = settings().api_concurrency
        with concurrent.futures.ThreadPoolExecutor(ahead, thread_name_prefix="fetch") as executor:
            try:
                url = connection.base_url + resource.path
                yield from walk(url, day_params(resource, day), resource, get, executor, ahead=ahead)
            finally:
                attempts.stopped.set()

    return _Progress(answers(), attempts)


def _stage(
    progress: _Progress, staged: Staged, reader: RowReader, entry: LedgerEntry, checker: RuleChecker | None
) -> LedgerEntry:
    """Write the pages to the staged files, and return the record with their counts."""
    observe = checker.check if checker is not None else None
    fetched = pages = quarantined = 0
    totals: set[int] = set()
    drift: dict[tuple[str, str], Drift] = {}
    with (
        parquet.PartitionWriter(staged.data, reader.schema, observe) as writer,
        staged.quarantine.open("wb") as rejected,
        contextlib.closing(progress.answers) as answers,  # type: ignore[type-var]
    ):
        for answer in answers:
            page = answer.page
            writer.write(page.batch, _positions(page, fetched))
            rejected.write(
                quarantine.encode(
                    _quarantined_rows(
                        page.rejects,
                        staged.partition,
                        first_row=fetched,
                        stage="schema",
                        contract_version=entry.contract_version,
                        run_id=entry.run_id,
                    )
                )
            )
            for key, note in page.drift.items():
                drift[key].add(note) if key in drift else drift.setdefault(key, note)
            fetched, pages, quarantined = fetched + page.fetched, pages + 1, quarantined + len(page.rejects)
            if answer.total is not None:
                totals.add(answer.total)
    return msgspec.structs.replace(
        entry,
        # pages that declare different totals were read while rows moved: the one that does not fit speaks
        declared=max(totals, key=lambda total: total != fetched, default=None),
        fetched=fetched,
        bronze=writer.rows,
        quarantined=quarantined,
        pages=pages,
        retries=progress.retries.count,
        loaded_at=dt.datetime.now(dt.UTC),
        drift=tuple(
            DriftNote(note.kind, note.field, note.action, note.rows, note.example) for _, note in sorted(drift.items())
        ),
    )


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


def _report_count_mismatch(entry: LedgerEntry, remaining: int) -> None:
    message = f"the API declares {entry.declared} rows, its pages held {entry.fetched}"
    if not remaining:
        raise SourceUnavailableError(
            f"{message}, in {_FETCHES} tries",
            where=str(entry.partition),
            expected="as many rows as declared",
            hint="check the contract's pagination, or load the day again when the source is quiet",
        )
    _log.warning("%s: fetching the partition again from its first page", message)


def day_params(resource: Resource, day: dt.date) -> dict[str, Any]:
    """Return the query parameters of a resource for one day, without those of paging."""
    params: dict[str, Any] = {
        key: _fill(value, day) if isinstance(value, str) else value for key, value in resource.params.items()
    }
    load = resource.load
    if load.mode == "incremental":
        midnight = dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC)
        params[load.start_param] = midnight.strftime(load.format)
        if load.end_param:
            last = midnight + dt.timedelta(days=load.end == "exclusive")
            params[load.end_param] = last.strftime(load.format)
    return params


def _fill(template: str, day: dt.date) -> str:
    return template.replace("{day}", day.isoformat())


def _content(response: requests.Response) -> bytes:
    content = response.content
    return content if isinstance(content, bytes) else json.dumps(response.json()).encode()


def main(arguments: Sequence[str] | None = None) -> int:
    """Ingest as a script; see `--help`. Returns the exit code."""

    def work(run: Run, source: Source, name: str, day: dt.date) -> str:
        with client.Client(source) as connection:
            return str(run.store.root / ingest_partition(source, name, day, run, connection).path)

    return run_script("Load days of an API into Bronze Parquet, one file per day.", work, arguments)


if __name__ == "__main__":
    sys.exit(main())
