"""n8n on this machine without Docker, with the backfill webhook; start it in addition to `make airflow-local`.

    python infra/n8n_local.py [--port 5678] [--airflow-url http://127.0.0.1:8080] [--env-file .env]

n8n and Node 24 come from npm and are outside the repository, in `N8N_DIR`; see `make n8n-install`. The database is in
`n8n/` of `DATA_DIR`. n8n listens on the loopback only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from local_stack import (  # noqa: E402 — in the same folder
    MARK,
    LocalStack,
    docs_environ,
    free_port,
    refuse_a_taken_port,
    refuse_other_secrets,
    running_alone,
    variables,
)
from scripts.admin import env_file  # noqa: E402 — the repository has to be on the path
from scripts.admin.env_file import ENV_FILE, init_env  # noqa: E402 — the same
from scripts.config import settings  # noqa: E402 — the same
from scripts.utils.files import write_atomically  # noqa: E402 — the same

N8N_DIR = Path(os.environ.get("N8N_DIR") or Path.home() / ".cache" / "data-pipeline" / "n8n")
FILES = REPOSITORY / "n8n"
PROGRAMS = ("node/bin", "node_modules/.bin")
"""The folders of programs in `N8N_DIR`: Node 24, if the machine does not have it, and n8n."""
SECRETS = (
    "N8N_ENCRYPTION_KEY",
    "N8N_OWNER_PASSWORD",
    "BACKFILL_WEBHOOK_SECRET",
    "AIRFLOW_SERVICE_PASSWORD",
    "ALERT_SERVICE_SECRET",
)
PASSED = (MARK, "LANG", "TZ", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "NODE_EXTRA_CA_CERTS", "OVERWRITE")
PREFIXES = ("N8N_", "LC_", "EXECUTIONS_", "DB_SQLITE_")
"""Prefixes of other variables that n8n gets from this process; it gets no secrets of sources and alerts."""


def environment(port: int, airflow_url: str, alert_url: str, env_file: Path) -> dict[str, str]:
    """Return the whole environment of n8n; existing variables have priority over the files."""
    defaults = REPOSITORY / "infra" / "n8n.env"
    known = variables(defaults, env_file)
    handed = {*dotenv_values(defaults), *SECRETS, *PASSED}
    home, url = settings().data_dir / "n8n", f"http://127.0.0.1:{port}"
    home.mkdir(parents=True, exist_ok=True)
    return {name: value for name, value in known.items() if name in handed or name.startswith(PREFIXES)} | {
        "PATH": os.pathsep.join([*(str(N8N_DIR / name) for name in PROGRAMS), known["PATH"]]),
        "HOME": str(home),
        "N8N_USER_FOLDER": str(home),
        "N8N_LISTEN_ADDRESS": "127.0.0.1",
        "N8N_HOST": "127.0.0.1",
        "N8N_PORT": str(port),
        "WEBHOOK_URL": url,
        "AIRFLOW_URL": airflow_url,
        "AIRFLOW_UI_URL": known.get("AIRFLOW_UI_URL", airflow_url),
        "ALERT_URL": alert_url,
        "BACKFILL_WEBHOOK_URL": f"{url}/webhook/backfill",
        "BACKFILL_MAX_DAYS": str(settings().backfill_max_days),
    }


def launched() -> dict[str, Any]:
    """Return the values of the last start of n8n: its port, and the addresses of Airflow and of the alert service."""
    path = settings().data_dir / "n8n" / "launched.json"
    return json.loads(path.read_text()) if path.exists() else {}


def start(stack: LocalStack, environ: dict[str, str]) -> None:
    """Import credentials and workflows, start n8n, and return when the webhook is live; without it, when n8n is."""
    stack.start("alerts")
    for line in stack.run("init", ["sh", str(FILES / "init.sh")]):
        if line.startswith("n8n: workflow"):
            print(line, flush=True)
    stack.start("n8n")
    health = ["node", str(FILES / "healthcheck.js")]
    stack.wait_until(lambda: subprocess.run(health, env=environ, capture_output=True, check=False).returncode == 0)


def main() -> None:
    """Start n8n, and keep it running until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, help="by default N8N_PORT of the file")
    parser.add_argument("--airflow-url", help="by default 127.0.0.1 and AIRFLOW_PORT of the file")
    parser.add_argument(
        "--env-file", type=Path, default=ENV_FILE, help="the file of the secrets; missing ones are added"
    )
    arguments = parser.parse_args()
    if not (N8N_DIR / "node_modules" / ".bin" / "n8n").exists():
        sys.exit(f"n8n is not installed in {N8N_DIR}; `make n8n-install` does it")
    init_env(arguments.env_file)
    port = arguments.port or env_file.port_of("N8N_PORT", arguments.env_file)
    default_url = f"http://127.0.0.1:{env_file.port_of('AIRFLOW_PORT', arguments.env_file)}"
    with contextlib.suppress(KeyboardInterrupt), running_alone(settings().data_dir / "n8n", "n8n"):
        launch(port, arguments.airflow_url or default_url, arguments.env_file)


def launch(port: int, airflow_url: str, secrets: Path) -> None:
    """Start n8n, print its address, and keep it running."""
    refuse_a_taken_port(port, "make n8n-up N8N_PORT=5679")
    home = settings().data_dir / "n8n"
    key = {"N8N_ENCRYPTION_KEY": variables(REPOSITORY / "infra" / "n8n.env", secrets)["N8N_ENCRYPTION_KEY"]}
    refuse_other_secrets(home / "made_with.json", key, [home / ".n8n"], secrets)
    # a new address would have to be imported into n8n
    alert_port = free_port(int(launched().get("alert_port", 0)))
    alert_url = f"http://127.0.0.1:{alert_port}/alerts"
    known = {"port": port, "airflow_url": airflow_url, "alert_url": alert_url, "alert_port": alert_port}
    environ = environment(port, airflow_url, alert_url, secrets)
    write_atomically(settings().data_dir / "n8n" / "launched.json", json.dumps(known).encode())
    commands = {
        # sends alerts about failed workflows, also when Airflow is down
        "alerts": [
            sys.executable,
            str(REPOSITORY / "infra" / "docs_site.py"),
            "--host",
            "127.0.0.1",
            "--port",
            str(alert_port),
        ],
        "n8n": ["sh", str(FILES / "start.sh")],
    }
    # it also serves the runbook, to which its alerts link
    docs = {"DOCS_URL": f"http://127.0.0.1:{alert_port}"}
    known_to_alerts = docs_environ(variables(REPOSITORY / "infra" / "n8n.env", secrets))
    own = {"alerts": docs | known_to_alerts | {"PYTHONPATH": str(REPOSITORY)}}
    stack = LocalStack(commands, environ, settings().data_dir / "n8n" / "logs", own)
    print("starting n8n, about a minute", flush=True)
    try:
        start(stack, environ)
        print(f"n8n is ready: http://127.0.0.1:{port}", flush=True)
        print(f"the webhook: POST {environ['BACKFILL_WEBHOOK_URL']}, user backfill, password", end=" ", flush=True)
        print(
            f"BACKFILL_WEBHOOK_SECRET in {secrets}; n8n's own login: admin@localhost.invalid, N8N_OWNER_PASSWORD there",
            flush=True,
        )
        stack.watch()
    finally:
        stack.stop(["n8n", "alerts"])


if __name__ == "__main__":
    main()
