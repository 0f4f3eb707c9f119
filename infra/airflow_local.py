"""Airflow on this machine without Docker: a private PostgreSQL and Airflow's four processes, on the loopback only.

    python infra/airflow_local.py [--port 8080] [--env-file .env]     runs until Ctrl-C or SIGTERM
    python infra/airflow_local.py exec airflow dags list              runs a command in the environment of that Airflow

All its files are in `airflow/` and `postgres/` of `DATA_DIR`. It restarts a process that dies.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy

if TYPE_CHECKING:
    from collections.abc import Sequence

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from local_stack import (  # noqa: E402 — in the same folder
    MARK,
    LocalStack,
    postgres,
    refuse_a_taken_port,
    refuse_other_secrets,
    running_alone,
    variables,
)
from scripts.admin import airflow_doctor  # noqa: E402 — the repository has to be on the path
from scripts.admin.env_file import ENV_FILE, init_env, port_of  # noqa: E402 — the same
from scripts.config import settings  # noqa: E402 — the repository has to be on the path
from scripts.utils.files import write_atomically  # noqa: E402 — the same

# the scheduler starts after the API server, since its tasks call the API server
COMPONENTS = {
    "api-server": [sys.executable, "-m", "airflow", "api-server"],
    "scheduler": [sys.executable, str(REPOSITORY / "infra" / "airflow_scheduler.py"), "-s"],
    "dag-processor": [sys.executable, "-m", "airflow", "dag-processor"],
    "triggerer": [sys.executable, "-m", "airflow", "triggerer", "-s"],
}
WATCHED = ("scheduler", "dag_processor", "triggerer")


def environment(port: int, env_file: Path, database: str) -> dict[str, str]:
    """Return the environment of Airflow's processes; existing variables have priority over the files."""
    known = variables(REPOSITORY / "infra" / "airflow.env", env_file)
    url, home = f"http://127.0.0.1:{port}", settings().data_dir / "airflow"
    return known | {
        "AIRFLOW_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        # as in the image
        "PYTHONPATH": os.pathsep.join(str(REPOSITORY / folder) for folder in (".", "airflow/dags", "infra")),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "airflow" / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "airflow" / "plugins"),
        "AIRFLOW__CORE__FERNET_KEY": known["AIRFLOW_FERNET_KEY"],
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__SECRET_KEY": known["AIRFLOW_API_SECRET"],
        "AIRFLOW__API_AUTH__JWT_SECRET": known["AIRFLOW_JWT_SECRET"],
    }


def start(stack: LocalStack) -> None:
    """Prepare the database, start each process, and return when all are healthy and Airflow knows the DAGs."""
    stack.run("init", [sys.executable, str(REPOSITORY / "infra" / "airflow_init.py")])
    for name in COMPONENTS:
        stack.start(name)
        if name == "api-server":
            stack.wait_until(lambda: bool(health(stack)))
    stack.wait_until(lambda: all((health(stack).get(name) or {}).get("status") == "healthy" for name in WATCHED))
    engine = sqlalchemy.create_engine(stack.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    folder = Path(stack.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    ignored = (folder / ".airflowignore").read_text(encoding="utf-8").split()
    files = len([path for path in folder.glob("*.py") if path.name not in ignored])
    with engine.connect() as connection:
        stack.wait_until(lambda: (connection.scalar(sqlalchemy.text("select count(*) from dag")) or 0) >= files)
    engine.dispose()


def health(stack: LocalStack) -> dict[str, dict[str, str | None]]:
    """Return the health of the processes from the API server; empty while it does not answer."""
    url = f"{stack.environ['AIRFLOW__API__BASE_URL']}/api/v2/monitor/health"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            states: dict[str, dict[str, str | None]] = msgspec.json.decode(answer.read())
    except OSError:
        return {}
    return states


def execute(command: Sequence[str]) -> None:
    """Replace this process with a command in the environment of the running Airflow."""
    try:
        environ = msgspec.json.decode(_environment_file().read_bytes())
    except FileNotFoundError:
        sys.exit("no Airflow runs here; start it with `make airflow-local`")
    os.execvpe(command[0], list(command), environ)  # noqa: S606 — what the caller asked for


def _environment_file() -> Path:
    return settings().data_dir / "airflow" / "environment.json"


def main() -> None:
    """Start Airflow and keep it running until Ctrl-C, or run a command in its environment."""
    if sys.argv[1:2] == ["exec"]:
        execute(sys.argv[2:] or ["airflow", "--help"])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, help="by default AIRFLOW_PORT of the file")
    parser.add_argument(
        "--env-file", type=Path, default=ENV_FILE, help="the file of the secrets; missing ones are added"
    )
    arguments = parser.parse_args()
    init_env(arguments.env_file)
    with contextlib.suppress(KeyboardInterrupt), running_alone(settings().data_dir / "airflow", "Airflow"):
        launch(arguments.port or port_of("AIRFLOW_PORT", arguments.env_file), arguments.env_file)


def launch(port: int, env_file: Path) -> None:
    """Start Airflow, print its address, and keep it running."""
    refuse_a_taken_port(port, "make airflow-local AIRFLOW_PORT=8081")
    folder = settings().data_dir
    key = {"AIRFLOW_FERNET_KEY": variables(REPOSITORY / "infra" / "airflow.env", env_file)["AIRFLOW_FERNET_KEY"]}
    refuse_other_secrets(folder / "airflow" / "made_with.json", key, [folder / "postgres"], env_file)
    print("starting Airflow, about half a minute", flush=True)
    with postgres(settings().data_dir / "postgres", "airflow") as database:
        driver = database.replace("postgresql://", "postgresql+psycopg2://", 1)
        environ = environment(port, env_file, driver)
        stack = LocalStack(COMPONENTS, environ, Path(environ["AIRFLOW_HOME"]) / "logs")
        # the file holds secrets; the mark is left out, so that a command run by hand does not end with the launcher
        known = {name: value for name, value in environ.items() if name != MARK}
        write_atomically(_environment_file(), msgspec.json.encode(known), mode=0o600)
        try:
            start(stack)
            print(f"Airflow is ready: {environ['AIRFLOW__API__BASE_URL']}", flush=True)
            print(f"accounts admin, operator, viewer: AIRFLOW_*_PASSWORD in {env_file}", flush=True)
            for finding in airflow_doctor.examine(env_file, environ["AIRFLOW__API__BASE_URL"]):
                if not finding.ok:
                    print(f"{finding.check}: {finding.found}; fix: {finding.fix}", flush=True)
            print(f"logs: {stack.logs}; stop it with Ctrl-C", flush=True)
            stack.watch()
        finally:
            _environment_file().unlink(missing_ok=True)
            # running tasks call the API server until they end, so it stops last
            stack.stop(["scheduler", "dag-processor", "triggerer", "api-server"])


if __name__ == "__main__":
    main()
