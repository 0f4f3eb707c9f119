"""A contract that changes: what it means for days that are loaded, and that nothing is mixed, cast or lost."""

import datetime as dt
import http.server
import json
import threading

import pyarrow.parquet as pq
import pytest

from scripts.bronze.loaded_contracts import contract_of_record, damaged_contracts, is_outdated, outdated_days
from scripts.cli.printing import show_build_plan
from scripts.contracts.catalog import Catalog
from scripts.contracts.source import Source
from scripts.errors import BronzeError, PipelineError, UsageError
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from scripts.loading.replay import replay_partition
from scripts.planning.reconcile import plan_request
from scripts.validate_data import validate_partition
from scripts.warehouse.accounting import check_contracts
from scripts.warehouse.plan import BuildPlan, NodePlan, NodeState, State
from scripts.warehouse.project import Project

DAY = dt.date(2024, 1, 1)
ID = {"name": "id", "type": "integer", "nullable": False, "description": "d"}
N = {"name": "n", "type": "integer", "description": "d"}
M = {"name": "m", "type": "integer", "description": "d"}
TEXT = {"name": "n", "type": "string", "description": "d"}
BASE = (ID, N, M)


def contract(*columns, of_source=None, **changes):
    load = {"mode": "snapshot", "of": "day"}
    items = {"description": "d", "path": "/items", "primary_key": ["id"], "columns": list(columns), "load": load}
    items |= changes
    return Source.model_validate(
        {
            "source": "demo",
            "description": "d",
            "owner": "me@example.com",
            "base_url": "http://127.0.0.1:1",
            "base_url_env": "DEMO_BASE_URL",
            "default_resource": "items",
            "resources": {"items": items},
            **(of_source or {}),
        }
    )


@pytest.fixture
def load(run, env):
    """Load rows, which a server answers with."""
    answer = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    def load_rows(source, rows, day=DAY, *, validate=False):
        answer[:] = rows
        with Client(source) as connection:
            return ingest_partition(source, "items", day, run, connection, validate=validate)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        env("DEMO_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}")
        yield load_rows
        server.shutdown()
        thread.join()


def test_a_damaged_stored_contract_is_named_with_the_days_that_need_it(load, run):
    entry = load(contract(*BASE), [{"id": 1}])
    load(contract(*BASE), [{"id": 1}], day=DAY + dt.timedelta(days=1))
    assert damaged_contracts(run.store, run.store.entries()) == []
    (path,) = run.store.root.glob("_contracts/demo/items/*.json")
    path.write_bytes(path.read_bytes().replace(b"integer", b"intager", 1))

    (problem,) = damaged_contracts(run.store, run.store.entries())

    assert str(path) in problem
    assert problem.endswith("--resource items --start-date 2024-01-01 --end-date 2024-01-02`)")
    load(contract(*BASE), [{"id": 1}])
    assert damaged_contracts(run.store, [entry]) == []


@pytest.mark.parametrize(
    ("before", "after", "is_widened"),
    [
        ("integer", "string", True),
        ("boolean", "string", True),
        ("string", "integer", False),
        ("date", "string", False),
        ("timestamp", "string", False),
        ("number", "string", False),
        ("decimal(9, 2)", "string", False),
        ("integer", "number", False),
        ("integer", "decimal(38, 19)", True),
        ("integer", "decimal(38, 20)", False),
        ("decimal(9, 2)", "decimal(10, 3)", True),
        ("decimal(9, 2)", "decimal(9, 3)", False),
        ("decimal(9, 2)", "decimal(10, 1)", False),
        ("decimal(9, 2)", "number", False),
        ("boolean", "decimal(38, 0)", False),
        ("string", "json", False),
    ],
)
def test_a_type_is_widened_if_it_holds_each_value_without_a_change(before, after, is_widened, load, run):
    load(contract(ID, M | {"type": before}), [{"id": 1}])

    (found,) = outdated_days(run.store, [contract(ID, M | {"type": after})])

    assert (found.widened_columns, found.is_conflict) == ((["m"], False) if is_widened else ([], True))


def test_a_type_is_not_widened_if_values_were_read_in_a_form_of_their_own(load, run):
    flag = {"name": "n", "type": "boolean", "true_values": ["Y"], "false_values": ["N"], "description": "d"}
    load(contract(ID, flag), [{"id": 1, "n": "Y"}])

    (found,) = outdated_days(run.store, [contract(ID, TEXT)])

    assert (found.is_conflict, found.widened_columns) == (True, [])


def test_replay_of_a_day_with_a_narrower_type_is_refused(load, run):
    before = load(contract(ID, N), [{"id": 1, "n": 1}, {"id": 2, "n": "what"}])

    with pytest.raises(BronzeError, match=r"column `n` was integer and is string.*backfill --outdated"):
        replay_partition(contract(ID, TEXT, on_mistyped="evolve"), before.partition, run)
    assert run.store.entry(before.partition) == before


def test_the_columns_of_a_day_are_read_and_hidden_as_they_were(load, run):
    number = N | {"format": "text", "null_values": ["-"], "sensitive": True}
    before = load(contract(ID, number), [{"id": 1, "n": "1"}])

    found = contract_of_record(run.store, before, contract(ID, TEXT | {"sensitive": True}).resources["items"])

    column = {column.name: column for column in found.columns}["n"]
    assert (column.type, column.format, column.null_values, column.sensitive) == ("integer", "text", ("-",), True)


NEGATIVE = {"name": "r", "severity": "quarantine", "column": "n", "range": {"min": 0}}


@pytest.mark.parametrize(
    ("after", "what", "effect"),
    [
        ([ID, N, M | {"description": "other"}], None, None),
        ([M, N, ID], None, None),
        ([*BASE, {"name": "k", "type": "string", "description": "d"}], "column `k` is new", "compatible"),
        (
            [*BASE, {"name": "k", "type": "string", "nullable": False, "description": "d"}],
            "may not be null",
            "conflict",
        ),
        ([ID, TEXT, M], "column `n` was integer and is string", "widened"),
        ([ID, TEXT | {"name": "n", "field": "q"}, M], "column `n` was integer and is string", "conflict"),
        ([ID, N], "column `m` is gone", "conflict"),
        ([ID, N, {"name": "w", "field": "m", "type": "integer", "description": "d"}], "without `was: m`", "conflict"),
        (
            [ID, N, {"name": "w", "field": "m", "was": "m", "type": "integer", "description": "d"}],
            "is called `w` now",
            "compatible",
        ),
        ([ID, N, {"name": "w", "was": "m", "type": "string", "description": "d"}], "`w` is string", "conflict"),
        ([ID, TEXT | {"null_values": ["-"]}, M], "column `n` was integer and is string", "conflict"),
        ([ID, N | {"type": "number"}, M], "column `n` was integer and is number", "conflict"),
        ([ID, N, M | {"field": "q"}], "was read from field `m`", "conflict"),
        ([ID, N, M | {"nullable": False}], "column `m` was nullable", "outdated"),
    ],
)
def test_each_change_of_columns_has_its_effect(after, what, effect, load, run):
    entry = load(contract(*BASE), [{"id": 1, "n": 1, "m": 2}])
    source = contract(*after)

    found = outdated_days(run.store, [source])

    assert bool(found) is (effect in {"outdated", "widened", "conflict"})
    assert [days.is_conflict for days in found] == [effect == "conflict"] * len(found)
    assert [bool(days.widened_columns) for days in found] == [effect == "widened"] * len(found)
    assert is_outdated(run.store, entry, source.resources["items"]) is bool(found)
    if found:
        assert what in str(found[0])
        assert "pipeline backfill --outdated --source demo --resource items --start-date 2024-01-01" in found[0].remedy


@pytest.mark.parametrize(
    ("changes", "effect"),
    [
        ({"rules": [NEGATIVE]}, ""),
        ({"freshness": {"warn_after_hours": 1, "error_after_hours": 2}}, ""),
        ({"on_mistyped": "evolve"}, ""),
        ({"pagination": {"type": "link", "stop": "no_next_link"}}, ""),
        ({"params": {"status": "all"}}, "outdated"),
        ({"path": "/v2/items"}, "outdated"),
        ({"method": "POST", "body": {"status": "all"}}, "outdated"),
        ({"method": "POST", "form": {"status": "all"}}, "outdated"),
        ({"headers": {"X-Tenant": "b"}}, "outdated"),
        ({"base_url": "https://other.example.com"}, "outdated"),
        ({"for_each": {"values": {"status": ["all"]}}}, "outdated"),
        ({"nested": {"path": "lines"}}, "outdated"),
        ({"load": {"mode": "incremental", "start_param": "from"}}, "outdated"),
        ({"concurrency": 1}, ""),
        ({"primary_key": ["id", "n"]}, "outdated"),
    ],
)
def test_each_other_change_has_its_effect(changes, effect, load, run):
    load(contract(*BASE), [{"id": 1}])

    found = outdated_days(run.store, [contract(*BASE, **changes)])

    assert bool(found) is bool(effect)
    assert not any(days.is_conflict for days in found)


@pytest.mark.parametrize("of_source", [{"time_zone": "Europe/Berlin"}, {"headers": {"X-Tenant": "b"}}])
def test_a_change_of_the_source_that_asks_for_other_rows_is_seen(of_source, load, run):
    load(contract(*BASE), [{"id": 1}])

    (found,) = outdated_days(run.store, [contract(*BASE, of_source=of_source)])

    assert f"`{next(iter(of_source))}` of the source has changed" in str(found)
    assert outdated_days(run.store, [contract(*BASE, of_source={"owner": "you@example.com"})]) == []


def test_a_day_of_a_version_that_kept_no_contract_is_compared_by_its_file(load, run):
    load(contract(*BASE), [{"id": 1}])
    for path in (run.store.root / "_contracts").rglob("*.json"):
        path.unlink()

    assert outdated_days(run.store, [contract(*BASE, path="/v2/items")]) == []
    (found,) = outdated_days(run.store, [contract(ID, TEXT)])
    assert found.is_conflict
    assert "column `n` was integer and is string; column `m` is gone" in str(found)


@pytest.mark.parametrize("harm", [b"", b"{", b"\x80", b"[]", b'{"columns": []}'])
def test_a_damaged_contract_is_named_compared_by_the_file_and_written_again(harm, load, run, caplog):
    load(contract(*BASE), [{"id": 1}])
    (path,) = (run.store.root / "_contracts").rglob("*.json")
    content = path.read_bytes()
    path.write_bytes(harm)

    (found,) = outdated_days(run.store, [contract(ID, TEXT)])
    assert "column `n` was integer and is string; column `m` is gone" in str(found)
    assert f"{path} is damaged" in caplog.text

    load(contract(*BASE), [{"id": 1}])
    assert path.read_bytes() == content


def test_each_changed_byte_of_a_contract_is_noticed(load, run):
    load(contract(*BASE), [{"id": 1}])
    (path,) = (run.store.root / "_contracts").rglob("*.json")
    content = path.read_bytes()
    before = json.loads(content)
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
        (read,) = outdated_days(run.store, [contract(*BASE, path="/v2")]) or [None]
        # a changed space between two values changes nothing
        if read is not None:
            assert "`path` of the request has changed" in str(read)
            assert json.loads(path.read_bytes()) == before


def test_loading_the_days_again_ends_the_conflict(load, run):
    load(contract(*BASE), [{"id": 1, "n": 1, "m": 2}])
    source = contract(ID, TEXT)
    assert outdated_days(run.store, [source])

    load(source, [{"id": 1, "n": "1"}])

    assert outdated_days(run.store, [source]) == []


def test_a_build_refuses_to_mix(load, run, mocker):
    load(contract(*BASE), [{"id": 1, "n": 1, "m": 2}], validate=True)
    found = mocker.Mock(sources={"demo": contract(ID, N)})
    mocker.patch("scripts.contracts.catalog.read_all", return_value=found)

    with pytest.raises(
        BronzeError, match=r"demo/items: 2024-01-01 loaded with another contract: column `m` is gone"
    ) as error:
        check_contracts(run.store, Project("digest", {}, {}), BuildPlan(), State())
    assert "backfill --outdated" in error.value.hint
    assert "pipeline build --full-refresh" in error.value.hint


@pytest.mark.parametrize(
    ("built", "strategy", "is_refused"),
    [
        ({"id": "integer", "n": "integer", "m": "integer"}, "latest_wins", True),
        ({"id": "integer", "n": "string", "m": "integer"}, "latest_wins", False),
        ({"id": "integer", "n": "integer", "m": "integer"}, "", False),
        # an earlier version of the pipeline built the table
        ({}, "latest_wins", True),
    ],
)
def test_a_build_adds_no_wider_rows_to_a_table_of_the_old_type(built, strategy, is_refused, load, run, mocker):
    load(contract(*BASE), [{"id": 1, "n": 1, "m": 2}], validate=True)
    source = contract(ID, TEXT, M)
    mocker.patch("scripts.contracts.catalog.read_all", return_value=mocker.Mock(sources={"demo": source}))
    node = mocker.Mock(strategy=strategy, resources=[("demo", "items")])
    project = mocker.Mock(nodes={"stg": node})
    known = NodeState("fp", "v1", None, "silver.stg", False, "stg", {}, types={"demo/items": built})
    state = State({"stg": known}, types={"demo/items": {"id": "integer", "n": "string", "m": "integer"}})
    plan = BuildPlan((NodePlan("stg", "stg", "full", ""),))

    if is_refused:
        with pytest.raises(BronzeError, match="column `n` was integer and is string") as error:
            check_contracts(run.store, project, plan, state)
        assert "`pipeline build --full-refresh`" in error.value.hint
        assert "backfill --outdated" in error.value.hint
    else:
        check_contracts(run.store, project, plan, state)
    # a full refresh begins with a file without tables
    check_contracts(run.store, project, plan, State(types=state.types))


@pytest.mark.parametrize(("after", "state"), [([ID, N, M | {"description": "other"}], "loaded"), ([ID, N], "outdated")])
def test_a_backfill_loads_only_days_of_which_it_would_make_other_rows(after, state, load, run, mocker):
    entry = load(contract(*BASE), [{"id": 1}], validate=True)
    mocker.patch("scripts.contracts.catalog.read_all", return_value=Catalog({"demo": contract(*after)}, {}))

    assert [item.state for item in plan_request(run.store, [entry.partition])] == [state]


def test_a_plan_of_a_build_says_which_days_are_of_another_contract(load, run, capsys):
    load(contract(*BASE), [{"id": 1}], validate=True)

    show_build_plan(BuildPlan(), outdated_days(run.store, [contract(ID, N)]), as_json=False)

    assert "demo/items: 2024-01-01 loaded with another contract: column `m` is gone" in capsys.readouterr().out


def test_validation_keeps_a_column_that_the_contract_does_not_have_any_more(load, run):
    load(contract(*BASE), [{"id": 1, "n": -1, "m": 7}, {"id": 2, "n": 1, "m": 8}])

    entry = validate_partition(contract(ID, N, rules=[NEGATIVE]), "items", DAY, run)

    assert pq.read_table(run.store.root / entry.path)["m"].to_pylist() == [8]
    (row,) = run.store.quarantined(entry)
    assert json.loads(row.raw) == {"id": 1, "n": -1, "m": 7}


@pytest.mark.parametrize("after", [TEXT, {"name": "n", "field": "x", "type": "integer", "description": "d"}])
def test_validation_of_a_column_that_was_another_one_is_refused(after, load, run):
    before, now = (
        (contract(ID, TEXT), contract(ID, N, rules=[NEGATIVE]))
        if after is TEXT
        else (
            contract(*BASE),
            contract(ID, after, rules=[NEGATIVE]),
        )
    )
    entry = load(before, [{"id": 1}])

    with pytest.raises(BronzeError, match=r"loaded with another contract.*backfill --outdated"):
        validate_partition(now, "items", DAY, run)
    assert run.store.entry(entry.partition) == entry


def test_a_rule_about_a_new_column_passes_days_without_it(load, run):
    load(contract(*BASE), [{"id": 1, "n": 1}])
    new = {"name": "k", "type": "string", "description": "d"}
    rule = {"name": "k_given", "severity": "fail", "column": "k", "not_null": True}

    entry = validate_partition(contract(*BASE, new, rules=[rule]), "items", DAY, run)

    assert (entry.status, pq.read_schema(run.store.root / entry.path).names) == (
        "validated",
        ["id", "n", "m", "_extra", "_row"],
    )


def test_replay_with_renamed_columns_is_refused_and_loses_nothing(load, run):
    text = {"name": "n", "type": "string", "description": "d"}
    number = {"name": "k", "type": "integer", "description": "d"}
    before = load(contract(ID, text, number), [{"id": 1, "n": "x", "k": 7}, {"id": 2, "n": "y", "k": "bad"}])
    content = (run.store.root / before.path).read_bytes()
    now = contract(ID, text | {"name": "nn", "field": "n"}, number | {"type": "string"})

    with pytest.raises(BronzeError, match=r"loaded with another contract.*backfill --outdated"):
        replay_partition(now, before.partition, run)

    assert (run.store.entry(before.partition), (run.store.root / before.path).read_bytes()) == (before, content)


def test_replay_after_a_corrected_policy_keeps_the_columns_of_the_day(load, run):
    before = load(contract(*BASE), [{"id": 1, "n": "bad", "m": 1, "k": "x"}, {"id": 2, "n": 2, "k": "y"}])
    new = {"name": "k", "type": "string", "description": "d"}

    replayed = replay_partition(contract(*BASE, new, on_mistyped="evolve"), before.partition, run)

    assert (replayed.admitted, replayed.remaining) == (1, 0)
    entry = run.store.entry(before.partition)
    rows = pq.read_table(run.store.root / entry.path).to_pylist()
    assert [(row["id"], row["n"], row["m"]) for row in rows] == [(1, None, 1), (2, 2, None)]
    assert [json.loads(row["_extra"])["k"] for row in rows] == ["x", "y"]


def test_replay_reads_values_as_loading_does(load, run):
    """What was set aside for its writing, its place or a neighbour passes once the contract knows better."""
    at = {"name": "at", "type": "timestamp", "description": "d"}
    mail = {"name": "mail", "type": "string", "field": "person.mail", "description": "d"}
    sent = [{"id": 1, "at": 1704067200, "person": {"mail": "a@b.c"}}, {"id": 2, "at": "2024-01-01T00:00:00Z"}]
    before = load(contract(ID, at, mail, admit="none"), sent)
    assert before.quarantined == 1

    corrected = contract(ID, at | {"format": "epoch"}, mail)
    replayed = replay_partition(corrected, before.partition, run)
    rows = pq.read_table(run.store.root / run.store.entry(before.partition).path).to_pylist()
    loaded = load(corrected, [sent[0], sent[1] | {"at": 1704067200}])

    assert (replayed.admitted, replayed.remaining) == (1, 0)
    assert [(row["at"].isoformat(), row["mail"], row["_extra"]) for row in rows] == [
        ("2024-01-01T00:00:00+00:00", "a@b.c", None),
        ("2024-01-01T00:00:00+00:00", None, None),
    ]
    assert rows == pq.read_table(run.store.root / loaded.path).to_pylist()


def test_replay_reads_a_row_that_a_rule_moved_as_the_row_that_it_was(load, run):
    price = {"name": "n", "type": "decimal(9, 3)", "thousands": ".", "decimal_mark": ",", "description": "d"}
    source = contract(ID, price, rules=[NEGATIVE | {"range": {"min": 5}}])
    before = load(source, [{"id": 1, "n": "1,234"}, {"id": 2, "n": "7,5"}], validate=True)
    assert (before.bronze, before.quarantined) == (1, 1)

    replay_partition(contract(ID, price), before.partition, run)

    rows = pq.read_table(run.store.root / run.store.entry(before.partition).path).to_pylist()
    assert [str(row["n"]) for row in rows] == ["1.234", "7.500"]


def test_replay_of_a_resource_that_is_gone_is_named(load, run):
    entry = load(contract(*BASE), [{"id": 1}, {"id": None}])
    document = contract(*BASE).model_dump(mode="json", exclude_defaults=True)
    document["resources"] = {"others": document["resources"]["items"]}
    other = Source.model_validate(document | {"default_resource": "others"})

    with pytest.raises(UsageError, match="resource `items` is not part of source `demo`") as error:
        replay_partition(other, entry.partition, run)
    assert isinstance(error.value, PipelineError)
