"""Build this process's warehouse, and die before the instruction whose number is given; 0 prints a dot for each."""

from __future__ import annotations

import sys

sys.path.insert(0, ".")

from scripts import config
from scripts.bronze.run import Run
from scripts.warehouse import build
from tests.support.killer import die_at

POINT = int(sys.argv[1])
if POINT == 0:
    # what dbt does is not counted: it is a process of its own
    config.settings().data_dir.mkdir(parents=True, exist_ok=True)
run = Run.create(triggered_by="test")
die_at(POINT, tell=1 if POINT == 0 else None)
build.build_warehouse(run)
