"""Ingestion as the pipeline does it, with everything on; `DATA_DIR` and `BENCH_URL` are set.

python ingest_ours.py STEP ROWS     STEP: ingest or validate
"""

import datetime as dt
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bronze.run import Run
from scripts.contracts import catalog
from scripts.utils.exit_codes import start_logging

DAY = dt.date(2024, 1, 1)


def main(step, rows):
    start_logging()
    source, run = catalog.read(Path(__file__).with_name("bench.yml")), Run.create(triggered_by="bench")
    source.resources["rows"].params["total"] = rows
    if step == "ingest":
        from scripts.extract.client import Client
        from scripts.ingest_api import ingest_partition

        with Client(source) as client:
            ingest_partition(source, "rows", DAY, run, client)
    else:
        from scripts.validate_data import validate_partition

        validate_partition(source, "rows", DAY, run)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
