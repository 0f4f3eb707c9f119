"""The scheduler, with the modules that tasks use imported once: LocalExecutor forks its workers, which then share them.

Measured on two cores: see docs/adr/007-airflow-runs-by-partition.md. Takes the arguments of `airflow scheduler`.
"""

from __future__ import annotations

import sys

from airflow.__main__ import main

# the DAG files' own imports, and the core's
import pipeline_door  # noqa: F401 — shared by fork
import scripts.build
import scripts.elt
import scripts.status
import scripts.validate_data  # noqa: F401 — shared by fork

if __name__ == "__main__":
    sys.argv[1:1] = ["scheduler"]
    main()
