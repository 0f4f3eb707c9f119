"""Measure loads of Prefect on 1, 2 and 4 workers that share only a bucket.

python tests/benchmarks/prefect_workers.py      # needs the S3 server of `make test-scale`

One run of `elt` for 1,000 partitions of ten rows, from a source that takes 50 ms for each request. It divides them
among as many runs as there are workers. Each of them loads one partition after the other, so that the source is the
bottleneck. The seconds are from the start of the first of these runs to the end of the last one.
"""

import contextlib
import datetime as dt
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, ".")

from dotenv import dotenv_values
from growth import project
from measure import serving_by

from tests.e2e.launcher import launched
from tests.e2e.prefect_stack import Prefect, load_worker, shares
from tests.e2e.waiting import free_port
from tests.support.object_server import serving_objects

RESOURCES, DAYS, LATENCY_MS, COUNTS = 20, 50, 50, (1, 2, 4)
FIRST = dt.date(2024, 1, 1)


def main():
    """Print a line for each number of workers."""
    with tempfile.TemporaryDirectory() as name, serving_by("many_server.py", LATENCY_MS) as url:
        folder = Path(name)
        environ = {name: str(value) for name, value in project(folder, RESOURCES).items()}
        with serving_objects(folder / "objects") as server:
            environ |= server.variables() | {"MANY_BASE_URL": url, "PARALLEL_PARTITIONS": "1"}
            for count in COUNTS:
                own = environ | {"BRONZE_DIR": server.new_prefix()}
                print(f"{count} workers: {measured(folder / f'of-{count}', own, count)}", flush=True)


def measured(folder, environ, count):
    """Load the days with some workers, and return what was measured, as text."""
    folder.mkdir()
    home, port, env_file = Path(environ["PIPELINE_HOME"]), free_port(), folder / "secrets.env"
    own = environ | {"DATA_DIR": folder / "data", "LOAD_RUNS": count}
    options = {"log": folder / "log", "environ": own, "start_seconds": 900, "home": home}
    with (
        launched("Prefect", "prefect_local.py", "--port", port, "--env-file", env_file, **options),
        contextlib.ExitStack() as started,
    ):
        login = dotenv_values(env_file)["PREFECT_API_AUTH_STRING"]
        environ |= {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "PREFECT_API_AUTH_STRING": login}
        for number in range(count):
            started.enter_context(load_worker(folder / f"worker-{number}", environ, home))
        prefect = Prefect(f"http://127.0.0.1:{port}", folder / "data", login, home)
        days = [str(FIRST + dt.timedelta(days=number)) for number in (0, DAYS - 1)]
        run = prefect.run(*days, source="many")
        assert run["state_type"] == "COMPLETED", run["state"]
        runs = shares(prefect, run["id"])
    moments = [dt.datetime.fromisoformat(one[name]) for one in runs for name in ("start_time", "end_time")]
    seconds = (max(moments) - min(moments)).total_seconds()
    return f"{RESOURCES * DAYS} partitions in {seconds:.0f} s, {RESOURCES * DAYS / seconds:.1f} a second"


if __name__ == "__main__":
    main()
