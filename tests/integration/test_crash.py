"""A load that is killed with -9, at every instruction that touches a file."""

import collections
import json
import sys

import pytest


@pytest.fixture
def states(api, start):
    done = start(program=[sys.executable, "tests/support/kill_loads.py"], API_CONCURRENCY="1", LOG_LEVEL="ERROR")
    assert done.returncode == 0, done.stderr[-2000:]
    by_label = collections.defaultdict(list)
    for line in done.stdout.splitlines():
        row = json.loads(line)
        by_label[row.pop("label")].append(row)
    return by_label


@pytest.mark.slow
def test_a_load_killed_at_any_instruction_leaves_the_old_partition_or_the_new_one(states):
    absent = {"file": None, "ledger": None, "quarantined": 0}
    for label in ("first", "mild", "strict"):
        old = states[f"before {label}"][0] if label != "first" else absent
        new = states[f"after {label}"][0]
        killed, recovered = states[f"killed {label}"], states[f"recovered {label}"]
        assert len(killed) >= 20

        # a load is ingestion, then validation: in between lies the ingested partition, whole as well
        ingested = {state["ledger"][0] for state in recovered if state["ledger"] and state["ledger"][3] == "ingested"}
        assert len(ingested) == 1
        whole = {old["file"], new["file"], *ingested}

        for state in killed:
            # readers of the folder, without any recovery
            assert state["file"] in whole, state
            assert state["files"] in ([], ["part-0.parquet"]), state
        for state in recovered:
            # after the next process came by: file, ledger and quarantine belong together
            if state["ledger"] is None:
                assert state["file"] is None
                continue
            content, rows, quarantined, _ = state["ledger"]
            assert state["file"] == content
            assert rows + quarantined == 111
            assert state["quarantined"] == quarantined
        # at least once the old one was kept, and at least once the new one was finished
        assert {state["file"] for state in recovered} >= {old["file"], new["file"]}
