"""A launcher of harmless programs, as those of `infra/` are made: python launch_programs.py FOLDER."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "infra")]

from local_stack import LocalStack, running_alone

SLEEP = "import time; time.sleep(600)"
# as Airflow's API server does it
NAMED = f"import setproctitle; setproctitle.setproctitle('xxx time.sleep ' + 'x' * 500); {SLEEP}"
# a grandchild in a session of its own, without the launcher's environment
PARENT = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True, env={{}})
time.sleep(600)
"""


def main(folder: Path) -> None:
    with contextlib.suppress(KeyboardInterrupt), running_alone(folder, "the stack"):
        commands = {"alone": [sys.executable, "-c", NAMED], "parent": [sys.executable, "-c", PARENT]}
        stack = LocalStack(commands, dict(os.environ), folder / "logs")
        try:
            for name in commands:
                stack.start(name)
            print("the stack is ready", flush=True)
            stack.watch()
        finally:
            stack.stop(["parent", "alone"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
