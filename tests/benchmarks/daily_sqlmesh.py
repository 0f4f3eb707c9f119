"""The peer of the daily build: SQLMesh on the models of sqlmesh/, in the environment of `make bench`.

python daily_sqlmesh.py plan|run UP_TO     SQLMESH_DATABASE, SQLMESH_START and BRONZE_DIR are set

`plan` makes the tables from the days before UP_TO, `run` adds what is missing. It takes a day's rows by their date,
so it would miss a late row where ours computes that row's day again; here no row is late, and the tables are equal.
"""

import os
import sys
from pathlib import Path

os.environ["SQLMESH__DISABLE_ANONYMIZED_ANALYTICS"] = "1"

from sqlmesh import Context


def main(what, up_to):
    context = Context(paths=str(Path(__file__).with_name("sqlmesh")))
    if what == "plan":
        context.plan(auto_apply=True, no_prompts=True, execution_time=up_to)
    else:
        status = context.run(execution_time=up_to)
        if not status.is_success:
            sys.exit(f"SQLMesh's run ended as {status}")


if __name__ == "__main__":
    main(*sys.argv[1:])
