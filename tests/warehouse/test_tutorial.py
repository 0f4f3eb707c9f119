"""The tutorial of docs/adding-a-source.md, done as it stands there, against a server in the shape of its API."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.parse

import duckdb
import pytest

from scripts.config import PROJECT_DIR

pytestmark = pytest.mark.timeout(3000)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"\A(?:#|--) ((?:scripts|dbt)/\S+)\n")
CATEGORIES = ("beauty", "groceries", "tops")


def product(number):
    found = {"id": number, "title": f"Thing {number}", "category": CATEGORIES[number % 3], "price": number / 2}
    found |= {"stock": number % 7, "tags": ["new"], "dimensions": {"width": 1.5}}
    return found | ({"brand": "Essence"} if number % 2 else {})


@pytest.fixture
def dummyjson():
    """A server of 194 products."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            skip, limit = int(asked["skip"][0]), int(asked["limit"][0])
            rows = [product(number) for number in range(1, 195)][skip : skip + limit]
            body = json.dumps({"products": rows, "total": 194, "skip": skip, "limit": len(rows)}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_tutorial_leads_to_a_gold_table(tmp_path, dummyjson):
    for folder in ("scripts", "dbt", "docs"):
        ignored = shutil.ignore_patterns("target", "logs", "__pycache__")
        shutil.copytree(PROJECT_DIR / folder, tmp_path / folder, ignore=ignored)
    shutil.copy2(PROJECT_DIR / ".env.example", tmp_path)
    pipeline = tmp_path / "bin" / "pipeline"
    pipeline.parent.mkdir()
    pipeline.write_text(f'#!/bin/sh\nexec {sys.executable} -m scripts.cli.main "$@"\n')
    pipeline.chmod(0o755)
    environ = os.environ | {
        "PATH": f"{pipeline.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path),
        "DATA_DIR": str(tmp_path / "data"),
        "DUMMYJSON_BASE_URL": dummyjson,
    }
    text = (PROJECT_DIR / "docs/adding-a-source.md").read_text()
    text = text[text.index("## From an unknown API") : text.index("## The file")]
    shown = ""
    for kind, content in BLOCK.findall(text):
        if kind == "sh":
            command = ["bash", "-euo", "pipefail", "-c", content]
            done = subprocess.run(command, cwd=tmp_path, env=environ, text=True, capture_output=True, check=False)
            assert done.returncode == 0, f"{content}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            shown = done.stdout
        elif found := NAME.match(content):
            path = tmp_path / found.group(1)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    assert "beauty" in shown
    with duckdb.connect(str(tmp_path / "data/warehouse.duckdb"), read_only=True) as connection:
        query = "select category, product_count, stock_count from gold.fct_category_stock order by category"
        rows = connection.execute(query).fetchall()
    expected = [
        (
            name,
            sum(1 for n in range(1, 195) if CATEGORIES[n % 3] == name),
            sum(n % 7 for n in range(1, 195) if CATEGORIES[n % 3] == name),
        )
        for name in sorted(CATEGORIES)
    ]
    assert rows == expected
