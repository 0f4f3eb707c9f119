"""The commands of docs/lineage.md, as they stand there, in a clone of the repository."""

import re
from pathlib import Path

import pytest

from scripts.config import PROJECT_DIR
from tests.support.clone import clone
from tests.support.lineage_receiver import receiving

BLOCKS = re.findall(r"```sh\n(.*?)```", (PROJECT_DIR / "docs/lineage.md").read_text(), re.DOTALL)
FOREIGN = """
apiVersion: v3.1.0
kind: DataContract
id: payments
name: payments
version: 1.1.0
status: active
schema:
  - name: payments
    properties:
      - {name: id, logicalType: integer, primaryKey: true, required: true, description: Key.}
"""
pytestmark = pytest.mark.slow


@pytest.fixture
def shell(tmp_path, start):
    """Run a block of the page in a clone."""
    home = clone(tmp_path / "clone")
    (home / ".venv").symlink_to(PROJECT_DIR / ".venv")

    def run(block, **environ):
        commands = f"export PATH={home / '.venv/bin'}:$PATH\n{block}"
        program = ("bash", "-euo", "pipefail", "-c")
        done = start(commands, program=program, cwd=home, PYTHONPATH=home, PIPELINE_HOME=home, **environ)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        return home, done.stdout

    return run


def test_a_run_tells_the_receiver_what_it_did(api, shell):
    (block,) = [block for block in BLOCKS if "OPENLINEAGE_URL=" in block]
    with receiving() as receiver:
        shell(block.replace("http://127.0.0.1:5000", receiver.url))
        assert receiver.of("ingest.jsonplaceholder.posts")
        assert receiver.of("build.gold.fct_events")


def test_contracts_are_exported_and_imported(shell):
    (block,) = [block for block in BLOCKS if "sources export" in block]
    home, output = shell(f"cat > payments.odcs.yaml << 'END'\n{FOREIGN}END\n{block}")
    assert (home / "data/odcs/coin_prices.odcs.yaml").exists()
    assert Path(home / "scripts/sources/payments.yml").read_text().startswith("# To fill in: ")
    assert "to fill in: base_url" in output
