"""n8n on this machine without Docker, with the backfill webhook live: started beside `make airflow`.

    python infra/n8n_local.py [--port 5678] [--airflow-url http://127.0.0.1:8080] [--env-file .env]

n8n and Node 24 come from npm and lie outside the repository, in `N8N_DIR`; see `make n8n-install`. The database lies in
`n8n/` of `DATA_DIR`; n8n listens on the loopback only.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from local_stack import LocalStack, refuse_a_taken_port, variables  # noqa: E402 — beside this file
from scripts.admin.env_file import ENV_FILE, init_env  # noqa: E402 — the same
from scripts.config import settings  # noqa: E402 — the repository has to be on the path

N8N_DIR = Path(os.environ.get("N8N_DIR") or Path.home() / ".cache" / "data-pipeline" / "n8n")
FILES = REPOSITORY / "n8n"
PROGRAMS = ("node/bin", "node_modules/.bin")
"""Where in `N8N_DIR` programs are: Node 24, if the machine has none, and n8n."""
UNAUTHORIZED = 401


def environment(port: int, airflow_url: str, env_file: Path) -> dict[str, str]:
    """Return the environment of n8n; what is set already wins over the files."""
    known = variables(REPOSITORY / "infra" / "n8n.env", env_file)
    home, url = settings().data_dir / "n8n", f"http://127.0.0.1:{port}"
    home.mkdir(parents=True, exist_ok=True)
    return known | {
        "PATH": os.pathsep.join([*(str(N8N_DIR / name) for name in PROGRAMS), known["PATH"]]),
        "HOME": str(home),
        "N8N_USER_FOLDER": str(home),
        "N8N_LISTEN_ADDRESS": "127.0.0.1",
        "N8N_HOST": "127.0.0.1",
        "N8N_PORT": str(port),
        "WEBHOOK_URL": url,
        "AIRFLOW_URL": airflow_url,
        "AIRFLOW_UI_URL": known.get("AIRFLOW_UI_URL", airflow_url),
        "BACKFILL_WEBHOOK_URL": f"{url}/webhook/backfill",
        "BACKFILL_MAX_DAYS": str(settings().backfill_max_days),
    }


def start(stack: LocalStack, environ: dict[str, str]) -> None:
    """Import credentials and workflows, start n8n, and return when the webhook is live."""
    stack.run("init", ["sh", str(FILES / "init.sh")])
    stack.start("n8n")
    stack.wait_until(lambda: _answers_401(environ["BACKFILL_WEBHOOK_URL"]))


def _answers_401(url: str) -> bool:
    # n8n says that it is ready before the webhook is, and answers 200 to everything while it migrates its database
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=5).close()
    except urllib.error.HTTPError as error:
        return error.code == UNAUTHORIZED
    except OSError:
        return False
    return False


def main() -> None:
    """Start n8n, say where it is, and keep it running until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=5678)
    parser.add_argument("--airflow-url", default="http://127.0.0.1:8080")
    parser.add_argument("--env-file", type=Path, default=ENV_FILE, help="where the secrets are, made if missing")
    arguments = parser.parse_args()
    if not (N8N_DIR / "node_modules" / ".bin" / "n8n").exists():
        sys.exit(f"n8n is not installed in {N8N_DIR}; `make n8n-install` does it")
    refuse_a_taken_port(arguments.port, "make n8n-up N8N_PORT=5679")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    init_env(arguments.env_file)
    environ = environment(arguments.port, arguments.airflow_url, arguments.env_file)
    stack = LocalStack({"n8n": ["sh", str(FILES / "start.sh")]}, environ, settings().data_dir / "n8n" / "logs")
    print("starting n8n, about a minute", flush=True)
    try:
        start(stack, environ)
        print(f"n8n is ready: http://127.0.0.1:{arguments.port}", flush=True)
        print(f"the webhook: POST {environ['BACKFILL_WEBHOOK_URL']}, user backfill, password", end=" ", flush=True)
        print(f"BACKFILL_WEBHOOK_SECRET in {arguments.env_file}", flush=True)
        stack.watch()
    except KeyboardInterrupt:
        pass
    finally:
        stack.stop(["n8n"])


if __name__ == "__main__":
    main()
