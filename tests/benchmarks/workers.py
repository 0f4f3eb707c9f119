"""The benchmark of loads on many workers: processes that share nothing but a bucket."""

import datetime as dt
import os
import subprocess
import time

from growth import CLI, project
from measure import serving_by

RESOURCES, DAYS, LATENCY_MS, SLOTS = 20, 50, 50, 4
FIRST = dt.date(2024, 1, 1)


def loads_on_workers(folder, _):
    """1,000 partitions of ten rows from a source that takes 50 ms for each request, into a bucket (SeaweedFS).

    Each worker is a process of `pipeline ingest` with a folder of its own and its share of the resources; it loads four
    partitions at the same time, so that the source allows 80 partitions a second for each worker. CPU seconds are
    those of the workers, without the server of the bucket and the source, which run on the same two cores.
    """
    from tests.support.object_server import serving_objects

    environ, lines = project(folder, RESOURCES), []
    with serving_objects(folder / "objects") as server, serving_by("many_server.py", LATENCY_MS) as url:
        values = os.environ | server.variables() | {"MANY_BASE_URL": url, "PARALLEL_PARTITIONS": str(SLOTS)}
        values |= {name: str(value) for name, value in environ.items()}
        for count in (1, 2, 4):
            bucket = server.new_prefix()
            seconds, cpu = _together(values | {"BRONZE_DIR": bucket}, folder / f"of-{count}", count)
            lines.append(f"| {count} | {seconds:.1f} | {RESOURCES * DAYS / seconds:.1f} | {cpu:.1f} |")
    return ["workers", "seconds", "partitions a second", "CPU seconds"], lines


def _together(environ, folder, count):
    """Run some workers until all have ended; return the seconds and their CPU seconds."""
    days = ["--start-date", str(FIRST), "--end-date", str(FIRST + dt.timedelta(days=DAYS - 1))]
    started, processes = time.perf_counter(), []
    for number in range(count):
        names = [f"r{one:03}" for one in range(number, RESOURCES, count)]
        chosen = [option for name in names for option in ("--resource", name)]
        own = environ | {"DATA_DIR": str(folder / str(number))}
        command = [*map(str, CLI), "ingest", "--source", "many", *chosen, *days]
        with (folder.with_suffix(f".{number}.log")).open("wb") as log:
            processes.append(subprocess.Popen(command, env=own, stdout=log, stderr=log))
    cpu = 0.0
    for process in processes:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, folder
        cpu += used.ru_utime + used.ru_stime
    return time.perf_counter() - started, cpu
