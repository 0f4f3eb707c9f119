"""`scripts.utils.files`: what many write at once stays whole, and what fails leaves nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from scripts.utils.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path


def test_threads_that_write_the_same_file_leave_one_content_whole(tmp_path: Path) -> None:
    path, threads, rounds = tmp_path / "kept.json", 8, 50
    begin = threading.Barrier(threads)
    contents = [bytes([65 + number]) * 10_000 for number in range(threads)]

    def write(content: bytes) -> None:
        begin.wait()
        for _ in range(rounds):
            write_atomically(path, content)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, contents))

    assert path.read_bytes() in contents
    assert [found.name for found in tmp_path.iterdir()] == ["kept.json"]


def test_a_write_that_fails_leaves_the_old_content_and_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()

    with pytest.raises(OSError, match="directory"):
        write_atomically(path, b"new")

    assert [found.name for found in tmp_path.iterdir()] == ["folder"]
