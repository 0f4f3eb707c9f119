"""Prefect on this machine without Docker: a server, a worker, and the deployments of `prefect/prefect.yaml`.

    python infra/prefect_local.py [--port 4200]     until Ctrl-C or SIGTERM

Everything that it writes lies in `prefect/` of `DATA_DIR`; it listens on the loopback only.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import urllib.request
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from local_stack import LocalStack, refuse_a_taken_port  # noqa: E402 — beside this file
from scripts.config import settings  # noqa: E402 — the repository has to be on the path

POOL = "data-pipeline"
PREFECT = [str(Path(sys.executable).with_name("prefect"))]


def environment(port: int) -> dict[str, str]:
    """Return the environment of Prefect's processes."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "PREFECT_HOME": str(settings().data_dir / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_UI_URL": f"http://127.0.0.1:{port}",
        # SQLite: wait for a lock longer than 10 s; Prefect on PostgreSQL needs the extension pg_trgm
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "pipeline",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
        "DO_NOT_TRACK": "1",
    }


def start(stack: LocalStack) -> None:
    """Start the server, make the deployments, and start the worker that runs them."""
    stack.start("server")
    stack.wait_until(lambda: _answers(f"{stack.environ['PREFECT_API_URL']}/health"))
    stack.run("work-pool", [*PREFECT, "work-pool", "create", POOL, "--type", "process", "--overwrite"])
    stack.run("deploy", [*PREFECT, "deploy", "--all", "--prefect-file", str(REPOSITORY / "prefect" / "prefect.yaml")])
    stack.start("worker")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004 — HTTP's own number
    except OSError:
        return False


def main() -> None:
    """Start Prefect, say where it is, and keep it running until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=4200)
    port = parser.parse_args().port
    refuse_a_taken_port(port, "make run-prefect PREFECT_PORT=4201")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    commands = {
        "server": [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        "worker": [*PREFECT, "worker", "start", "--pool", POOL, "--type", "process"],
    }
    print("starting Prefect", flush=True)
    environ = environment(port)
    stack = LocalStack(commands, environ, settings().data_dir / "prefect" / "logs")
    try:
        start(stack)
        print(f"Prefect is ready: {environ['PREFECT_UI_URL']}", flush=True)
        print(f"logs: {stack.logs}; stop it with Ctrl-C", flush=True)
        stack.watch()
    except KeyboardInterrupt:
        pass
    finally:
        stack.stop(["worker", "server"])


if __name__ == "__main__":
    main()
