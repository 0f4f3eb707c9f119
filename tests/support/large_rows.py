"""Load and validate rows of 1 MB from a server of its own, and print the peak of this process's memory in MB.

python large_rows.py ROWS PAGE_SIZE
"""

from __future__ import annotations

import datetime as dt
import http.server
import multiprocessing
import sys
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scripts.bronze.run import Run
from scripts.contracts.source import Source
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from scripts.validate_data import validate_partition

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

ROW = 1_000_000


def serve(rows: int, channel: Connection) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            page, size = int(asked["page"][0]), int(asked["size"][0])
            numbers = range((page - 1) * size, min(page * size, rows))
            records = [f'{{"id":{number},"text":"{chr(97 + number % 26) * ROW}"}}' for number in numbers]
            body = f"[{','.join(records)}]".encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Total-Count", str(rows))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    channel.send(server.server_port)
    server.serve_forever()


def main(rows: int, size: int) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(rows, theirs), daemon=True)
    process.start()
    port = ours.recv()

    source = Source.model_validate(
        {
            "source": "large",
            "description": "d",
            "owner": "me@example.com",
            "base_url": f"http://127.0.0.1:{port}",
            "default_resource": "rows",
            "resources": {
                "rows": {
                    "description": "d",
                    "path": "/rows",
                    "primary_key": ["id"],
                    "load": {"mode": "snapshot", "of": "day"},
                    "pagination": {
                        "type": "page",
                        "page_param": "page",
                        "size_param": "size",
                        "page_size": size,
                        "stop": "total",
                    },
                    "total": {"header": "X-Total-Count"},
                    "columns": [
                        {"name": "id", "type": "integer", "nullable": False, "description": "d"},
                        {"name": "text", "type": "string", "description": "d"},
                    ],
                    "rules": [
                        {"name": "text_once", "severity": "quarantine", "unique": ["text"]},
                        {"name": "text_length", "severity": "warn", "column": "text", "length": {"max": 10}},
                    ],
                }
            },
        }
    )
    run = Run.create(triggered_by="test")
    day = dt.date(2024, 1, 1)
    with Client(source) as connection:
        entry = ingest_partition(source, "rows", day, run, connection)
    loaded = peak()
    checked = validate_partition(source, "rows", day, run)
    print(entry.fetched, checked.bronze, checked.quarantined, loaded, peak())
    process.terminate()


def peak() -> int:
    # not `getrusage`, which begins with what the parent had when it forked
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
