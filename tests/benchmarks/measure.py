"""Measuring processes (wall time, CPU time, peak memory of a command and its children) and comparing what they made."""

import contextlib
import ctypes
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import duckdb

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
PYTHON = sys.executable
PIPELINE = str(Path(PYTHON).with_name("pipeline"))


class Cost(NamedTuple):
    """What a command took; `megabytes` is the peak of its largest process."""

    seconds: float
    cpu: float
    megabytes: float


def cost(*command, **environ):
    """Run a command and return what it took; its output is shown when it fails."""
    values = os.environ | {"LOG_FORMAT": "json", **{name: str(value) for name, value in environ.items()}}
    with tempfile.TemporaryFile() as output:
        known = adopt_orphans()
        started = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], env=values, stdout=output, stderr=output)
        ended, peak = threading.Event(), [0.0]
        watcher = threading.Thread(target=_watch, args=(process.pid, ended, peak))
        watcher.start()
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        cpu = used.ru_utime + used.ru_stime
        # such as dbt's worker, which ends after the command
        for orphan in children() - known:
            more = os.wait4(orphan, 0)[2]
            cpu += more.ru_utime + more.ru_stime
        ended.set()
        watcher.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            sys.exit(f"{command} ended with {process.returncode}: {output.read().decode()[-3000:]}")
    return Cost(seconds, cpu, peak[0])


def adopt_orphans():
    """Make this process the parent of processes whose parent ends; return the children that it has now."""
    prctl, set_child_subreaper = ctypes.CDLL(None).prctl, 36
    assert prctl(set_child_subreaper, 1, 0, 0, 0) == 0
    return children()


def children():
    """Return the children of this process."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(child) for task in tasks for child in (task / "children").read_text().split()}


def _watch(pid, ended, peak):
    """Keep the peak of the largest process of a tree; `ru_maxrss` would count the memory of the one that forked it."""
    while not ended.wait(0.02):
        waiting = [pid]
        while waiting:
            process = Path("/proc") / str(waiting.pop())
            with contextlib.suppress(OSError):
                status = (process / "status").read_text()
                peak[0] = max(
                    peak[0], int(status.partition("VmHWM:")[2].split()[0] if "VmHWM:" in status else 0) / 1024
                )
                waiting += [c for task in (process / "task").iterdir() for c in (task / "children").read_text().split()]


def best(times, *command, before=lambda: None, **environ):
    """Return the quickest of several runs; `before` prepares each."""
    found = []
    for _ in range(times):
        before()
        found.append(cost(*command, **environ))
    return min(found)


def serving(pages, latency=0, columns=7):
    """Run server.py for the block, and yield its address."""
    return serving_by("server.py", pages, latency, columns)


@contextlib.contextmanager
def serving_by(program, *arguments):
    """Run a server of this folder, which prints its port, for the block, and yield its address."""
    command = [PYTHON, HERE / program, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait()


def line(name, done, floor=None):
    """Return a line of a table."""
    ratio = f"{done.seconds / floor.seconds:.2f}, {done.cpu / floor.cpu:.2f}" if floor else ""
    return f"| {name} | {done.seconds:.1f} | {done.cpu:.1f} | {done.megabytes:.0f} | {ratio} |"


COLUMNS = 'id, "userId", title, body, "createdAt", amount, done'


def same(one, other, names=COLUMNS):
    """Stop unless two sets of Parquet files have the same rows; `names` are the columns of the other."""
    first = f"select {COLUMNS} from read_parquet({one})"
    second = f"select {names} from read_parquet({other})"
    with duckdb.connect() as connection:
        if differing := _differing(connection, first, second):
            sys.exit(f"{differing} rows differ between {one} and {other}")


def same_tables(one, other, table):
    """Stop unless a table has the same rows in two warehouses."""
    name = Path(other).stem  # by which SQLMesh's views call their own database
    with duckdb.connect() as connection:
        connection.execute(f"attach '{one}' as one (read_only); attach '{other}' as {name} (read_only)")
        if differing := _differing(connection, f"from one.{table}", f"from {name}.{table}"):
            sys.exit(f"{differing} rows of {table} differ")


def _differing(connection, first, second):
    """Return the number of rows that only one of two queries has, as often as it has them."""
    query = f"select count(*) from (({first} except all {second}) union all ({second} except all {first}))"
    return connection.execute(query).fetchone()[0]
