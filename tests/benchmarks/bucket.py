"""Count the requests to a bucket for each piece of work, with what they cost at a public price list.

python tests/benchmarks/bucket.py      # needs the S3 server of `make test-scale`
"""

import collections
import datetime as dt
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, ".")

from tests.support.object_server import serving_objects

# US dollars for a thousand requests to S3 Standard in us-east-1; removing is free
PRICES = {"PUT": 0.005, "POST": 0.005, "LIST": 0.005, "GET": 0.0004, "HEAD": 0.0004, "DELETE": 0.0}
DAYS = [dt.date(2024, 1, 1) + dt.timedelta(days=place) for place in range(3)]
SOURCES = ("jsonplaceholder", "coin_prices")


def kind(method, path):
    if method == "GET" and "list-type=2" in path:
        return "LIST"
    return "DELETE" if method == "POST" and "delete" in path else method


def main():
    with (
        tempfile.TemporaryDirectory() as folder,
        serving_objects(Path(folder) / "s3") as server,
        server.proxy() as proxy,
    ):
        os.environ |= server.variables(proxy.url) | {
            "BRONZE_DIR": server.new_prefix(),
            "DATA_DIR": f"{folder}/data",
            "LOG_LEVEL": "ERROR",
        }
        from scripts.bronze.run import Run
        from scripts.loading.partitions import load, partitions
        from scripts.monitoring.status import read_status
        from scripts.planning.reconcile import examine
        from scripts.sample_api.server import serving
        from scripts.warehouse.build import build_warehouse

        with serving() as api:
            os.environ |= {"API_BASE_URL": api.url, "COIN_API_BASE_URL": api.url}
            run = Run.create(triggered_by="benchmark")
            first, again = partitions(DAYS[:2], SOURCES), partitions(DAYS[2:], SOURCES)
            pieces = {
                f"load {len(first)} new partitions": lambda: load(run, first),
                "the ledger for the first time": lambda: list(run.store.entries()),
                "the ledger again": lambda: list(run.store.entries()),
                f"first build of {len(first)} partitions": lambda: build_warehouse(run),
                f"load {len(again)} partitions of a new day": lambda: load(run, again),
                f"build of {len(again)} new partitions": lambda: build_warehouse(run),
                "build without work": lambda: build_warehouse(run),
                "what is due": lambda: examine(run.store),
                "status": lambda: read_status(run.store),
                "status --verify": lambda: read_status(run.store, content=True),
            }
            for name, work in pieces.items():
                proxy.requests.clear()
                started = time.monotonic()
                work()
                seconds = time.monotonic() - started
                counts = collections.Counter(kind(*request) for request in proxy.requests)
                price = sum(PRICES[what] * number / 1000 for what, number in counts.items())
                found = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
                print(f"{name}: {found}; {price * 1e6:.0f} millionths of a dollar; {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
