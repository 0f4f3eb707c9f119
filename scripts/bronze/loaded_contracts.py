"""Loaded contracts: the contract that each day was loaded with, stored and compared with the current contract.

A record names its contract by a hash, and the contract is a file with that name. Old versions of the pipeline did not
store contracts: without such a file, the columns of a day are read from its Parquet file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from scripts.bronze.ledger import reload_command
from scripts.contracts.changes import Change, changes, field_of, old_columns
from scripts.contracts.column import Column
from scripts.contracts.source import version_of
from scripts.contracts.types import EXTRA, ROW
from scripts.errors import BronzeError
from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from scripts.bronze.documents import Document
    from scripts.bronze.ledger import LedgerEntry, Partition
    from scripts.bronze.ledger_index import LedgerIndex
    from scripts.bronze.store import Store
    from scripts.contracts.rules import Rule
    from scripts.contracts.source import Resource, Source

_log = get_logger("contracts")
_TYPES: Mapping[pa.DataType, str] = {
    pa.string(): "string",
    pa.int64(): "integer",
    pa.float64(): "number",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    pa.timestamp("us", tz="UTC"): "timestamp",
}


class OutdatedDays(NamedTuple):
    """Days of a resource that were loaded with another contract, and how it differs."""

    source: str
    resource: str
    version: str
    days: Sequence[dt.date]
    changes: Sequence[Change]

    @property
    def is_conflict(self) -> bool:
        """Whether these days must not be mixed with days that are loaded now."""
        return any(change.effect == "conflict" for change in self.changes)

    @property
    def widened_columns(self) -> Sequence[str]:
        """The columns whose type holds each value of these days, but was another type when they were loaded."""
        return [change.column for change in self.changes if change.effect == "widened" and change.column is not None]

    @property
    def consequence(self) -> str:
        """What builds do until these days are loaded again."""
        if self.is_conflict:
            return "builds fail until then"
        if self.widened_columns:
            return (
                "or `pipeline build --full-refresh` rebuilds the tables with the new type from these days as they are"
            )
        return "builds still work"

    @property
    def remedy(self) -> str:
        """The command that loads them again with the current contract."""
        command = f"`pipeline backfill --outdated --source {self.source} --resource {self.resource}"
        return f"{command} --start-date {self.days[0]} --end-date {self.days[-1]}` loads them again"

    def __str__(self) -> str:
        """Return the days and the changes as text."""
        what = "; ".join(change.what for change in self.changes if change.effect != "compatible")
        days = f"{len(self.days)} days from {self.days[0]} to {self.days[-1]}" if self.days[1:] else f"{self.days[0]}"
        return f"{self.source}/{self.resource}: {days} loaded with another contract: {what}"


def keep_contract(store: Store, source: str, name: str, resource: Resource) -> None:
    """Store a contract under its version, so that later contracts can be compared with it."""
    stored = _stored(store, source, name, resource.version)
    if _read(stored) is None:
        stored.write(json.dumps(resource.document, indent=2).encode() + b"\n")


def damaged_contracts(store: Store, entries: Iterable[LedgerEntry]) -> Sequence[str]:
    """Return a text for each stored contract that is damaged, with the command that makes it unnecessary or new.

    Days of a damaged contract count as loaded with the columns of their files. Days that were loaded before contracts
    were stored have none, and count so too.
    """
    days: dict[tuple[str, str, str], list[Partition]] = {}
    for entry in entries:
        days.setdefault((entry.source, entry.resource, entry.contract_version), []).append(entry.partition)
    found = []
    for name, partitions in days.items():
        stored = _stored(store, *name)
        if stored.read() is not None and _read(stored) is None:
            found.append(
                f"{stored.place}: the stored contract of {name[0]}/{name[1]} is damaged (next: load its days again:"
                f" {reload_command(min(partitions), max(partitions))})"
            )
    return found


def changes_since(store: Store, entry: LedgerEntry, resource: Resource) -> Sequence[Change]:
    """Return the differences between the contract that a day was loaded with and the current contract."""
    if entry.contract_version == resource.version:
        return []
    return changes(_document(store, entry, resource), resource)


def outdated_days(
    store: Store, sources: Iterable[Source], *, index: LedgerIndex | None = None
) -> Sequence[OutdatedDays]:
    """Return the days of some sources that would have other rows if they were loaded again with the current contract.

    A day is not outdated if its contract only differs in ways that do not change rows, such as a description, a rule or
    an additional nullable column.
    """
    if index is None:
        with store.index() as opened:
            return outdated_days(store, sources, index=opened)
    found = []
    for source in sources:
        for name, resource in source.resources.items():
            for version in index.contract_versions(source.source, name):
                if version == resource.version:
                    continue
                entries = index.of_contract(source.source, name, version)
                differences = changes_since(store, entries[0], resource)
                if any(change.effect != "compatible" for change in differences):
                    days = [entry.day for entry in entries]
                    found.append(OutdatedDays(source.source, name, version, days, differences))
    return found


def is_outdated(store: Store, entry: LedgerEntry, resource: Resource) -> bool:
    """Return whether a day would have other rows, because of its contract, if it were loaded again."""
    return any(change.effect != "compatible" for change in changes_since(store, entry, resource))


def as_of_now(store: Store, entries: Iterable[LedgerEntry], sources: Mapping[str, Source]) -> Iterator[LedgerEntry]:
    """Yield records, with the current version if their contract only differs in ways that do not change rows."""
    known: dict[tuple[str, str, str], bool] = {}
    for entry in entries:
        source = sources.get(entry.source)
        resource = source.resources.get(entry.resource) if source else None
        if resource is None or entry.contract_version == resource.version:
            yield entry
            continue
        key = (entry.source, entry.resource, entry.contract_version)
        if key not in known:
            known[key] = is_outdated(store, entry, resource)
        yield entry if known[key] else msgspec.structs.replace(entry, contract_version=resource.version)


def contract_of_record(store: Store, entry: LedgerEntry, resource: Resource) -> Resource:
    """Return the current contract with the columns that a day was loaded with.

    Raises:
        BronzeError: Current rules use columns that the day does not have in the current form.
    """
    differences = changes_since(store, entry, resource)
    if not differences:
        return resource
    document = _document(store, entry, resource)
    now = {column.name: column for column in resource.columns}
    columns = []
    for old in old_columns(document):
        column = now.get(old.name)
        if column is None or (column.type.replace(" ", ""), field_of(column)) != (old.type, old.key):
            column = Column(
                name=old.name,
                type=old.type,
                field=old.key,
                nullable=old.nullable,
                description="as loaded",
                sensitive=False if column is None else column.sensitive,
                **old.reading,
            )
        columns.append(column)
    kept = {column.name for column in columns if column == now.get(column.name)}
    old_names = {column.name for column in columns}
    new = {column.name for column in resource.columns if not {column.name, column.was} & old_names}
    # a rule about a column that the day does not have yet does not apply to its rows
    rules = tuple(rule for rule in resource.rules if not new & set(_columns_of(rule)))
    asked = {name for rule in rules for name in _columns_of(rule)} | set(resource.primary_key)
    if missing := sorted(asked - kept - {"dt"}):
        raise outdated_error(entry, differences, f"column {', '.join(missing)}")
    return resource.model_copy(update={"columns": tuple(columns), "rules": rules})


def _columns_of(rule: Rule) -> Sequence[str]:
    return (*(rule.unique or ()), *((rule.column,) if rule.column is not None else ()))


def outdated_error(entry: LedgerEntry, differences: Sequence[Change], what: str) -> BronzeError:
    """Return the error about a day that must be loaded again before it can be used."""
    days = OutdatedDays(entry.source, entry.resource, entry.contract_version, [entry.day], differences)
    return BronzeError(
        f"the day was loaded with another contract: {'; '.join(change.what for change in differences)}",
        where=str(entry.partition),
        expected=f"{what} as in the current contract",
        hint=days.remedy,
    )


def _stored(store: Store, source: str, name: str, version: str) -> Document:
    return store.document(f"_contracts/{source}/{name}/{version}.json")


def _document(store: Store, entry: LedgerEntry, resource: Resource) -> Mapping[str, Any]:
    stored = _stored(store, entry.source, entry.resource, entry.contract_version)
    document = _read(stored)
    if document is None and stored.read() is not None:
        _log.warning(
            "%s is damaged: the columns of %s and other days are read from their Parquet files instead;"
            " loading a day with this contract writes the file again",
            stored.place,
            entry.partition,
        )
    return document if document is not None else _document_of_file(store, entry, resource)


def _read(stored: Document) -> Mapping[str, Any] | None:
    """Return a stored contract; None if there is none, or if it is not the one that its name says."""
    content = stored.read()
    try:
        document: dict[str, Any] = json.loads(content or b"")
        return document if version_of(document) == stored.name else None
    except (ValueError, AttributeError):
        return None


def _document_of_file(store: Store, entry: LedgerEntry, resource: Resource) -> Mapping[str, Any]:
    """Return the contract of a Bronze file: its columns, and everything else from the current contract."""
    try:
        with store.data_file(entry) as path:
            schema = pq.read_schema(path)
    except (OSError, pa.ArrowException, BronzeError):
        # the checks of files report a file that cannot be read
        return resource.document
    now = {column.name: column for column in resource.columns}
    columns = []
    for field in schema:
        if field.name in {ROW, EXTRA}:
            continue
        column = now.get(field.name)
        kind = _type_of(field.type)
        if column is not None and column.type == "json" and kind == "string":
            kind = "json"
        key = field_of(column) if column is not None else field.name
        columns.append({"name": field.name, "type": kind, "field": key, "nullable": column is None or column.nullable})
    return resource.document | {"columns": columns}


def _type_of(kind: pa.DataType) -> str:
    return f"decimal({kind.precision},{kind.scale})" if pa.types.is_decimal(kind) else _TYPES[kind]
