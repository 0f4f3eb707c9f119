"""Tests that a page of docs/ names, as `tests/FOLDER/test_FILE.py::test_NAME`."""

from __future__ import annotations

import re

from scripts.config import PROJECT_DIR


def named(text: str) -> list[tuple[str, str]]:
    """Return the tests that a text names: file and function."""
    return re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", text)


def missing(text: str) -> list[str]:
    """Return the tests that a text names and that do not exist."""
    return [f"{file}::{name}" for file, name in named(text) if name not in functions(file)]


def functions(file: str) -> list[str]:
    """Return the names of the tests of a file, in its order; none if there is no such file."""
    path = PROJECT_DIR / file
    return re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE) if path.is_file() else []
