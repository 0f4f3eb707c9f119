"""A source, its ledger and its failed attempts as plain data, and what is due of them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from scripts.bronze.attempts import Attempt
from scripts.bronze.ledger import LedgerEntry, Partition
from scripts.contracts.catalog import Catalog
from scripts.contracts.source import Source
from scripts.planning.due import Due, due
from scripts.planning.published import Published

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scripts.bronze.ledger import Status
    from scripts.errors import ContractError

SHOP: dict[str, Any] = {
    "source": "shop",
    "description": "A shop.",
    "owner": "shop@example.com",
    "base_url": "https://shop.example.com",
    "default_resource": "orders",
    "resources": {
        "orders": {
            "description": "Orders.",
            "path": "/orders",
            "primary_key": ["id"],
            "columns": [{"name": "id", "type": "integer", "description": "Identifies the order."}],
        }
    },
}
NOW = "2024-01-10T00:30"


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def shop(**keys: Any) -> Source:
    return Source.model_validate(SHOP | keys)


def entry(
    source: Source,
    day: str,
    *,
    status: Status = "validated",
    started: str | None = None,
    version: str | None = None,
    content: str = "a",
    quarantined: int = 0,
) -> LedgerEntry:
    moment = at(started) if started else at(f"{day}T00:00") + dt.timedelta(days=1, minutes=1)
    return LedgerEntry(
        source.source,
        "orders",
        dt.date.fromisoformat(day),
        status,
        declared=None,
        fetched=100,
        bronze=100 - quarantined,
        quarantined=quarantined,
        pages=1,
        retries=0,
        path="",
        bytes=1,
        content_hash=content,
        contract_version=version or source.resources["orders"].version,
        run_id="r",
        triggered_by="test",
        started_at=moment,
        loaded_at=moment + dt.timedelta(seconds=10),
    )


def find(
    source: Source,
    *entries: LedgerEntry,
    attempts: Mapping[Partition, Attempt] | None = None,
    published: Published | None = None,
    now: str = NOW,
    broken: Mapping[str, ContractError] | None = None,
) -> Due:
    ledger = {item.partition: item for item in entries}
    catalog = Catalog({source.source: source}, broken or {})
    held = {item.partition: item.content_state for item in entries if item.status == "validated"}
    return due(catalog, ledger, attempts or {}, published or Published("000001", held), at(now))


def failed(
    source: Source, day: str, *, final: bool, count: int = 1, at_time: str = NOW, version: str | None = None
) -> dict[Partition, Attempt]:
    attempt = Attempt(
        at(at_time),
        "SomeError",
        "what went wrong",
        is_final=final,
        count=count,
        fingerprint=version or source.resources["orders"].version,
        run_id="r",
        triggered_by="test",
    )
    return {Partition(source.source, "orders", dt.date.fromisoformat(day)): attempt}
