"""Print the addresses of the containers of `make up`, and where the passwords are."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from scripts.admin import airflow_doctor  # noqa: E402 — the repository has to be on the path
from scripts.admin.env_file import ENV_FILE, is_free, ports  # noqa: E402 — the repository has to be on the path


def main() -> None:
    """Print one line for each port on which a process listens."""
    for name, port in ports().items():
        if not is_free(port):
            print(f"{name}: http://localhost:{port}")
    for finding in airflow_doctor.examine():
        if not finding.ok:
            print(f"{finding.check}: {finding.found}; fix: {finding.fix}")
    print(f"accounts: see {ENV_FILE.name}; Airflow's admin, operator and viewer have AIRFLOW_*_PASSWORD")


if __name__ == "__main__":
    main()
