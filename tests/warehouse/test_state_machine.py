"""Whatever happens: when nothing is due, readers see all validated days; else health names what they do not see.

A machine plays loads, reloads, rows in quarantine, failures, lost validations, lost events, full refreshes, rollbacks,
edits and days away, in any order, with a clock of its own. Then the reconciling run does what is due, as often as it
takes. `STATE_MACHINE_EXAMPLES` plays more of them.
"""

import contextlib
import datetime as dt
import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from scripts import config
from scripts.admin import generated_files
from scripts.bronze import attempts
from scripts.bronze.ledger import Partition
from scripts.bronze.run import Run
from scripts.contracts import catalog, source_yaml
from scripts.errors import PipelineError
from scripts.loading.partitions import load
from scripts.monitoring.overdue import problems
from scripts.planning import reconcile
from scripts.planning.calendar import complete_at, expected_days
from scripts.warehouse import build as builds
from tests.support.answering import answering
from tests.support.clock import clocked
from tests.support.project import DEMO_RESOURCE, demo_contract, empty_project
from tests.support.tables import tables_and_views

pytestmark = [pytest.mark.slow, pytest.mark.timeout(20000)]
EXAMPLES = int(os.environ.get("STATE_MACHINE_EXAMPLES", "2"))
START = dt.datetime(2024, 1, 3, 12, tzinfo=dt.UTC)
RESOURCES = ("items", "others")
RULES = [
    {"name": "n_min", "column": "n", "range": {"min": 0}, "severity": "quarantine"},
    {"name": "n_max", "column": "n", "range": {"max": 90}, "severity": "fail"},
]
CONTRACT = demo_contract(DEMO_RESOURCE | {"rules": RULES}, catchup=True)
STAGING = """
{{{{ config(unique_key='id') }}}}
select id, g, n + {number} as n, first_seen_date, last_seen_date from {{{{ latest_row_per_key('demo', '{name}') }}}}
"""
MART = """
{{{{ config(unique_key='g', contract={{'enforced': false}}, meta={{'affected_by': {{'stg_items': ['g']}}}}) }}}}
select g, count(*) as item_count, sum(n) + {number} as n_sum from {{{{ ref('stg_items') }}}}
{{% if is_incremental() %}}where {{{{ in_affected_keys(['g']) }}}}{{% endif %}}
group by g
"""
MODELS = {
    "models/staging/stg_items.sql": STAGING.replace("{name}", "items"),
    "models/staging/stg_others.sql": STAGING.replace("{name}", "others"),
    "models/marts/sums.sql": MART,
}

days_back = st.integers(0, 3)
resources = st.sampled_from(RESOURCES)
rows = st.lists(
    st.tuples(st.integers(1, 6), st.integers(0, 2), st.integers(-2, 9)),
    min_size=1,
    max_size=6,
    unique_by=lambda r: r[0],
)


class Machine(RuleBasedStateMachine):
    """A project with one source, its data and its clock."""

    def __init__(self):
        super().__init__()
        self.now, self.sent, self.status = START, {}, {}
        self.stack = contextlib.ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="state-machine-")))
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        url, _ = self.stack.enter_context(answering(self.answer))
        environ = {"DATA_DIR": folder / "data", "DEMO_BASE_URL": url, "API_RETRIES": 0, "API_RETRY_WAIT": 0.01}
        for name, value in environ.items():
            patch.setenv(name, str(value))
        config.settings.cache_clear()
        self.stack.callback(config.settings.cache_clear)
        home = empty_project(folder / "project", patch)
        (home / "sources" / "demo.yml").write_text(json.dumps(CONTRACT | {"base_url": url}))
        generated_files.write_files(source_yaml.source_files())
        self.dbt = home / "dbt"
        for name in MODELS:
            self.write(name, 0)
        self.stack.enter_context(clocked(lambda: self.now))

    def answer(self, ask):
        """Answer with the rows of a day as they are now, or with the error that it has now."""
        key = ask.path.strip("/"), ask.headers["X-Day"]
        if (status := self.status.get(key)) is not None:
            return status, {"Content-Type": "application/json"}, b"{}"
        sent = self.sent.get(key, [(1, 0, int(key[1][-2:]))])
        content = [{"id": number, "g": group, "n": value} for number, group, value in sent]
        return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()

    def write(self, name, number):
        path = self.dbt / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MODELS[name].format(number=number).lstrip())

    def run_now(self):
        return Run.create(triggered_by="test")

    def day(self, back):
        return self.now.date() - dt.timedelta(days=back)

    def load(self, resource, back, *steps):
        load(self.run_now(), [Partition("demo", resource, self.day(back))], steps=steps or ("ingest", "validate"))

    def build(self, **how):
        with contextlib.suppress(PipelineError):
            run = self.run_now()
            with reconcile.noting_build(run):
                builds.build_warehouse(run, **how)

    @initialize()
    def begin(self):
        self.load("items", 2)
        self.build()

    @rule(resource=resources, back=days_back, sent=rows)
    def load_again_with_other_rows(self, resource, back, sent):
        self.sent[resource, self.day(back).isoformat()] = sent
        self.load(resource, back)

    @rule(resource=resources, back=days_back, sent=rows)
    def lose_the_validation(self, resource, back, sent):
        self.sent[resource, self.day(back).isoformat()] = sent
        self.load(resource, back, "ingest")

    @rule(resource=resources, back=days_back)
    def clear_only_the_validation(self, resource, back):
        self.load(resource, back, "validate")

    @rule(resource=resources, back=days_back)
    def break_a_rule_of_severity_fail(self, resource, back):
        self.sent[resource, self.day(back).isoformat()] = [(1, 1, 99)]
        self.load(resource, back)

    @rule(resource=resources, back=days_back, status=st.sampled_from([503, 404]))
    def break_the_source(self, resource, back, status):
        self.status[resource, self.day(back).isoformat()] = status

    @rule()
    def mend_the_source(self):
        self.status.clear()

    @rule(hours=st.integers(1, 50))
    def be_away(self, hours):
        self.now += dt.timedelta(hours=hours)

    @rule(how=st.sampled_from([{}, {"full_refresh": True}, {"full_tests": True}]))
    def build_now(self, how):
        self.build(**how)

    @rule()
    def lose_the_event_of_gold(self):
        self.build(layer="silver")

    @rule()
    def roll_back(self):
        with contextlib.suppress(PipelineError):
            builds.roll_back(self.run_now(), None)

    @rule(name=st.sampled_from(list(MODELS)), number=st.integers(0, 2))
    def edit(self, name, number):
        self.write(name, number)

    @rule(name=st.sampled_from(list(MODELS)))
    def break_a_model(self, name):
        self.write(name, "nosuch")

    def teardown(self):
        with self.stack:
            self.converge()
            found = reconcile.examine(self.run_now().store)
            told = {problem.name: problem.text for problem in problems(catalog.read_all(), found)}
            self.every_expected_day_is_loaded_or_named(found, told)
            self.readers_see_all_validated_days_or_it_is_named(found, told)

    def converge(self):
        """Reconcile until nothing can be done, with waits for what waits for its time."""
        for _ in range(8):
            done = reconcile.reconcile(self.run_now())
            noted = [*attempts.all_of(self.run_now().store).values(), attempts.read(reconcile.attempt_document())]
            waits = [attempt.retry_at for attempt in noted if attempt and not attempt.is_final]
            if not done.stays.is_ready and not waits:
                break
            self.now = max([self.now, *waits])

    def every_expected_day_is_loaded_or_named(self, found, told):
        source, said = catalog.pick("demo"), " ".join(told.values())
        for resource in RESOURCES:
            first = min((item.day for item in found.ledger if item.resource == resource), default=None)
            for day in expected_days(source, first, self.now):
                entry = found.ledger.get(Partition("demo", resource, day))
                if entry and entry.status == "validated" and entry.started_at >= complete_at(source, day):
                    continue
                assert f"demo/{resource}" in said, f"{resource} of {day} is not loaded, and nobody is told: {said}"

    def readers_see_all_validated_days_or_it_is_named(self, found, told):
        if found.build.reasons:
            assert "build" in told, f"Gold is not up to date, and nobody is told: {found.build}"
            return
        path = builds.warehouse().path
        seen = tables_and_views(path)
        builds.build_warehouse(self.run_now(), full_refresh=True)
        assert tables_and_views(path) == seen


def test_readers_see_every_validated_day_in_the_end_or_somebody_is_told():
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=10,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            print_blob=True,
        ),
    )
