"""The scheduler with preloaded modules: LocalExecutor forks its workers, which then share the modules that tasks use.

docs/adr/007-airflow-runs-by-partition.md has measurements on two cores. It takes the arguments of `airflow scheduler`.
"""

from __future__ import annotations

import sys

import pandas as pd  # noqa: F401 — shared by fork
from airflow.__main__ import main

# the imports of the DAG files and of the core; pyarrow imports pandas when it makes its first array
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
