"""Build this process's warehouse, and die before the instruction whose number is given; 0 prints a dot for each."""

import sys

sys.path.insert(0, "tests/support")
sys.path.insert(0, ".")

from killer import die_at

from scripts import config
from scripts.bronze.run import Run
from scripts.warehouse import build

POINT = int(sys.argv[1])
if POINT == 0:
    # what dbt does is not counted: it is a process of its own
    config.settings().data_dir.mkdir(parents=True, exist_ok=True)
run = Run.create(triggered_by="test")
die_at(POINT, tell=1 if POINT == 0 else None)
build.build_warehouse(run)
