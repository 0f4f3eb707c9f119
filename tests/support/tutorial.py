"""The tutorial of docs/adding-a-source.md, done as it stands there, and a server in the shape of its API."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from scripts.config import PROJECT_DIR
from tests.support.answering import answering

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.answering import Answer, Ask

CATEGORIES = ("beauty", "groceries", "tops")
PRODUCTS = 194
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"\A(?:#|--) ((?:scripts|dbt)/\S+)\n")


def product(number: int) -> dict[str, Any]:
    """Return a product, with fields that the tutorial's contract discards."""
    found = {"id": number, "title": f"Thing {number}", "category": CATEGORIES[number % 3], "price": number / 2}
    found |= {"stock": number % 7, "tags": ["new"], "dimensions": {"width": 1.5}}
    return found | ({"brand": "Essence"} if number % 2 else {})


@contextlib.contextmanager
def serving_products() -> Iterator[str]:
    """Run a server of products; return its URL."""

    def answer(ask: Ask) -> Answer:
        skip, limit = int(ask.query["skip"]), int(ask.query["limit"])
        rows = [product(number) for number in range(1, PRODUCTS + 1)][skip : skip + limit]
        body = json.dumps({"products": rows, "total": PRODUCTS, "skip": skip, "limit": len(rows)}).encode()
        return 200, {"Content-Type": "application/json"}, body

    with answering(answer) as (url, _):
        yield url


def copy_repository(folder: Path) -> Mapping[str, str]:
    """Copy what the pipeline consists of; return the environment in which `pipeline` is the copy."""
    for name in ("scripts", "dbt", "docs"):
        ignored = shutil.ignore_patterns("target", "logs", "__pycache__")
        shutil.copytree(PROJECT_DIR / name, folder / name, ignore=ignored)
    shutil.copy2(PROJECT_DIR / ".env.example", folder)
    pipeline = folder / "bin" / "pipeline"
    pipeline.parent.mkdir()
    pipeline.write_text(f'#!/bin/sh\nexec {sys.executable} -m scripts.cli.main "$@"\n')
    pipeline.chmod(0o755)
    return os.environ | {
        "PATH": f"{pipeline.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "DATA_DIR": str(folder / "data"),
    }


def run_in(folder: Path, commands: str, environ: Mapping[str, str]) -> str:
    """Run commands in a folder; return what they print."""
    command = ["bash", "-euo", "pipefail", "-c", commands]
    done = subprocess.run(command, cwd=folder, env=environ, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{commands}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def follow_tutorial(folder: Path, environ: Mapping[str, str], products: str) -> str:
    """Write the tutorial's files and run its commands; return what the last one prints."""
    text = (PROJECT_DIR / "docs/adding-a-source.md").read_text()
    text = text[text.index("## From an unknown API") : text.index("## The file")]
    shown = ""
    for kind, content in _BLOCK.findall(text):
        if kind == "sh":
            shown = run_in(folder, content, {**environ, "DUMMYJSON_BASE_URL": products})
        elif found := _NAME.match(content):
            path = folder / found.group(1)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    return shown
