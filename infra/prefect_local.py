"""Prefect on this machine without Docker: a server, a worker, and the deployments of `prefect/prefect.yaml`.

It also serves the documentation, to which artifacts and alerts link, unless `DOCS_URL` names another server.

    python infra/prefect_local.py [--port 4200] [--env-file .env]     runs until Ctrl-C or SIGTERM

All its files are in `prefect/` of `DATA_DIR`. It listens on the loopback only, and asks for the login in
`PREFECT_API_AUTH_STRING`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import urllib.request
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from local_stack import (  # noqa: E402 — in the same folder
    LocalStack,
    docs_environ,
    free_port,
    refuse_a_taken_port,
    running_alone,
    variables,
)
from scripts.admin.env_file import ENV_FILE, init_env, port_of  # noqa: E402 — the repository has to be on the path
from scripts.config import settings  # noqa: E402 — the same

POOL = "data-pipeline"
WORKER = REPOSITORY / "infra" / "prefect_worker.py"
PREFECT = [str(Path(sys.executable).with_name("prefect"))]


def environment(port: int, env_file: Path, docs_port: int) -> dict[str, str]:
    """Return the environment of Prefect's processes; existing variables have priority over the files."""
    docs = {"DOCS_URL": f"http://127.0.0.1:{docs_port}"}
    known = docs | variables(REPOSITORY / "infra" / "prefect.env", env_file)
    return known | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "PREFECT_HOME": str(settings().data_dir / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_UI_URL": f"http://127.0.0.1:{port}",
        "PREFECT_SERVER_API_AUTH_STRING": known["PREFECT_API_AUTH_STRING"],
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}",
        # SQLite: wait longer than 10 s for a lock; PostgreSQL is no option, since Prefect needs its extension pg_trgm
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    }


def start(stack: LocalStack) -> None:
    """Start the server, create the deployments, and start the worker that runs them."""
    stack.start("server")
    stack.wait_until(lambda: _answers(f"{stack.environ['PREFECT_API_URL']}/health"))
    for line in stack.run("deploy", [sys.executable, str(REPOSITORY / "infra" / "prefect_deploy.py"), POOL]):
        if line.startswith("kept "):
            print(line, flush=True)
    if "docs" in stack.commands:
        stack.start("docs")
        stack.wait_until(lambda: _answers(f"{stack.environ['DOCS_URL']}/healthz"))
    stack.start("worker")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004 — HTTP's own number
    except OSError:
        return False


def main() -> None:
    """Start Prefect, and keep it running until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, help="by default PREFECT_PORT of the file")
    parser.add_argument("--env-file", type=Path, default=ENV_FILE, help="the file of the login; added if missing")
    arguments = parser.parse_args()
    init_env(arguments.env_file)
    port = arguments.port or port_of("PREFECT_PORT", arguments.env_file)
    with contextlib.suppress(KeyboardInterrupt), running_alone(settings().data_dir / "prefect", "Prefect"):
        launch(port, arguments.env_file)


def launch(port: int, env_file: Path) -> None:
    """Start Prefect, print its address, and keep it running."""
    refuse_a_taken_port(port, "make run-prefect PREFECT_PORT=4201")
    # other workers take the loads
    queue = ["--work-queue", "warehouse"] if settings().load_runs else []
    commands = {
        "server": [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        "worker": [sys.executable, str(WORKER), "--pool", POOL, "--type", "process", *queue],
    }
    print("starting Prefect", flush=True)
    docs_port = free_port(port_of("DOCS_PORT", env_file))
    environ = environment(port, env_file, docs_port)
    if environ["DOCS_URL"] == f"http://127.0.0.1:{docs_port}":
        site = str(REPOSITORY / "infra" / "docs_site.py")
        commands["docs"] = [sys.executable, site, "--host", "127.0.0.1", "--port", str(docs_port)]
    own = {"docs": docs_environ(environ)}
    stack = LocalStack(commands, environ, settings().data_dir / "prefect" / "logs", own)
    try:
        start(stack)
        print(f"Prefect is ready: {environ['PREFECT_UI_URL']}", flush=True)
        print(f"login: PREFECT_API_AUTH_STRING in {env_file}", flush=True)
        print(f"for Prefect's own command line: export PREFECT_API_URL={environ['PREFECT_API_URL']}", flush=True)
        if queue:
            print(f"loads wait for workers: {WORKER} --pool {POOL} --type process --work-queue default", flush=True)
        print(f"documentation: {environ['DOCS_URL']}", flush=True)
        print(f"logs: {stack.logs}; stop it with Ctrl-C", flush=True)
        stack.watch()
    finally:
        stack.stop(["worker", "server", "docs"])


if __name__ == "__main__":
    main()
