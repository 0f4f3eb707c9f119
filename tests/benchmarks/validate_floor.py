"""The floor of validation: DuckDB reads the file and evaluates the predicates of bench.yml.

python validate_floor.py FILE
"""

import sys

import duckdb

QUERY = """
select
    count(*) filter (not coalesce(length(title) between 1 and 500, true)),
    count(*) filter (not coalesce(length(body) <= 10000, true)),
    count(*) filter (not coalesce(userId >= 1, true)),
    count(*) filter (not coalesce(amount between 0 and 1000, true)),
    count(*) filter (not coalesce(regexp_matches(title, '^row [0-9]+ '), true)),
    count(*) filter (not coalesce(id >= 1, true)),
    count(*) filter (not coalesce(length(body) >= 1, true)),
    count(*) filter (not coalesce(userId <= 5000, true)),
    count(*) - count(distinct id),
    count(*)
from read_parquet(?)
"""

if __name__ == "__main__":
    print(duckdb.execute(QUERY, [sys.argv[1]]).fetchone())
