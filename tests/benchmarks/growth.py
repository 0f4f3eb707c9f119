"""The benchmarks of growth: what commands cost with more partitions, more resources, smaller answers, larger files."""

import collections
import datetime as dt
import os
import shutil
import subprocess

from measure import HERE, PYTHON, REPOSITORY, best, cost, line, serving_by

# -P: the code of the project that PYTHONPATH names, and not that of the present folder
CLI = (PYTHON, "-P", "-m", "scripts.cli.main")
METRICS = (
    "from scripts.bronze.stores import open_store; from scripts.config import settings;"
    " from scripts.monitoring.metrics import metrics; metrics(open_store())"
)
COMMANDS = {
    "status": (*CLI, "status"),
    "due": (*CLI, "due"),
    "health": (*CLI, "health"),
    "report": (*CLI, "report"),
    "metrics, one scrape": (PYTHON, "-P", "-c", METRICS),
    "doctor": (*CLI, "doctor"),
    "build, nothing changed": (*CLI, "build"),
}
DAYS, RESOURCES, TINY_DAYS, OLD_DAYS = (20, 200, 1000), (5, 50, 200), 365, 1000
YESTERDAY = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)


def project(folder, resources):
    """Make a project with so many resources; return the environment of its commands, without a data folder."""
    home = folder / f"project-{resources}"
    if not home.exists():
        subprocess.run([PYTHON, HERE / "many.py", "project", home, str(resources)], check=True)
    return {"PYTHONPATH": home, "PIPELINE_HOME": home, "LOG_LEVEL": "WARNING"}


def _days(environ, first, count, resource=""):
    """Write days of each resource, or of one."""
    wanted = [resource] if resource else []
    cost(PYTHON, HERE / "many.py", "days", environ["PIPELINE_HOME"], first, count, *wanted, **environ)


def many_partitions(folder, _):
    """50 resources with 20, 200 and 1,000 days of ten rows. CPU seconds, with the processes that a command starts.

    Goal: at 50,000 partitions, at most 1.5 times the cost at 1,000.
    """
    found = collections.defaultdict(list)
    for days in DAYS:
        environ = {**project(folder, 50), "DATA_DIR": folder / f"days-{days}"}
        _days(environ, YESTERDAY - dt.timedelta(days=days - 1), days)
        found["build, the first"].append(cost(*CLI, "build", **environ))
        for name, command in COMMANDS.items():
            found[name].append(best(2, *command, **environ))
        _days(environ, YESTERDAY - dt.timedelta(days=days), 1, "r000")
        found["build, one partition changed"].append(cost(*CLI, "build", **environ))
        shutil.rmtree(folder / f"days-{days}")
    lines = [
        f"| {name} | {' | '.join(f'{one.cpu:.1f}' for one in costs)} | {costs[-1].cpu / costs[0].cpu:.1f} |"
        for name, costs in found.items()
    ]
    series = {name: [round(one.cpu, 1) for one in costs] for name, costs in found.items() if name != "build, the first"}
    curve = {"x": "partitions", "y": "CPU seconds", "at": [50 * days for days in DAYS], "series": series}
    return ["command", *(f"{50 * days:,}" for days in DAYS), "times"], lines, curve


def many_resources(folder, _):
    """Projects of 5, 50 and 200 resources, each with a staging model, a mart and their tests; three days. CPU seconds.

    Goal: a build of one changed partition costs among 200 resources at most 1.5 times what it costs among 5.
    """
    found = []
    for resources in RESOURCES:
        environ = {**project(folder, resources), "DATA_DIR": folder / f"resources-{resources}"}
        _days(environ, YESTERDAY - dt.timedelta(days=2), 3)
        first = cost(*CLI, "build", **environ)
        _days(environ, YESTERDAY - dt.timedelta(days=3), 1, "r000")
        found.append((resources, first, cost(*CLI, "build", **environ)))
        shutil.rmtree(folder / f"resources-{resources}")
    lines = [
        f"| {resources} | {first.cpu:.1f} | {changed.cpu:.1f} | {changed.cpu / found[0][2].cpu:.1f} |"
        for resources, first, changed in found
    ]
    series = {
        "build, the first": [round(first.cpu, 1) for _, first, _ in found],
        "build, one partition changed": [round(changed.cpu, 1) for _, _, changed in found],
    }
    curve = {"x": "resources", "y": "CPU seconds", "at": list(RESOURCES), "series": series}
    return ["resources", "build, the first", "build, one partition changed", "times"], lines, curve


def tiny_partitions(folder, peers):
    """365 days of 20 resources, ten rows each: 7,300 requests of 20 ms. dlt writes one table for each resource.

    Goal: dlt's time, and at most twice its CPU. The pipeline writes 7,300 partitions that can be loaded again one by
    one, each with a record and synced to the disk; dlt writes some twenty files.
    """
    environ = {**project(folder, 20), "DATA_DIR": folder / "tiny"}
    first = dt.date(2024, 1, 1)
    days = ["--start-date", first, "--end-date", first + dt.timedelta(days=TINY_DAYS - 1)]
    with serving_by("many_server.py", 20) as url:
        peer = cost(peers / "dlt/bin/python", HERE / "tiny_dlt.py", url, first, TINY_DAYS, 20, folder / "dlt")
        ours = cost(*CLI, "ingest", "--source", "many", *days, **environ, MANY_BASE_URL=url)
    lines = [line("dlt", peer), line("**data-pipeline**, `ingest`", ours, peer)]
    return ["side", "seconds", "CPU seconds", "peak MB", "times dlt (wall, CPU)"], lines


def bytes_written(folder, _):
    """One new day of 5,000 rows into a warehouse with 1,000 days of 5,000, on a file system without reflinks.

    Goal: a build writes at most 50 times the bytes of the new day. Bytes are those that the command and its processes
    hand to the disk. The first build after a rollback or a full refresh copies the file; the later ones bring the file
    of a retired version up to date.
    """
    data = folder / "bytes"
    environ = {"DATA_DIR": data, "PYTHONPATH": REPOSITORY, "WAREHOUSE_KEEP_VERSIONS": 2}
    start, lines = YESTERDAY - dt.timedelta(days=OLD_DAYS + 3), []
    cost(PYTHON, HERE / "history.py", start, OLD_DAYS, 5000, **environ)
    cost(*CLI, "build", **environ)
    for number in range(4):
        day = start + dt.timedelta(days=OLD_DAYS + number)
        cost(PYTHON, HERE / "history.py", day, 1, 5000, **environ)
        new = next((data / "bronze/jsonplaceholder/posts" / f"dt={day}").glob("*.parquet")).stat().st_size
        done = subprocess.run(
            [PYTHON, HERE / "written.py", *CLI, "build"],
            env=os.environ | {name: str(value) for name, value in environ.items()},
            text=True,
            capture_output=True,
            check=True,
        )
        written = int(done.stdout.splitlines()[-1])
        size = (data / "warehouse.duckdb").stat().st_size
        lines.append(
            f"| {number + 1} | {size / 1e6:.0f} | {new / 1e6:.2f} | {written / 1e6:.1f} | {written / new:.0f} |"
        )
    return ["daily build", "warehouse, MB", "new day, MB", "written, MB", "times the new day"], lines


def memory(folder, _):
    """Peaks of one process that loads and validates large rows.

    Goal: at most 512 MB.
    """
    lines = []
    for rows, size in ((2000, 10), (2000, 50)):
        done = cost(PYTHON, REPOSITORY / "tests/support/large_rows.py", rows, size, DATA_DIR=folder / f"rows-{rows}")
        lines.append(f"| {rows} rows of 1 MB, {size} a page | {done.seconds:.1f} | {done.megabytes:.0f} |")
    return ["load and validation", "seconds", "peak MB"], lines
