"""Kill the reload of a partition at every instruction; print what readers find, and what the next run makes of it."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import sys
from typing import TYPE_CHECKING, Any

sys.path.insert(0, ".")

from scripts.bronze.folder_store import FolderStore
from scripts.bronze.ledger import Partition
from scripts.bronze.run import Run
from scripts.config import settings
from scripts.contracts import catalog
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from scripts.validate_data import validate_partition
from tests.support.killer import die_at, in_child

if TYPE_CHECKING:
    from scripts.contracts.source import Source

DAY = dt.date(2024, 1, 2)
WHAT = Partition("jsonplaceholder", "posts", DAY)
STRICT = catalog.pick("jsonplaceholder")
DOCUMENT = STRICT.model_dump(mode="json", exclude_defaults=True)
DOCUMENT["resources"]["posts"] |= {"on_mistyped": "evolve", "rules": []}
MILD = type(STRICT).model_validate(DOCUMENT)


def load(source: Source) -> None:
    run = Run.create(triggered_by="test")
    with Client(source) as connection:
        ingest_partition(source, "posts", DAY, run, connection)
    validate_partition(source, "posts", DAY, run)


def state() -> dict[str, Any]:
    """What a reader of the files sees, and what the ledger says."""
    store = FolderStore(settings().data_dir / "bronze")
    data = store.data_path(WHAT)
    entry, rejected = store.entry(WHAT), store.quarantine_path(WHAT)
    kept = len(rejected.read_text().splitlines()) if rejected.exists() else 0
    return {
        "file": hashlib.sha256(data.read_bytes()).hexdigest() if data.exists() else None,
        "files": sorted(path.name for path in data.parent.iterdir()) if data.parent.exists() else [],
        "ledger": entry and [entry.content_hash, entry.bronze, entry.quarantined, entry.status],
        "quarantined": kept,
    }


def report(label: str, number: int = 0, *, recover: bool = False) -> None:
    def work() -> None:
        if recover:
            Run.create(triggered_by="test").store.recover()
        print(json.dumps({"label": label, "number": number, **state()}))

    in_child(work)


def main() -> None:
    changes: list[tuple[str, Source | None, Source]]
    changes = [("first", None, STRICT), ("mild", STRICT, MILD), ("strict", MILD, STRICT)]
    for label, before, after in changes:
        number = 0
        while True:
            number += 1
            if before is not None:
                in_child(functools.partial(load, before))
                if number == 1:
                    report("before " + label)

            def work(at: int = number, source: Source = after) -> None:
                die_at(at)
                load(source)

            code = in_child(work)
            if code == 0:
                report("after " + label)
                break
            if code != -9:
                raise SystemExit(f"the load failed at instruction {number}: {code}")
            report("killed " + label, number)
            report("recovered " + label, number, recover=True)


main()
