"""Ordinary work in dbt that once published wrong tables: a program outside the repository judges each case.

`CASES_DBT_DIR` names its folder; `make test-cases-dbt` runs all cases, and without it one of them runs.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.config import PROJECT_DIR
from tests.support.required import without

FOLDER = Path(os.environ.get("CASES_DBT_DIR") or PROJECT_DIR.parent / "shared" / "cases-dbt")
SAMPLE = ("upstream_with_alias",)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_what_an_edit_publishes_equals_a_fresh_build_or_the_edit_is_refused(tmp_path):
    if not (FOLDER / "run").exists():
        without("REQUIRE_CASES", f"there is no {FOLDER}/run: CASES_DBT_DIR names the folder that holds the cases")
    names = () if os.environ.get("CASES_DBT") == "all" else SAMPLE
    own = Path(__file__).with_name("dbt_names.env")
    command = [sys.executable, FOLDER / "run", "--project", PROJECT_DIR, "--names-from", own, "--logs", tmp_path]
    done = subprocess.run([*command, *names], cwd=PROJECT_DIR, text=True, capture_output=True, check=False)
    failed = [line.split()[0] for line in done.stdout.splitlines() if " FAIL " in line]
    logs = "".join(f"== {name}\n{(tmp_path / f'{name}.log').read_text()[-3000:]}" for name in failed)
    assert done.returncode == 0, done.stdout + done.stderr + logs
    assert " 0 fail" in done.stdout
