"""Start the stack of `make up`, unless it belongs to another folder; print one line about each failed service.

python infra/compose_up.py [--adopt] [--check] COMPOSE...     COMPOSE: docker compose with its files and profiles

--check    only check that the containers and volumes of the project belong to this folder; exits with 1 if not
--adopt    make volumes without a known owner belong to this folder
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from scripts.admin import compose_owner  # noqa: E402 — the repository has to be on the path
from scripts.admin.env_file import ENV_FILE  # noqa: E402 — the same


def main() -> None:
    """Check the owner, start the stack, and explain a failure."""
    options = [argument for argument in sys.argv[1:3] if argument in {"--adopt", "--check"}]
    command = sys.argv[1 + len(options) :]
    project = compose_owner.project_name(ENV_FILE, os.environ)
    if "--adopt" in options:
        compose_owner.note_volumes(project, ENV_FILE)
    if problem := compose_owner.problem(project, ENV_FILE):
        sys.exit(f"nothing was touched: {problem}\n{compose_owner.ways_out(project)}")
    if "--check" in options:
        return
    compose_owner.note_volumes(project, ENV_FILE)
    code = subprocess.run(command, check=False).returncode
    if code:
        failed = compose_owner.failures(project) or ["the messages of Compose above give the reason"]
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
