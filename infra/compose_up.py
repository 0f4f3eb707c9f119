"""Start the stack of `make up`, unless it belongs to another folder; print one line about each failed service.

python infra/compose_up.py [--adopt] [--check] COMPOSE...     COMPOSE: docker compose with its files and profiles

--check    only check that the containers and volumes of the project belong to this folder; exits with 1 if not
--adopt    make volumes without a known owner belong to this folder

At the end it prints what users have changed in n8n and Prefect and was kept, restarts n8n if workflows were imported
beside it, and waits until its webhook answers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

import containers  # noqa: E402 — in the same folder
from scripts.admin import compose_owner  # noqa: E402 — the repository has to be on the path
from scripts.admin.env_file import ENV_FILE  # noqa: E402 — the same
from scripts.config import settings  # noqa: E402 — the same

TOLD = ("n8n: workflow ", "kept what was set in Prefect ")
IMPORTED = "n8n: imported "
WORKERS_FILE = "infra/docker-compose.workers.yml"
WEBHOOK_SECONDS = 180


def main() -> None:
    """Check the owner and the settings, start the stack, and explain a failure."""
    options = [argument for argument in sys.argv[1:3] if argument in {"--adopt", "--check"}]
    command = sys.argv[1 + len(options) :]
    project = compose_owner.project_name(ENV_FILE, os.environ)
    if "--adopt" in options:
        compose_owner.note_volumes(project, ENV_FILE)
    if problem := compose_owner.problem(project, ENV_FILE):
        sys.exit(f"nothing was touched: {problem}\n{compose_owner.ways_out(project)}")
    if "--check" in options:
        return
    if WORKERS_FILE in command and not settings().is_in_bucket:
        sys.exit(
            f"nothing was touched: workers share no folder, and Bronze is in {settings().bronze_location}\n"
            "set BRONZE_DIR in .env to a bucket, such as s3://bucket/prefix; see docs/scaling.md"
        )
    compose_owner.note_volumes(project, ENV_FILE)
    code = subprocess.run(command, check=False).returncode
    if code:
        failed = compose_owner.failures(project) or ["the messages of Compose above give the reason"]
        sys.exit("\n".join(failed))
    tell_what_was_kept(project)
    finish_n8n(project)


def tell_what_was_kept(project: str) -> None:
    """Print the lines of n8n-init and prefect-init about what users have changed."""
    for service in ("n8n-init", "prefect-init"):
        container = containers.find(project, service)
        for line in containers.lines(container) if container else []:
            if line.startswith(TOLD):
                print(line, flush=True)


def finish_n8n(project: str) -> None:
    """Restart n8n if workflows were imported while it ran; return when its webhook answers, or exit if it does not."""
    init, n8n = (containers.find(project, service) for service in ("n8n-init", "n8n"))
    if n8n is None or not containers.is_running(n8n):
        return
    is_older = init is not None and n8n["State"]["StartedAt"] < init["State"]["FinishedAt"]
    if init is not None and is_older and any(line.startswith(IMPORTED) for line in containers.lines(init)):
        # n8n reads its published workflows only when it starts
        print("restarting n8n, which runs the workflows that it had before the import", flush=True)
        containers.docker("restart", n8n["Id"])
    deadline = time.monotonic() + WEBHOOK_SECONDS
    while containers.docker("exec", n8n["Id"], "node", "/opt/n8n/healthcheck.js").returncode:
        if time.monotonic() > deadline:
            sys.exit(f"n8n runs, but its webhook does not answer after {WEBHOOK_SECONDS} s; see make logs SERVICE=n8n")
        time.sleep(2)


if __name__ == "__main__":
    main()
