"""The scheduler, with the modules that tasks use imported once: LocalExecutor forks its workers, which then share them.

Measured on two cores: see docs/adr/007-airflow-runs-by-partition.md. Takes the arguments of `airflow scheduler`.
"""

from __future__ import annotations

import sys

import pandas as pd  # noqa: F401 — shared by fork
from airflow.__main__ import main

# the DAG files' own imports, and the core's; pyarrow imports pandas when it makes its first array
import dag_support  # noqa: F401 — shared by fork
import scripts.loading.partitions
import scripts.monitoring.digest
import scripts.monitoring.status
import scripts.planning.reconcile
import scripts.validate_data
import scripts.warehouse.build  # noqa: F401 — shared by fork

if __name__ == "__main__":
    sys.argv[1:1] = ["scheduler"]
    main()
