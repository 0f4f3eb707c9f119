"""What tests of workers share: a source that waits, the end of a machine, and the tables of one machine."""

import contextlib
import os
import subprocess
import sys
import threading

import psutil

from scripts.config import PROJECT_DIR
from tests.support.tables import tables

HELD_SECONDS = 240


def held(api, monkeypatch):
    """Let no request of a load be answered until the returned event is set."""
    gate, answer = threading.Event(), api.RequestHandlerClass.do_GET

    def wait_then_answer(handler):
        gate.wait(HELD_SECONDS)
        answer(handler)

    monkeypatch.setattr(api.RequestHandlerClass, "do_GET", wait_then_answer)
    return gate


def one_machine(folder, url, *days):
    """Return the tables of the same days, loaded by the command line into a folder, whatever `.env` says."""
    environ = os.environ | {"DATA_DIR": str(folder), "BRONZE_DIR": str(folder / "bronze")}
    environ |= dict.fromkeys(("API_BASE_URL", "COIN_API_BASE_URL"), url)
    for first, last in days:
        command = [sys.executable, "-m", "scripts.cli.main", "backfill", "--source", "jsonplaceholder"]
        command += ["--start-date", first, "--end-date", last]
        done = subprocess.run(command, cwd=PROJECT_DIR, env=environ, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    return tables(folder / "warehouse.duckdb")


def family(process):
    """Return the processes of a worker: its own, its pool's, and those of loads."""
    try:
        own = psutil.Process(process.pid)
        return [own, *own.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill_family(process):
    """Kill all of them at once, as the end of a machine does."""
    for one in family(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()
