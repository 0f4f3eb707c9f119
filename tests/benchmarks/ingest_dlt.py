"""The peer of ingestion: dlt's rest_api source to Parquet on disk, in the environment of `make bench`.

python ingest_dlt.py URL ROWS OUT
"""

import sys

import dlt_peer
from dlt.sources.rest_api import rest_api_resources

PARTS = 4
COLUMNS = {
    "id": {"data_type": "bigint"},
    "userId": {"data_type": "bigint"},
    "title": {"data_type": "text"},
    "body": {"data_type": "text"},
    "createdAt": {"data_type": "timestamp"},
    "amount": {"data_type": "double"},
    "done": {"data_type": "bool"},
}


def main(url, rows, out):
    base, path = url.rsplit("/", 1)
    pages = rows // 1000
    per_part = -(-pages // PARTS)

    def part(number):
        first = number * per_part + 1
        last = min(first + per_part - 1, pages)
        (resource,) = rest_api_resources(
            {
                "client": {"base_url": base},
                "resources": [
                    {
                        "name": f"rows_{number}",
                        "table_name": "rows",
                        "write_disposition": "replace",
                        "columns": COLUMNS,
                        "endpoint": {
                            "path": path,
                            "params": {"size": 1000, "total": rows},
                            "paginator": {
                                "type": "page_number",
                                "base_page": first,
                                "page_param": "page",
                                "total_path": None,
                                "maximum_page": last + 1,
                            },
                        },
                        "parallelized": True,
                    }
                ],
            }
        )
        return resource

    dlt_peer.load([part(number) for number in range(PARTS)], out)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
