"""Exported contracts, checked by the tool of the standard's own community, in an environment of its own."""

import shutil
import subprocess
import sys

import pytest

from scripts.admin.odcs_files import odcs_text
from scripts.config import PROJECT_DIR
from scripts.contracts import catalog

TOOL = "datacontract-cli==1.2.8"
pytestmark = pytest.mark.slow


def lint(path):
    """Return the result of `datacontract lint`; its many packages stay out of this project's environment."""
    uv = shutil.which("uv") or str(PROJECT_DIR / ".tools/bin/uv")
    command = [uv, "tool", "run", "--quiet", "--python", sys.executable, "--from", TOOL, "datacontract", "lint", path]
    return subprocess.run(command, capture_output=True, text=True, timeout=1500, check=False)


def test_each_exported_contract_is_valid_and_a_wrong_one_is_found(tmp_path):
    for name, source in catalog.load().items():
        path = tmp_path / f"{name}.odcs.yaml"
        path.write_text(odcs_text(source))
        done = lint(path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "is valid against ODCS v3.1.0" in done.stdout
    path.write_text(path.read_text().replace("logicalType: integer", "logicalType: whole"))
    assert lint(path).returncode != 0
