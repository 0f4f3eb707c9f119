"""Compare a build of all of Bronze on DuckDB and on a Spark cluster of two workers on this machine.

python spark_builds.py FOLDER DAYS…    days of 100,000 posts each; prints a table in Markdown
"""

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil
from measure import HERE, PYTHON, cost

from tests.support.spark_cluster import running_cluster

ROWS = 100_000


def cluster_processes():
    """Return the processes of the running cluster."""
    return [one for one in psutil.Process().children(recursive=True) if one.name() == "java"]


def measured_cluster(command, environ):
    """Run a build on the cluster; return its seconds, the CPU seconds of the cluster, and its peak memory in MB."""
    peak, ended = [0.0], threading.Event()

    def watch():
        while not ended.wait(0.5):
            peak[0] = max(peak[0], sum(one.memory_info().rss for one in cluster_processes()) / 1e6)

    before = sum(sum(one.cpu_times()[:2]) for one in cluster_processes())
    watcher = threading.Thread(target=watch)
    watcher.start()
    found = cost(*command, **environ)
    ended.set()
    watcher.join()
    after = sum(sum(one.cpu_times()[:2]) for one in cluster_processes())
    return found.seconds, after - before + found.cpu, peak[0]


def main(folder, *days):
    print("| rows | engine | seconds | rows per second | CPU seconds | peak memory, MB |\n|---|---|---|---|---|---|")
    for number in map(int, days):
        home, rows = folder / f"days-{number}", number * ROWS
        environ = {"DATA_DIR": home, "PYTHONPATH": HERE.parents[1], "LOG_LEVEL": "WARNING"}
        if not (home / "bronze").exists():
            cost(PYTHON, HERE / "history.py", "2024-01-01", number, ROWS, **environ)
        ours = cost(PYTHON, "-m", "scripts.cli.main", "build", "--full-refresh", **environ)
        show(rows, "DuckDB", ours.seconds, ours.cpu, ours.megabytes)
        files = folder / f"cluster-{number}"
        files.mkdir()
        with running_cluster(files) as cluster:
            environ |= {"DBT_TARGET": "spark", "SPARK_PORT": cluster.port, "DBT_SPARK_THREADS": 2}
            show(rows, "Spark", *measured_cluster((PYTHON, "-m", "scripts.cli.main", "build"), environ))


def show(rows, engine, seconds, cpu, megabytes):
    numbers = f"{seconds:,.0f} | {rows / seconds:,.0f} | {cpu:,.0f} | {megabytes:,.0f}"
    print(f"| {rows:,} | {engine} | {numbers} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
