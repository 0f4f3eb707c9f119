"""A peer of ingestion: PyAirbyte with a declarative source, in the environment of `make bench`.

python ingest_airbyte.py URL ROWS OUT     OUT is a folder that does not exist

Its cache is a DuckDB file; that is copied to Parquet, which takes a second or two of its time.
"""

import os
import sys
from pathlib import Path

os.environ |= {"DO_NOT_TRACK": "1", "AIRBYTE_OFFLINE_MODE": "1"}

import airbyte

PARTS, CONCURRENCY = 4, 8
PROPERTIES = {
    "id": {"type": "integer"},
    "userId": {"type": "integer"},
    "title": {"type": "string"},
    "body": {"type": "string"},
    "createdAt": {"type": "string", "format": "date-time", "airbyte_type": "timestamp_with_timezone"},
    "amount": {"type": "number"},
    "done": {"type": "boolean"},
}


def stream(url, first, last):
    """Return a stream of the pages from `first` to `last`; several streams are read at once."""
    pages = {"type": "PageIncrement", "page_size": 1000, "start_from_page": first, "inject_on_first_request": True}
    option = {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "page"}
    return {
        "type": "DeclarativeStream",
        "name": f"rows_{first}",
        "primary_key": [],
        "schema_loader": {"type": "InlineSchemaLoader", "schema": {"type": "object", "properties": PROPERTIES}},
        "retriever": {
            "type": "SimpleRetriever",
            "requester": {
                "type": "HttpRequester",
                "url_base": url,
                "path": "",
                "http_method": "GET",
                "request_parameters": {"size": "1000", "total": str(last * 1000)},
            },
            "record_selector": {
                "type": "RecordSelector",
                "extractor": {"type": "DpathExtractor", "field_path": []},
            },
            "paginator": {
                "type": "DefaultPaginator",
                "page_token_option": option,
                "pagination_strategy": pages,
            },
        },
    }


def main(url, rows, out):
    pages = rows // 1000
    per_part = -(-pages // PARTS)
    streams = [stream(url, first, min(first + per_part - 1, pages)) for first in range(1, pages + 1, per_part)]
    manifest = {
        "type": "DeclarativeSource",
        "version": "6.0.0",
        "check": {"type": "CheckStream", "stream_names": [streams[0]["name"]]},
        "concurrency_level": {"type": "ConcurrencyLevel", "default_concurrency": CONCURRENCY},
        "streams": streams,
        "spec": {"type": "Spec", "connection_specification": {"type": "object", "properties": {}}},
    }
    source = airbyte.get_source("source-bench", config={}, source_manifest=manifest)
    source.select_all_streams()
    out.mkdir()
    cache = airbyte.caches.DuckDBCache(db_path=out / "cache.duckdb")
    source.read(cache=cache, force_full_refresh=True)
    tables = " union all by name ".join(f'select * from main."{each["name"]}"' for each in streams)
    names = ", ".join(f'{name} as "{name}"' for name in PROPERTIES)
    with cache.get_sql_engine().begin() as connection:
        connection.exec_driver_sql(
            f"copy (select {names} from ({tables})) to '{out}/rows.parquet' (format parquet, compression zstd)"
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
