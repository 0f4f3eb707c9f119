"""Whatever happens: when nothing is due, every expected day is loaded; else health names the days that are not.

A machine plays loads, failures, lost validations and days away, in any order, with a clock of its own.
`CONVERGENCE_EXAMPLES` plays more of them.
"""

import datetime as dt
import os
import tempfile
import types
from unittest import mock

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from scripts import config
from scripts.bronze import attempts
from scripts.bronze.ledger import Partition
from scripts.bronze.run import Run
from scripts.contracts import catalog
from scripts.loading.partitions import load
from scripts.monitoring.overdue import problems
from scripts.planning import reconcile
from scripts.planning.calendar import complete_at, expected_days
from scripts.sample_api.server import Fault, serving

EXAMPLES = int(os.environ.get("CONVERGENCE_EXAMPLES", "6"))
SOURCE, RESOURCES = "jsonplaceholder", ("users", "todos")
CLOCKED = ("scripts.ingest_api", "scripts.validate_data", "scripts.bronze.attempts", "scripts.planning.reconcile")
START = dt.datetime(2024, 1, 5, 12, tzinfo=dt.UTC)
# msgspec looks up the types of a record when it is first used, and keeps them: it must not find the clock of this test
msgspec.inspect.type_info(attempts.Attempt)

days_back = st.integers(0, 4)
resources = st.sampled_from(RESOURCES)


class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.now = START
        self.folder = tempfile.TemporaryDirectory(prefix="convergence-")
        self.server = serving()
        self.api = self.server.__enter__()
        environ = {
            "DATA_DIR": self.folder.name,
            "API_BASE_URL": self.api.url,
            "API_RETRIES": "0",
            "API_RETRY_WAIT": "0.01",
        }
        document = catalog.pick(SOURCE).model_dump(mode="json", exclude_defaults=True)
        document |= {"catchup": True, "resources": {name: document["resources"][name] for name in RESOURCES}}
        document["default_resource"] = RESOURCES[0]
        self.source = type(catalog.pick(SOURCE)).model_validate(document)
        machine = self

        class Clock(dt.datetime):
            @classmethod
            def now(cls, tz=None):  # noqa: ARG003 — always UTC here
                return machine.now

        clocked = types.SimpleNamespace(**{**vars(dt), "datetime": Clock})
        self.patches = [mock.patch.dict(os.environ, environ)]
        self.patches += [
            mock.patch(f"{name}.dt", clocked) for name in CLOCKED if hasattr(__import__(name, fromlist=["dt"]), "dt")
        ]
        found = catalog.Catalog({SOURCE: self.source}, {})
        self.patches.append(mock.patch.object(catalog, "read_all", return_value=found))
        for patch in self.patches:
            patch.start()
        config.settings.cache_clear()
        self.run = Run.create(triggered_by="test")

    def teardown(self):
        try:
            self.converge()
        finally:
            for patch in reversed(self.patches):
                patch.stop()
            config.settings.cache_clear()
            self.server.__exit__(None, None, None)
            self.folder.cleanup()

    def partition(self, resource, back):
        return Partition(SOURCE, resource, self.now.date() - dt.timedelta(days=back))

    @rule(resource=resources, back=days_back)
    def load_by_hand(self, resource, back):
        """Also today, which is not over."""
        load(self.run, [self.partition(resource, back)])

    @rule(resource=resources, back=days_back)
    def lose_the_validation(self, resource, back):
        load(self.run, [self.partition(resource, back)], steps=("ingest",))

    @rule(resource=resources, back=days_back, status=st.sampled_from([503, 404]))
    def break_the_source(self, resource, back, status):
        day = self.partition(resource, back).day.isoformat()
        self.api.faults.append(Fault("status", path=f"/{resource}", status=status, times=10_000, day=day))

    @rule()
    def mend_the_source(self):
        self.api.faults.clear()

    @rule(hours=st.integers(1, 80))
    def be_away(self, hours):
        self.now += dt.timedelta(hours=hours)

    @rule()
    def reconcile_loads(self):
        reconcile.load_due(self.run, reconcile.examine(self.run.store))

    def converge(self):
        """Reconcile until nothing can be done, with waits for what waits for its time."""
        for _ in range(6):
            found = reconcile.examine(self.run.store)
            waits = [attempt.retry_at for attempt in attempts.all_of(self.run.store).values() if not attempt.is_final]
            if not found.ready and not waits:
                break
            self.now = max([self.now, *waits])
            reconcile.load_due(self.run, reconcile.examine(self.run.store))
        self.check_days()

    def check_days(self):
        ledger, found = reconcile.read_ledger(self.run.store), reconcile.examine(self.run.store)
        told = " ".join(problem.text for problem in problems(catalog.read_all(), found))
        waiting = {item.partition for item in found.work}
        for resource in RESOURCES:
            loaded = [partition.day for partition in ledger if partition.resource == resource]
            for day in expected_days(self.source, min(loaded, default=None), self.now):
                partition = Partition(SOURCE, resource, day)
                entry = ledger.get(partition)
                if entry and entry.status == "validated" and entry.started_at >= complete_at(self.source, day):
                    continue
                assert partition in waiting, f"{partition} is not loaded, and nobody knows"
                assert f"{SOURCE}/{resource}" in told or "more days wait" in told, f"health does not name {partition}"


def test_every_expected_day_is_loaded_in_the_end_or_named():
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            print_blob=True,
        ),
    )
