"""The fixture of tests that write out many states of a folder."""

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture
def disk(tmp_path):
    """A folder in memory, where it is possible: each state is written out."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path / "disk"
        return
    folder = memory / f"crash-{os.getpid()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)
