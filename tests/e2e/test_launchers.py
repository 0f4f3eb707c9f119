"""The launchers of `make airflow-local`, `n8n-up` and `run-prefect`: ended in every way, mid-start and when ready."""

import functools
import os
import signal
import subprocess
import sys

import pytest

from local_stack import end_marked, marked
from n8n_local import N8N_DIR
from scripts.config import PROJECT_DIR
from tests.support.required import without

from .airflow_stack import open_folder
from .waiting import free_port, wait_for

pytestmark = pytest.mark.timeout(6000)

LAUNCHERS = {"Airflow": "airflow_local.py", "n8n": "n8n_local.py", "Prefect": "prefect_local.py"}


def is_there(launcher, mark, log, ready):
    """Return whether a launcher has started something, or with a name all of it."""
    assert launcher.poll() is None, log.read_text()
    return marked(mark) and (not ready or f"{ready} is ready" in log.read_text())


@pytest.mark.long
@pytest.mark.parametrize("name", LAUNCHERS)
def test_nothing_is_left_whatever_ends_a_launcher(name):
    if name == "n8n" and not (N8N_DIR / "node_modules/.bin/n8n").exists():
        without("REQUIRE_N8N", f"n8n is not installed in {N8N_DIR}: `make n8n-install`")
    with open_folder() as folder:
        data, log = folder / "data", folder / "launcher.log"
        mark = f"{(data / name.lower()).resolve()}:"
        command = [sys.executable, str(PROJECT_DIR / "infra" / LAUNCHERS[name]), "--port", str(free_port())]
        if name != "Prefect":
            command += ["--env-file", str(folder / "secrets.env")]
        environ = {k: v for k, v in os.environ.items() if k != "MAKELEVEL"}
        environ |= {"DATA_DIR": str(data), "N8N_RUNNERS_BROKER_PORT": str(free_port())}
        try:
            for kind in (signal.SIGKILL, signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
                with log.open("w") as output:
                    launcher = subprocess.Popen(command, env=environ, stdout=output, stderr=output)
                # once when it is ready; else in the middle of the start
                wait_for(functools.partial(is_there, launcher, mark, log, kind == signal.SIGKILL and name), name, 400)
                launcher.send_signal(kind)
                launcher.wait(120)
                wait_for(lambda: not marked(mark), f"the end of what {name} has started", 90)
        finally:
            end_marked(mark, 10)
