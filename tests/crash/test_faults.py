"""Full and broken disks, no descriptors, lost permissions, at each call: one line, and nothing is half-written.

A sample in CI, each call and each error with `make test-crash` (CRASH_STATES=all).
"""

import json
import os
import random
import shutil
import sys

import pytest

from tests.crash import recording
from tests.crash.faults import faults_of, run_with
from tests.crash.states import read_tree
from tests.crash.test_power_cuts import LOADS, WAREHOUSE_UNITS, old_or_new, partition_of, whole_versions

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(20_000),
    pytest.mark.skipif(recording.STRACE is None and not os.environ.get("REQUIRE_STRACE"), reason="needs strace"),
]
SAMPLE = None if os.environ.get("CRASH_STATES") == "all" else 1
EXPECTED = {0, 7, 8, 9, 10, 11, 12}
"""Exit codes: the work succeeded all the same, or says what is wrong with a file, a lock or the disk."""


@pytest.mark.parametrize("unit", [*LOADS, *WAREHOUSE_UNITS])
def test_a_call_that_fails_is_one_line_and_the_same_work_succeeds_afterwards(api, unit, disk, tmp_path, capsys):
    prepare = {**LOADS, **WAREHOUSE_UNITS}[unit]
    root, kept = disk / "root", disk / "kept"
    root.mkdir()
    prepare(root)
    shutil.copytree(root, kept, symlinks=True)
    before = read_tree(root)
    env = {"DATA_DIR": str(root), "WAREHOUSE_KEEP_VERSIONS": "2", "API_CONCURRENCY": "1", "TRACE_DIR": str(tmp_path)}
    program = ["tests/crash/units.py", unit, root]
    possible = faults_of(program, root, env=env)
    after = read_tree(root)
    check = whole_versions(before, after) if unit in WAREHOUSE_UNITS else old_or_new(before, after, between=True)
    random.Random(1).shuffle(possible)

    met, bad = 0, []
    for fault in possible:
        if met == SAMPLE:
            break
        shutil.rmtree(root)
        shutil.copytree(kept, root, symlinks=True)
        code, said, hit = run_with(fault, program, root, env=env)
        met += bool(hit)
        if hit and (code not in EXPECTED or "Traceback" in said):
            bad.append(f"{fault}: {hit}: exit code {code}: {said[-800:]}")
        if problem := _left(root, check, program, env, after if unit in LOADS else None):
            bad.append(f"{fault}: {hit}: exit code {code}: {said[-300:]}: {problem}")

    with capsys.disabled():
        sys.stdout.write(f"[{unit}: {met} of {len(possible)} faults] ")
    assert bad == []
    assert met >= (SAMPLE or len(possible) // 2)


def _counts(tree):
    """The counts of the partition, whose rows name their run."""
    record = json.loads(partition_of(tree)[0])
    return {name: record[name] for name in ("status", "fetched", "bronze", "quarantined", "pages")}


def _left(root, check, program, env, after):
    """Return what is wrong with what is left: with what readers see, or after the same work without a fault."""
    copy = root.with_name("copy")
    shutil.copytree(root, copy, symlinks=True)
    try:
        if problem := check(copy):
            return problem
    finally:
        shutil.rmtree(copy)
    again = recording.run(program, env=env)
    if again.returncode != 0:
        return f"the same work again ends with {again.returncode}: {again.stderr[-800:]}"
    if after is not None and _counts(read_tree(root)) != _counts(after):
        return f"the same work again gives {_counts(read_tree(root))}"
    return None
