"""Print the addresses of the containers of `make up`, where the passwords are, and each problem of Airflow.

Exits with 1 if Airflow has a problem: a DAG file or plugin that did not load, or a missing pool.
"""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from scripts.admin import airflow_doctor  # noqa: E402 — the repository has to be on the path
from scripts.admin.env_file import ENV_FILE, is_free, ports  # noqa: E402 — the same


def main() -> None:
    """Print one line for each port on which a process listens, and for each problem."""
    for name, port in ports().items():
        if not is_free(port):
            print(f"{name}: {'jdbc:hive2' if 'Spark' in name else 'http'}://localhost:{port}")
    print(f"accounts: see {ENV_FILE.name}; Airflow's admin, operator and viewer have AIRFLOW_*_PASSWORD")
    if problems := [finding for finding in airflow_doctor.examine() if not finding.ok]:
        sys.exit("\n".join(f"{finding.check}: {finding.found}; fix: {finding.fix}" for finding in problems))


if __name__ == "__main__":
    main()
