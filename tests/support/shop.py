"""A source, its ledger and its failed attempts as plain data, and what is due of them."""

import datetime as dt

from scripts.bronze.attempts import Attempt
from scripts.bronze.ledger import LedgerEntry, Partition
from scripts.contracts.catalog import Catalog
from scripts.contracts.source import Source
from scripts.planning.due import due
from scripts.planning.published import Published

SHOP = {
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


def at(text):
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def shop(**keys):
    return Source.model_validate(SHOP | keys)


def entry(source, day, *, status="validated", started=None, version=None, content="a", quarantined=0):
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


def find(source, *entries, attempts=None, published=None, now=NOW, broken=None):
    ledger = {item.partition: item for item in entries}
    catalog = Catalog({source.source: source}, broken or {})
    held = {item.partition: item.content_hash for item in entries if item.status == "validated"}
    return due(catalog, ledger, attempts or {}, published or Published("000001", held), at(now))


def failed(source, day, *, final, count=1, at_time=NOW, version=None):
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
