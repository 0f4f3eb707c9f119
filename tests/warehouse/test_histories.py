"""Random histories of a project: after each build, readers see what plain dbt builds from nothing, or what they saw.

At the end of each, the reconciling run does what is due, and the same has to hold.
`HISTORIES=200` runs so many of them; the number of a history is its seed, and a failure prints what happened.
"""

import datetime as dt
import json
import os
import random
import shutil

import pytest

from scripts.admin import generated_files
from scripts.bronze.run import Run
from scripts.config import settings
from scripts.contracts import source_yaml
from scripts.errors import WarehouseError
from scripts.loading.partitions import load, partitions
from scripts.planning import reconcile
from scripts.utils.days import day_range
from scripts.warehouse import build as builds
from scripts.warehouse.process import Command, running
from scripts.warehouse.runner import DbtFailedError
from tests.support.answering import answering
from tests.support.project import DEMO_RESOURCE, demo_contract, empty_project
from tests.support.random_project import EDITS, first_project
from tests.support.tables import tables_and_views

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

DAYS = tuple(f"2024-01-0{number}" for number in range(1, 6))
CONTRACT = demo_contract(DEMO_RESOURCE, daily=False)


class History:
    """A project and its data, which change; `told` is what happened."""

    def __init__(self, seed, home, tmp_path, env):
        self.chance, self.home, self.tmp_path, self.env = random.Random(seed), home, tmp_path, env
        self.project = first_project(self.chance)
        self.good = self.project.copy()
        self.rows, self.told, self.seen = {}, [], {}

    def answer(self, ask):
        """Answer with the rows of a day, as they are now."""
        rows = self.rows[ask.path.strip("/"), ask.headers["X-Day"]]
        return 200, {"Content-Type": "application/json"}, json.dumps(rows).encode()

    def change_days(self):
        """Load, load again, load without validation, or remove some days."""
        for _ in range(self.chance.randint(0, 3)):
            resource, day = self.chance.choice(["items", "others"]), self.chance.choice(DAYS)
            what = self.chance.choice(["load", "load", "load", "load only", "remove"])
            self.told.append(f"{what} {resource} {day}")
            if what == "remove":
                self._remove(resource, day)
                continue
            keys = self.chance.sample(range(12), self.chance.randint(0, 8))
            self.rows[resource, day] = [
                {"id": key, "g": self.chance.randint(0, 3), "n": self.chance.choice([*range(9), "none"])}
                for key in keys
            ]
            # a load of which no row fits is refused
            for row in self.rows[resource, day][:1]:
                row["n"] = 1
            steps = ("ingest",) if what == "load only" else ("ingest", "validate")
            asked = partitions(day_range(day, day), ["demo"], [resource])
            done = load(Run.create(triggered_by="test"), asked, steps=steps)
            assert [outcome.error for outcome in done if outcome.error] == []

    def _remove(self, resource, day):
        bronze = settings().data_dir / "bronze"
        for path in sorted(bronze.rglob(f"*{day}*"), reverse=True):
            if resource in path.parts and path.exists():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def edit(self):
        """Edit the project."""
        for _ in range(self.chance.choice([0, 1, 1, 2, 3])):
            self.told.append(self.chance.choice(EDITS)(self.project, self.chance))
        self.project.write(self.home)

    def build(self):
        """Build in one of its ways, and check what readers see."""
        how = self.chance.choice([{}, {}, {}, {"layer": "silver"}, {"full_tests": True}, {"full_refresh": True}])
        self.told.append(f"build {how}")
        try:
            self._build(**how)
            if how.get("layer") == "silver":
                assert self._readers_see() == self.seen, "Silver alone was published"
                if self.chance.random() < 0.3:
                    self.told.append("Gold's event is lost")
                    return
                if self.chance.random() < 0.5:
                    self.change_days()
                    self.told.append("gold, then all")
                    self._build(layer="gold")
                self._build()
        except WarehouseError as error:
            self._was_refused(error)
            return
        self.good = self.project.copy()
        self._equals_plain_dbt()

    def reconcile(self):
        """Do what is due: whatever happened before, readers then see all validated days, or somebody is told."""
        self.project = self.good.copy()
        self.project.write(self.home)
        done = reconcile.reconcile(Run.create(triggered_by="test"))
        self.told.append(f"reconcile: {done.error}")
        assert [item for item in done.stays.ready if item.partition.day <= dt.date.fromisoformat(DAYS[-1])] == []
        if done.error is not None:
            assert done.stays.build.waits_for, "a build failed, and nobody is told"
            self._fails_in_plain_dbt(done.error)
            return
        assert done.stays.build.reasons == []
        self._equals_plain_dbt()

    def _build(self, **how):
        builds.build_warehouse(Run.create(triggered_by="test"), **how)

    def _was_refused(self, error):
        """Check that readers see what they saw, and that plain dbt does not build it either; correct it, or do not."""
        self.told.append(f"{type(error).__name__}: {error}"[:300])
        assert self._readers_see() == self.seen, "a failed build changed what readers see"
        if isinstance(error, DbtFailedError):
            self._fails_in_plain_dbt(error)
        else:
            assert error.where.startswith(("models/", "own_tests/", "snapshots/", "seeds/")), f"no file in: {error}"
        if self.chance.random() < 0.7:
            retry = self.chance.random() < 0.5
            self.told.append(f"undone, build --retry {retry}")
            self.project = self.good.copy()
            self.project.write(self.home)
            try:
                self._build(retry=retry)
            except DbtFailedError as again:
                # the data has changed too: a test that passed before may fail
                self._fails_in_plain_dbt(again)
                for model in self.project.models.values():
                    model.tests.clear()
                self.project.write(self.home)
                self._build()
            self.good = self.project.copy()
            self._equals_plain_dbt()

    def _fails_in_plain_dbt(self, error):
        code, output = self._plain_dbt()
        assert code != 0, f"plain dbt builds what failed with {error}:\n{output[-2000:]}"

    def _readers_see(self):
        return tables_and_views(builds.warehouse().path)

    def _plain_dbt(self):
        """Build the project from nothing by dbt alone; return its exit code and output."""
        fresh = self.tmp_path / "fresh.duckdb"
        fresh.unlink(missing_ok=True)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DBT_")}
        environment |= {"WAREHOUSE_BUILD": str(fresh), "BRONZE_DIR": str(settings().data_dir / "bronze")}
        arguments = ["build", "--exclude-resource-type", "unit_test", "--target-path", str(self.tmp_path / "target")]
        with running(Command([*arguments, "--no-use-colors"], self.home, environment)) as process:
            output = process.stdout.read()
            return process.wait(), output

    def _equals_plain_dbt(self):
        """Check that the published tables are those of plain dbt, and that all tests pass there."""
        code, output = self._plain_dbt()
        assert code == 0, f"plain dbt fails:\n{output[-3000:]}"
        self.seen, fresh = self._readers_see(), tables_and_views(self.tmp_path / "fresh.duckdb")
        for name in self.project.histories() & set(self.seen):
            fresh[name] = self.seen[name]
        wrong = {name: (self.seen.get(name), fresh.get(name)) for name in {*self.seen, *fresh}}
        assert {name: both for name, both in wrong.items() if both[0] != both[1]} == {}


@pytest.fixture
def history(request, tmp_path, monkeypatch, env):
    """A history with this test's seed."""
    project = empty_project(tmp_path / "project", monkeypatch)
    past = History(request.param, project / "dbt", tmp_path, env)
    with answering(past.answer) as (base, _):
        (project / "sources" / "demo.yml").write_text(json.dumps(CONTRACT | {"base_url": base}))
        generated_files.write_files(source_yaml.source_files())
        yield past


@pytest.mark.parametrize("history", range(int(os.environ.get("HISTORIES", "1"))), indirect=True)
def test_readers_see_what_plain_dbt_builds_from_nothing(history):
    history.project.write(history.home)
    history.told.append(repr(history.project))
    try:
        for _ in range(history.chance.randint(2, 3)):
            history.change_days()
            history.edit()
            history.build()
        history.reconcile()
    except BaseException as error:
        error.add_note("\n".join(history.told))
        raise
