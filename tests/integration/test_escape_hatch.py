"""Rows from a real Singer tap and a real dlt resource of PyPI, each over the sample API, by the same contract.

They are installed into the cache once, in environments of their own: a tap is a program, and dlt's packages come after
the pipeline's own.
"""

import datetime as dt
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from scripts.config import PROJECT_DIR
from scripts.contracts.source import Source
from scripts.errors import SourceRejectedError
from scripts.extract import functions
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "data-pipeline" / "escape_hatch"
DAY = dt.date(2024, 1, 2)
POSTS = {
    "description": "Posts.",
    "primary_key": ["id"],
    "columns": [
        {"name": "id", "type": "integer", "nullable": False, "description": "Key."},
        {"name": "userId", "type": "integer", "description": "Author."},
        {"name": "title", "type": "string", "description": "Title."},
        {"name": "body", "type": "string", "description": "Text."},
        {"name": "createdAt", "type": "timestamp", "description": "When it was written."},
    ],
    "rules": [{"name": "no_two", "severity": "quarantine", "column": "id", "range": {"min": 3}}],
}


def install(*packages):
    """Install packages into an environment of the cache that has exactly these, and return its folder."""
    folder = CACHE / "-".join(packages).replace("<", "").replace("=", "")
    if not (folder / "installed").exists():
        uv = shutil.which("uv") or str(PROJECT_DIR / ".tools" / "bin" / "uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        command = [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", *packages]
        done = subprocess.run(command, text=True, capture_output=True, check=False)
        if done.returncode:
            assert not os.environ.get("CI"), done.stderr
            pytest.skip(f"{packages[0]} cannot be installed: {done.stderr[-200:]}")
        (folder / "installed").touch()
    return folder


@pytest.fixture
def load(api, run):
    """Load posts of the sample API by a contract whose rows come from elsewhere."""

    def load_posts(**origin):
        text = {"source": "demo", "description": "x", "owner": "me@example.com", "base_url": api.url}
        source = Source.model_validate(
            {**text, "default_resource": "posts", "resources": {"posts": {**POSTS, **origin}}}
        )
        with Client(source) as connection:
            entry = ingest_partition(source, "posts", DAY, run, connection, validate=True)
        return entry, pq.read_table(run.store.root / entry.path)

    return load_posts


@pytest.fixture
def expected(api, run, load):
    """The same posts, asked for by the contract itself: their record and rows."""
    entry, table = load(
        path="/posts", params={"_limit": 50}, headers={"X-Logical-Date": "{day}"}, pagination={"type": "link"}
    )
    assert entry.quarantined > 2
    return entry, table


def counts(entry):
    return entry.fetched, entry.bronze, entry.quarantined


def test_a_singer_tap_gives_the_same_partition(load, expected, api):
    tap = install("tap-rest-api-msdk==1.4.2", "setuptools<81") / "bin" / "tap-rest-api-msdk"
    stream = {"name": "posts", "path": "/posts", "primary_keys": ["id"], "records_path": "$[*]"}
    stream |= {"params": {"_limit": 50}, "headers": {"X-Logical-Date": "{day}"}, "num_inference_records": 200}
    paging = {"pagination_request_style": "header_link_paginator", "pagination_response_style": "header_link"}
    singer = {"command": [str(tap), "--config", "{config}"], "stream": "posts"}

    entry, table = load(singer={**singer, "config": {"api_url": api.url, **paging, "streams": [stream]}})

    assert counts(entry) == counts(expected[0])
    # what the contract does not name, the tap writes by its own schema
    assert table.drop(["_extra"]).equals(expected[1].drop(["_extra"]))
    with pytest.raises(SourceRejectedError, match="the tap ended with"):
        load(singer={**singer, "config": {"streams": [stream]}})


def test_a_dlt_resource_gives_the_same_partition(load, expected, api, tmp_path, monkeypatch):
    folder = install("dlt==1.31.0")
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    # after the pipeline's own packages, as if it had been installed beside them
    monkeypatch.setattr(sys, "path", [*sys.path, str(packages)])
    monkeypatch.setattr(functions, "PROJECT_DIR", tmp_path)
    (tmp_path / "shop.py").write_text(
        "from dlt.sources.rest_api import rest_api_resources\n\n\n"
        "def posts(day):\n"
        '    """Return the posts of a day."""\n'
        f"    client = {{'base_url': '{api.url}', 'headers': {{'X-Logical-Date': day.isoformat()}}}}\n"
        "    endpoint = {'path': 'posts', 'params': {'_limit': 50}, 'paginator': 'header_link'}\n"
        "    posts = {'name': 'posts', 'endpoint': endpoint}\n"
        "    (resource,) = rest_api_resources({'client': client, 'resources': [posts]})\n"
        "    return resource\n"
    )

    entry, _ = load(dlt="shop.py:posts")

    assert counts(entry) == counts(expected[0])
    assert entry.content_hash == expected[0].content_hash
