"""The peer of ingestion: dlt's rest_api source to Parquet on disk, in the environment of `make bench`.

python ingest_dlt.py URL ROWS OUT
"""

import os
import sys

os.environ |= {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    # its best settings on two cores: resources in parallel, large buffers and files, no schema to guess
    "EXTRACT__WORKERS": "8",
    "EXTRACT__MAX_PARALLEL_ITEMS": "20",
    "NORMALIZE__WORKERS": "2",
    "NORMALIZE__START_METHOD": "fork",
    "DATA_WRITER__BUFFER_MAX_ITEMS": "50000",
    "DATA_WRITER__FILE_MAX_ITEMS": "250000",
    "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "false",
    "DATA_WRITER__COMPRESSION": "zstd",
}

import dlt
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

    pipeline = dlt.pipeline(
        "bench", pipelines_dir=f"{out}/state", destination=dlt.destinations.filesystem(bucket_url=f"file://{out}/data")
    )
    pipeline.run([part(number) for number in range(PARTS)], loader_file_format="parquet")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
