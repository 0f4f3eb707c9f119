"""Measure loads on 1 to 16 workers: processes that share nothing but a bucket, without Airflow.

python tests/benchmarks/workers.py      # needs the S3 server of `make test-scale`

1,000 partitions of ten rows from a source that takes 50 ms for each request. Each worker is a `pipeline ingest` with a
folder of its own and its share of the resources. It loads one partition after the other, so that the source is the
bottleneck: it allows at most 20 partitions a second for each worker. CPU seconds are those of the workers, and of the
server of the bucket; the source has its own.
"""

import datetime as dt
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, ".")

from growth import CLI, project
from measure import serving_by

from tests.support.object_server import serving_objects

RESOURCES, DAYS, LATENCY_MS, SLOTS = 20, 50, 50, 1
COUNTS = (1, 2, 4, 8, 16)
FIRST = dt.date(2024, 1, 1)


def main():
    """Print a line for each number of workers."""
    with tempfile.TemporaryDirectory() as name, serving_by("many_server.py", LATENCY_MS) as url:
        folder = Path(name)
        environ = project(folder, RESOURCES)
        with serving_objects(folder / "objects") as server:
            (weed,) = [one for one in psutil.Process().children() if one.name() == "weed"]
            values = os.environ | server.variables() | {"MANY_BASE_URL": url, "PARALLEL_PARTITIONS": str(SLOTS)}
            values |= {name: str(value) for name, value in environ.items()}
            for count in COUNTS:
                bucket, before = server.new_prefix(), sum(weed.cpu_times()[:2])
                seconds, cpu = together(values | {"BRONZE_DIR": bucket}, folder / f"of-{count}", count)
                rate, of_server = RESOURCES * DAYS / seconds, sum(weed.cpu_times()[:2]) - before
                print(
                    f"{count} workers: {seconds:.1f} s, {rate:.1f} partitions a second;"
                    f" CPU seconds: {cpu:.1f} of the workers, {of_server:.1f} of the bucket's server",
                    flush=True,
                )


def together(environ, folder, count):
    """Run some workers until all have ended; return the seconds and their CPU seconds."""
    days = ["--start-date", str(FIRST), "--end-date", str(FIRST + dt.timedelta(days=DAYS - 1))]
    started, processes = time.perf_counter(), []
    for number in range(count):
        names = [f"r{one:03}" for one in range(number, RESOURCES, count)]
        chosen = [option for name in names for option in ("--resource", name)]
        own = environ | {"DATA_DIR": str(folder / str(number))}
        command = [*map(str, CLI), "ingest", "--source", "many", *chosen, *days]
        with folder.with_suffix(f".{number}.log").open("wb") as log:
            processes.append(subprocess.Popen(command, env=own, stdout=log, stderr=log))
    cpu = 0.0
    for number, process in enumerate(processes):
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, folder.with_suffix(f".{number}.log").read_text()[-3000:]
        cpu += used.ru_utime + used.ru_stime
    return time.perf_counter() - started, cpu


if __name__ == "__main__":
    main()
