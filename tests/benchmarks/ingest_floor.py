"""The floor of ingestion: threads, requests, orjson, pyarrow, and nothing else.

python ingest_floor.py URL ROWS OUT
"""

import concurrent.futures
import sys
import threading

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import requests

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("userId", pa.int64()),
        ("title", pa.string()),
        ("body", pa.string()),
        ("createdAt", pa.string()),
        ("amount", pa.float64()),
        ("done", pa.bool_()),
    ]
)
THREADS, GROUP = 8, 100
STAMP = pa.timestamp("us", "UTC")


def main(url, rows, out):
    local = threading.local()

    def fetch(number):
        if not hasattr(local, "session"):
            local.session = requests.Session()
        answer = local.session.get(url, params={"page": number, "size": 1000, "total": rows})
        return pa.RecordBatch.from_pylist(orjson.loads(answer.content), schema=SCHEMA)

    place = SCHEMA.get_field_index("createdAt")
    target = SCHEMA.set(place, pa.field("createdAt", STAMP))
    numbers = range(1, rows // 1000 + 1)
    with (
        concurrent.futures.ThreadPoolExecutor(THREADS) as executor,
        pq.ParquetWriter(out, target, compression="zstd") as writer,
    ):
        for start in range(0, len(numbers), GROUP):
            table = pa.Table.from_batches(executor.map(fetch, numbers[start : start + GROUP]))
            stamps = pc.strptime(table["createdAt"], "%Y-%m-%dT%H:%M:%SZ", "us").cast(STAMP)
            writer.write_table(table.set_column(place, target.field(place), stamps))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
