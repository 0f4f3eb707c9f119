"""Units of work that tests record: python units.py UNIT ROOT; each changes what lies below ROOT."""

import datetime as dt
import sys
from pathlib import Path

sys.path.insert(0, ".")

from scripts.admin.prune import prune
from scripts.bronze import folder_store
from scripts.bronze.ledger import Partition
from scripts.bronze.run import Run
from scripts.contracts import catalog
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from scripts.loading.replay import replay_partition
from scripts.utils.exit_codes import run_to_exit_code
from scripts.validate_data import validate_partition
from scripts.warehouse import folders
from scripts.warehouse.versions import Warehouse
from tests.support import toy_warehouse

DAY = dt.date(2024, 1, 2)
WHAT = Partition("jsonplaceholder", "posts", DAY)


def contract(*, strict):
    """The contract of the posts, or one that admits all that is sent."""
    found = catalog.pick("jsonplaceholder")
    if strict:
        return found
    document = found.model_dump(mode="json", exclude_defaults=True)
    document["resources"]["posts"] |= {"on_mistyped": "evolve", "rules": []}
    return type(found).model_validate(document)


def load(root, *, strict=True):
    """Ingest the posts of a day."""
    run = Run.create(triggered_by="test", bronze_dir=root)
    source = contract(strict=strict)
    with Client(source) as connection:
        ingest_partition(source, "posts", DAY, run, connection)


def validate(root):
    """Validate them."""
    validate_partition(contract(strict=True), "posts", DAY, Run.create(triggered_by="test", bronze_dir=root))


def replay(root):
    """Replay what is quarantined, with a contract that admits it."""
    replay_partition(contract(strict=False), WHAT, Run.create(triggered_by="test", bronze_dir=root))


def publish(root):
    """Build on the published version, and publish."""
    toy_warehouse.build(Warehouse(root / "warehouse.duckdb"), 50, keep=2)


def rollback(root):
    """Go back to the version before."""
    target = Warehouse(root / "warehouse.duckdb")
    with target.building(purpose="a test", timeout=60):
        target.rollback()


def prune_versions(root):
    """Delete old versions; the settings keep two."""
    prune(Run.create(triggered_by="test", bronze_dir=root / "bronze"), root / "logs", keep_log_days=30, dry_run=False)


UNITS = {
    "load": load,
    "reload": load,
    "validate": validate,
    "replay": replay,
    "publish": publish,
    "rollback": rollback,
    "prune": prune_versions,
}


def weaken(fault):
    """Bring back a fault that was corrected, to show that the checker finds it."""
    if fault == "decision without a sync":
        real = folder_store.sync_dir
        folder_store.sync_dir = lambda path: None if "_staging" in path.parts else real(path)
    elif fault == "deletion in place":
        import shutil  # noqa: PLC0415 — only here

        folders.remove = shutil.rmtree


if __name__ == "__main__":
    for name in sys.argv[3:]:
        weaken(name)
    sys.exit(run_to_exit_code(lambda: UNITS[sys.argv[1]](Path(sys.argv[2]))))
