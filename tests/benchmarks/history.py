"""Fill a Bronze folder with days of posts, as loads would have left it; DATA_DIR is set.

python history.py FIRST_DAY DAYS ROWS
"""

import datetime as dt
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import duckdb

from scripts.bronze.ledger import LedgerEntry, Partition
from scripts.bronze.stores import open_store
from scripts.contracts import catalog

POSTS = """
copy (
    select
        ({first} + i)::bigint as id, (i % 5000 + 1)::bigint as "userId", 'row ' || ({first} + i) as title,
        md5(i::varchar) || md5((i + {first})::varchar) as body,
        (date '{day}' + interval (i % 86400) second)::timestamp at time zone 'UTC' as "createdAt",
        null::varchar as _extra, i::bigint as _row
    from range({rows}) as r(i)
) to '{path}' (format parquet, compression zstd)
"""


def main(first_day, days, rows):
    store, resource = open_store(), catalog.pick("jsonplaceholder").resources["posts"]
    start = dt.date.fromisoformat(first_day)
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        for number in range(days):
            day = start + dt.timedelta(days=number)
            partition, now = Partition("jsonplaceholder", "posts", day), dt.datetime.now(dt.UTC)
            with store.replacing(partition, purpose="bench", timeout=1) as staged:
                serial = (day - dt.date(2000, 1, 1)).days * 1_000_000
                connection.execute(POSTS.format(first=serial, day=day, rows=rows, path=staged.data))
                counts = {"fetched": rows, "bronze": rows, "declared": rows, "quarantined": 0, "pages": 1, "retries": 0}
                times = {"started_at": now, "loaded_at": now, "validated_at": now}
                about = {"contract_version": resource.version, "run_id": "bench", "triggered_by": "bench"}
                staged.commit(
                    LedgerEntry(
                        *partition, status="validated", path="", bytes=0, content_hash="", **counts, **times, **about
                    )
                )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
