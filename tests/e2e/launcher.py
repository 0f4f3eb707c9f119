"""The launchers of infra/, which run a tool on this machine, as processes of a test."""

import contextlib
import os
import subprocess
import sys

from scripts.config import PROJECT_DIR

from .waiting import wait_for


@contextlib.contextmanager
def launched(name, script, *options, log, environ, start_seconds, stop_seconds=90, home=PROJECT_DIR):
    """Run a launcher of a clone for the block, once it says that what it launches is ready; yields its process."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(home / "infra" / script), *map(str, options)],
            env=os.environ | {key: str(value) for key, value in environ.items()},
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(lambda: f"{name} is ready" in log.read_text() or process.poll() is not None, name, start_seconds)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        process.terminate()
        process.wait(stop_seconds)
