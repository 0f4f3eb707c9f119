"""What holds after every situation, whatever happened in it; each check returns what does not hold, in words.

    published   the published tables equal a fresh build of the validated Bronze, and hold each validated partition
    told        nothing is due; or health names what is due, with the reason
    counted     fetched = Bronze + quarantine for each partition, by the files themselves
    nothing waits for ever: `left_in_the_core` here, and `waiting` of the clients of Airflow, Prefect and n8n

`assert_invariants` is called at the end of each situation, or of the situations that share a server.
"""

import contextlib
import datetime as dt
import re
import shutil
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from scripts import config
from scripts.bronze.folder_store import FolderStore
from scripts.bronze.run import Run
from scripts.config import settings
from scripts.monitoring.health import health
from scripts.planning import reconcile
from scripts.utils.files import is_locked
from scripts.warehouse import build as builds
from tests.support.tables import tables_and_views

from .waiting import wait_for

RANGE = re.compile(r"(\d{4}-\d\d-\d\d)(?: to (\d{4}-\d\d-\d\d))?")
SHOWN = 3


def assert_invariants(data_dir, **environ):
    """Check everything that holds in a data folder when nothing is under way there.

    Args:
        data_dir: The folder.
        environ: Further settings of the installation.
    """
    with settings_of(data_dir, **environ):
        for _ in range(3):
            before = state_of(data_dir)
            found = [*counted(), *told(), *published(), *left_in_the_core()]
            # a scheduled run in the middle of the checks: look again
            if state_of(data_dir) == before:
                break
    assert not found, "\n".join(found)


def assert_airflow_is_well(airflow):
    """Let `reconcile` do what is due, wait until all is quiet, and check every invariant."""
    with settings_of(airflow.data_dir):
        for _ in range(5):
            airflow.wait_for_loads()
            if not reconcile.examine(store()).is_ready:
                break
            airflow.reconcile()
    # Airflow notices the end of a backfill in 30 s
    with contextlib.suppress(AssertionError):
        wait_for(lambda: not airflow.waiting(), "nothing to wait", 240)
    assert airflow.waiting() == []
    assert_invariants(airflow.data_dir)


@contextlib.contextmanager
def settings_of(data_dir, **environ):
    """Use the settings of an installation for the block."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"DATA_DIR": data_dir, **environ}.items():
            patch.setenv(name, str(value))
        config.settings.cache_clear()
        yield
    config.settings.cache_clear()


def state_of(data_dir):
    """Return what a run changes: the published version and the records of the ledger."""
    records = (data_dir / "bronze" / "_ledger").glob("*/*/*.json")
    return builds.warehouse().current(), {str(path): path.stat().st_mtime_ns for path in records}


def store():
    return FolderStore(settings().data_dir / "bronze")


def counted():
    """Return the partitions whose rows are not accounted for, by the files: the ledger may be wrong too."""
    found = []
    for entry in store().entries():
        path = store().quarantine_path(entry.partition)
        bronze = pq.read_metadata(store().root / entry.path).num_rows
        quarantined = len(path.read_bytes().splitlines()) if path.exists() else 0
        if entry.fetched != bronze + quarantined:
            found.append(f"{entry.partition}: fetched {entry.fetched}, Bronze {bronze} + quarantine {quarantined}")
    return found


def told():
    """Return what is due now although nobody does it, and what waits without a word of health about it."""
    due, problems = reconcile.examine(store()), health(store())["problems"]
    found = [f"{item.partition} is due, {item.state}, and nothing keeps it" for item in due.ready]
    if due.build.is_ready:
        found.append(f"a build is due, and nothing keeps it: {'; '.join(due.build.reasons)}")
    found += [
        f"{item.partition} is {item.state}, waits for {item.waits_for}, and health is silent"
        for item in due.waiting
        if item.state != "provisional" and not any(names(text, item.partition) for text in problems)
    ]
    if due.build.waits_for and not any(text.startswith("Gold is not up to date") for text in problems):
        found.append(f"a build waits for {due.build.waits_for}, and health is silent")
    return found + [
        f"contract {name} is broken, and health is silent" for name in due.broken if f"`{name}`" not in str(problems)
    ]


def names(text, partition):
    """Return whether a problem of health names a partition."""
    if not text.startswith(f"{partition.source}/{partition.resource}"):
        # a source that does not answer is named as a whole
        return text.startswith(f"source `{partition.source}` does not answer")
    words = text.split("(next:")[0]
    return any(
        dt.date.fromisoformat(first) <= partition.day <= dt.date.fromisoformat(last or first)
        for first, last in RANGE.findall(words)
    )


def published():
    """Return where the published tables differ from a fresh build of the validated Bronze, in a folder of its own."""
    valid = {entry.partition: entry.content_state for entry in store().entries() if entry.status == "validated"}
    # a version that is not there holds nothing
    held = reconcile.examine(store()).held
    found = [
        f"{partition} is validated and not published" for partition in valid if held.get(partition) != valid[partition]
    ]
    found += [f"{partition} is published and not validated" for partition in held if partition not in valid]
    return found + different(tables_and_views(settings().warehouse_path), fresh_build())


def fresh_build():
    """Return the tables that the validated Bronze gives from nothing."""
    bronze = settings().data_dir / "bronze"
    if not bronze.exists():
        return {}
    with tempfile.TemporaryDirectory(prefix="fresh-") as folder:
        left_out = shutil.ignore_patterns("_staging", "_index", "_attempts")
        shutil.copytree(bronze, Path(folder) / "bronze", ignore=left_out)
        with settings_of(folder):
            builds.build_warehouse(Run.create(triggered_by="test"), full_refresh=True)
            return tables_and_views(settings().warehouse_path)


def different(seen, expected):
    """Return how tables differ, with some rows of each."""
    found = [f"{name} is published, and a fresh build makes no such table" for name in seen.keys() - expected.keys()]
    found += [f"{name} is not published" for name in expected.keys() - seen.keys()]
    for name in sorted(seen.keys() & expected.keys()):
        (columns, rows), (right_columns, right_rows) = seen[name], expected[name]
        if columns != right_columns:
            found.append(f"{name} has the columns {columns}, a fresh build gives {right_columns}")
        elif rows != right_rows:
            more, less = (
                [row for row in one if row not in other] for one, other in ((rows, right_rows), (right_rows, rows))
            )
            found.append(
                f"{name} has {len(rows)} rows, a fresh build {len(right_rows)}:"
                f" only published {more[:SHOWN]}, only fresh {less[:SHOWN]}"
            )
    return found


def only_in(rows, others):
    """Return some rows that others are not."""
    known = set(map(repr, others))
    return [row for row in rows if repr(row) not in known][:SHOWN]


def left_in_the_core():
    """Return the locks that somebody holds, and the loads that nobody ends."""
    lock = builds.warehouse().lock
    found = [f"{lock} is held"] if is_locked(lock) else []
    return found + [f"a load of {partition} is neither completed nor removed" for partition in store().unfinished()]
