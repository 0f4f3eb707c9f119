"""A project of many resources, and Bronze with many small partitions, as loads would have left them.

python many.py project HOME RESOURCES               a copy of this repository with one source of so many resources
python many.py days HOME FIRST_DAY DAYS [RESOURCE]  ten rows for each day and resource; DATA_DIR and PYTHONPATH are set
"""

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, os.environ.get("PYTHONPATH") or str(Path(__file__).resolve().parents[2]))

ROWS = 10


def contract(resources):
    """Return the contract: resources `r000` to `rNNN` of three columns."""
    columns = [
        {"name": "id", "type": "integer", "nullable": False, "description": "Identifies the row."},
        {"name": "name", "type": "string", "nullable": False, "description": "A name."},
        {"name": "amount", "type": "number", "description": "An amount."},
    ]
    return {
        "source": "many",
        "description": "Rows of the benchmark.",
        "owner": "data-platform@example.com",
        "base_url": "http://127.0.0.1:1",
        "base_url_env": "MANY_BASE_URL",
        "default_resource": "r000",
        "resources": {
            f"r{number:03}": {
                "description": "Three columns.",
                "path": f"/r{number:03}",
                "params": {"day": "{day}"},
                "primary_key": ["id"],
                "columns": columns,
                "rules": [{"name": "amount_min", "severity": "quarantine", "column": "amount", "range": {"min": 0}}],
            }
            for number in range(resources)
        },
    }


def make_project(home, resources):
    """Copy the repository, with one source and the models that `pipeline sources new` writes for it."""
    from tests.support.clone import clone

    clone(home)
    for path in [*(home / "scripts/sources").glob("*.y*ml"), *(home / "dbt/models").rglob("*.*")]:
        path.unlink()
    (home / "scripts/sources/many.yml").write_text(json.dumps(contract(resources)))
    write = (
        "from scripts.admin import new_source; from scripts.contracts import catalog;"
        " source = catalog.pick('many'); new_source.write_models(source, source.resources)"
    )
    environ = os.environ | {"PYTHONPATH": str(home)}
    subprocess.run([sys.executable, "-c", write], cwd=home, env=environ, check=True)
    generate = [sys.executable, "-m", "scripts.cli.main", "sources", "generate"]
    subprocess.run(generate, cwd=home, env=environ, check=True, stdout=subprocess.DEVNULL)


def make_days(first_day, days, wanted=None):
    """Write the files and records of days; the rows of a day are the same in each resource."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from scripts.bronze import ledger
    from scripts.bronze.ledger import LedgerEntry, Partition
    from scripts.bronze.loaded_contracts import keep_contract
    from scripts.bronze.stores import open_store
    from scripts.contracts import catalog
    from scripts.contracts.types import arrow_schema
    from scripts.utils.files import hash_file

    source, store = catalog.pick("many"), open_store()
    now = dt.datetime.now(dt.UTC)
    for number in range(days):
        day = dt.date.fromisoformat(first_day) + dt.timedelta(days=number)
        columns = {
            "id": [day.toordinal() * ROWS + place for place in range(ROWS)],
            "name": ["a name"] * ROWS,
            "amount": [float(place) for place in range(ROWS)],
            "_extra": [None] * ROWS,
            "_row": [*range(ROWS)],
        }
        first = None
        for name, resource in source.resources.items():
            if wanted and name != wanted:
                continue
            partition = Partition("many", name, day)
            path = store.data_path(partition)
            path.parent.mkdir(parents=True)
            if first is None:
                schema = arrow_schema(resource)
                pq.write_table(pa.table({field.name: columns[field.name] for field in schema}, schema), path)
                first, digest = path, hash_file(path)
            else:
                os.link(first, path)
            entry = LedgerEntry(
                *partition,
                status="validated",
                declared=None,
                fetched=ROWS,
                bronze=ROWS,
                quarantined=0,
                pages=1,
                retries=0,
                path=str(path.relative_to(store.root)),
                bytes=path.stat().st_size,
                content_hash=digest,
                contract_version=resource.version,
                run_id="bench",
                triggered_by="bench",
                started_at=now,
                loaded_at=now,
                validated_at=now,
            )
            record = store.entry_path(partition)
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_bytes(ledger.encode(entry))
            if number == 0:
                keep_contract(store, "many", name, resource)


if __name__ == "__main__":
    if sys.argv[1] == "project":
        make_project(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        make_days(sys.argv[3], int(sys.argv[4]), *sys.argv[5:])
