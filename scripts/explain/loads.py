"""The load of a day: its run, its request, its contract, and the rules that its rows were checked by."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from scripts.config import settings, variable
from scripts.contracts import catalog
from scripts.errors import BronzeError
from scripts.explain.days import read_entry
from scripts.security.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.bronze.ledger import LedgerEntry
    from scripts.bronze.store import Store
    from scripts.explain.project import Resource


class Rule(msgspec.Struct, frozen=True):
    """A rule that the rows of a load were checked by."""

    rule: str
    severity: str
    expectation: str
    rows: int
    """Rows that broke it."""


class Load(msgspec.Struct, frozen=True):
    """The load of one day. Moments are UTC, ISO 8601."""

    day: dt.date
    run_id: str
    triggered_by: str
    started_at: str
    loaded_at: str
    validated_at: str | None
    address: str
    """Method and address of the requests as the contract has them now, without secrets; `{…}` stands for values that
    each request fills in."""
    pages: int
    page: int | None
    """The page of the row; None if its contract does not determine it."""
    declared: int | None
    fetched: int
    bronze: int
    quarantined: int
    contract_version: str
    rules: tuple[Rule, ...]
    drift: tuple[str, ...]
    """The fields in which the source differed from its contract."""


class Contracts:
    """The contracts as plain data: the present files, and those that days were loaded with."""

    def __init__(self, store: Store) -> None:
        """Read nothing yet."""
        self._store = store
        self._now: Mapping[str, Mapping[str, Any]] | None = None
        self._loaded: dict[tuple[str, str, str], Mapping[str, Any]] = {}

    def source(self, name: str) -> Mapping[str, Any]:
        """Return the present contract of a source; empty if there is none."""
        if self._now is None:
            self._now = catalog.documents()
        return self._now.get(name, {})

    def resource(self, resource: Resource) -> Mapping[str, Any]:
        """Return the present contract of a resource; empty if there is none."""
        found: Mapping[str, Any] = self.source(resource.source).get("resources", {}).get(resource.name) or {}
        return found

    def loaded(self, resource: Resource, version: str) -> Mapping[str, Any]:
        """Return the contract that days were loaded with; the present one if it was not stored."""
        place = (resource.source, resource.name, version)
        if place not in self._loaded:
            try:
                content = self._store.document(f"_contracts/{'/'.join(place)}.json").read()
                self._loaded[place] = msgspec.json.decode(content or b"", type=dict[str, Any])
            except (OSError, msgspec.DecodeError, UnicodeDecodeError):
                self._loaded[place] = self.resource(resource)
        return self._loaded[place]

    def columns(self, resource: Resource) -> Mapping[str, Mapping[str, Any]]:
        """Return the columns of the present contract of a resource, by name."""
        found = self.resource(resource).get("columns") or ()
        return {column["name"]: column for column in found if isinstance(column, dict) and "name" in column}

    def sensitive(self, resource: Resource) -> frozenset[str]:
        """Return the columns whose values are not shown: all of them if the contract cannot be read."""
        if not (columns := self.columns(resource)):
            return frozenset(resource.types)
        found = {name for name, column in columns.items() if column.get("sensitive")}
        # values of a column that the contract no longer has are not known to be harmless
        unknown = set(resource.types) - set(columns) - {"dt", "_row", "_extra"} if found else set()
        return frozenset(found | unknown)

    def address(self, resource: Resource) -> str:
        """Return method and address of the requests of a resource, without secrets."""
        source, own = self.source(resource.source), self.resource(resource)
        base = str(own.get("base_url") or _base_url(source)).rstrip("/")
        path = str(own.get("path", ""))
        if (nested := own.get("nested")) and isinstance(nested, dict):
            return redact(f"{own.get('method', 'GET')} {base}{path}, the list at {nested.get('path')}")
        return redact(f"{own.get('method', 'GET')} {base}{path}")


def read_load(
    store: Store, contracts: Contracts, resource: Resource, day: dt.date, position: int | None = None
) -> Load | None:
    """Return the load of a day; None if its record cannot be read.

    Args:
        store: The Bronze folder.
        contracts: The contracts.
        resource: The resource.
        day: The day.
        position: The position of a row among all that the source sent for the day.
    """
    entry = read_entry(store, resource, day)
    if entry is None:
        return None
    return Load(
        day=day,
        run_id=entry.run_id,
        triggered_by=entry.triggered_by,
        started_at=moment_text(entry.started_at),
        loaded_at=moment_text(entry.loaded_at),
        validated_at=moment_text(entry.validated_at) if entry.validated_at else None,
        address=contracts.address(resource).replace("{day}", str(day)),
        pages=entry.pages,
        page=_page(contracts.loaded(resource, entry.contract_version), entry.pages, position),
        declared=entry.declared,
        fetched=entry.fetched,
        bronze=entry.bronze,
        quarantined=entry.quarantined,
        contract_version=entry.contract_version,
        rules=_rules(store, entry),
        drift=tuple(f"field `{note.field}` is {note.kind} in {note.rows} rows ({note.action})" for note in entry.drift),
    )


def moment_text(moment: dt.datetime) -> str:
    """Return a moment as text: UTC, ISO 8601."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _rules(store: Store, entry: LedgerEntry) -> tuple[Rule, ...]:
    try:
        report = msgspec.json.decode(store.report_content(entry) or b"")
        return tuple(
            Rule(rule["rule"], rule["severity"], rule["expectation"], rule["rows"]) for rule in report["rules"]
        )
    except (OSError, BronzeError, msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return ()


def _page(contract: Mapping[str, Any], pages: int, position: int | None) -> int | None:
    """Return the page of a row, if all pages but the last have the same number of rows."""
    if pages == 1:
        return 1
    paging = contract.get("pagination") or {}
    size = paging.get("page_size")
    is_plain = paging.get("type") in {"page", "offset"} and not contract.get("for_each") and not contract.get("nested")
    if position is None or not is_plain or not isinstance(size, int) or size < 1:
        return None
    found = position // size + 1
    return found if found <= pages else None


def _base_url(source: Mapping[str, Any]) -> str:
    name = source.get("base_url_env")
    configured: object = None
    if name == "API_BASE_URL":
        configured = settings().api_base_url
    elif isinstance(name, str):
        configured = variable(name)
    return str(configured or source.get("base_url", ""))
