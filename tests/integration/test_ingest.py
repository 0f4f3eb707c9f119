"""Ingestion from the sample API over HTTP: files, accounting, faults, drift."""

import dataclasses
import datetime as dt
import itertools
import json
import threading

import pytest

from scripts import ingest_api
from scripts.errors import DataError, SourceRejectedError, SourceUnavailableError
from scripts.extract import client
from scripts.extract.responses import ResponseReader
from scripts.sample_api.server import Fault
from scripts.utils.logging_config import setup_logging
from tests.support.bronze import aside, files_of, schema_of, table_of

pytestmark = pytest.mark.usefixtures("bronze")
DAY = dt.date(2024, 1, 2)


@pytest.fixture
def load(api, run, blog):
    def load_partition(name="posts", day=DAY, source=blog):
        with client.Client(source) as connection:
            return ingest_api.ingest_partition(source, name, day, run, connection)

    return load_partition


def with_resource(source, name, **changes):
    document = source.model_dump(mode="json", exclude_defaults=True)
    document["resources"][name] |= changes
    return type(source).model_validate(document)


def test_a_partition_is_one_file_a_record_and_a_quarantine(load, run):
    entry = load()

    in_folder = "_quarantine/jsonplaceholder/posts/2024-01-02.jsonl"
    assert files_of(run.store) == [
        f"_contracts/jsonplaceholder/posts/{entry.contract_version}.json",
        "_ledger/jsonplaceholder/posts/2024-01-02.json",
        entry.objects.quarantine if entry.objects else in_folder,
        entry.path,
    ]
    assert entry.objects or entry.path == "jsonplaceholder/posts/dt=2024-01-02/part-0.parquet"
    assert (entry.declared, entry.fetched, entry.bronze, entry.quarantined) == (111, 111, 110, 1)


def test_bronze_is_typed_by_the_contract(load, run):
    schema = schema_of(run.store, load())

    assert {field.name: str(field.type) for field in schema} == {
        "id": "int64",
        "userId": "int64",
        "title": "string",
        "body": "string",
        "createdAt": "timestamp[us, tz=UTC]",
        "_extra": "string",
        "_row": "int64",
    }


def test_a_quarantined_row_has_its_raw_json_rule_and_reason(load, run):
    entry = load()

    (row,) = aside(run.store, entry)
    assert (row["rule"], row["stage"], row["day"], row["run_id"]) == ("mistyped", "schema", "2024-01-02", run.run_id)
    assert json.loads(row["raw"])["userId"] == "seven"
    assert row["row"] not in table_of(run.store, entry).column("_row").to_pylist()


def test_a_new_field_is_kept_and_reported(load, run):
    entry = load()

    extras = [extra for extra in table_of(run.store, entry).column("_extra").to_pylist() if extra]
    (drift,) = entry.drift
    assert (drift.kind, drift.field, drift.rows) == ("unknown", "tags", len(extras))
    assert all("tags" in json.loads(extra) for extra in extras)


def test_loading_again_gives_the_same_bytes_and_one_file(load, run):
    first, second = load(), load()

    assert first.content_hash == second.content_hash
    earlier = second.objects.earlier if second.objects else ()
    files = [name for name in files_of(run.store) if name.endswith(".parquet")]
    assert set(files) == {second.path, *(name for one in earlier for name in one.names if name in files)}
    assert len(files) == 1 + len(earlier)


def test_loading_again_replaces_the_quarantine(load, run, blog):
    assert aside(run.store, load())

    entry = load(source=with_resource(blog, "posts", on_mistyped="discard"))

    assert aside(run.store, entry) == []


FAULTS = {
    "429": Fault("status", status=429, retry_after=0),
    "408": Fault("status", status=408),
    "500": Fault("status", status=500),
    "503": Fault("status", status=503, times=2),
    "timeout": Fault("timeout", seconds=60),
    "truncated": Fault("truncated"),
    "html": Fault("html"),
    "disconnect": Fault("disconnect"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_passing_fault_costs_a_retry_and_no_row(name, load, api, env):
    clean = load("comments")
    env("API_TIMEOUT", 0.5)
    api.faults.append(dataclasses.replace(FAULTS[name], path="/comments"))

    entry = load("comments")

    assert entry.retries == FAULTS[name].times
    assert entry.content_hash == clean.content_hash


@pytest.mark.parametrize("name", FAULTS)
def test_a_lasting_fault_is_transient_and_keeps_the_old_partition(name, load, api, env, run):
    before = load("comments")
    files = files_of(run.store)
    env("API_TIMEOUT", 0.2)
    env("API_RETRIES", 1)
    api.faults.append(dataclasses.replace(FAULTS[name], path="/comments", times=1000))

    with pytest.raises(SourceUnavailableError, match="no usable answer"):
        load("comments")

    assert run.store.entry(before.partition) == before
    assert files_of(run.store) == files
    assert not run.store.left_behind()


def test_a_final_answer_fails_at_once(load, api):
    api.faults.append(Fault("status", path="/comments", status=404, times=1000))

    with pytest.raises(SourceRejectedError, match=r"jsonplaceholder/comments/2024-01-02: http://.*/comments: HTTP 404"):
        load("comments")
    assert api.requests_by_path["/comments"] == 1


def test_a_failing_page_does_not_wait_for_those_that_would_retry_for_long(load, api, env):
    env("API_RETRY_WAIT", 30)
    api.faults += [Fault("status", path="/comments", status=404)]
    api.faults += [Fault("status", path="/comments", status=500, times=50)]

    with pytest.raises(SourceRejectedError):
        load("comments")


def test_fewer_rows_than_declared_are_not_loaded(load, api, blog):
    short = with_resource(
        blog,
        "comments",
        pagination={
            "type": "page",
            "page_param": "_page",
            "size_param": "_limit",
            "page_size": 100,
            "stop": "short_page",
        },
        params={"_start": 0},
    )

    with pytest.raises((SourceUnavailableError, SourceRejectedError)):
        load("comments", source=short)


def test_rows_that_move_between_pages_make_it_fetch_again(load, api, mocker):
    real = ResponseReader.read
    answers = []

    def one_too_many(*arguments):
        answer = real(*arguments)
        answers.append(answer)
        return dataclasses.replace(answer, total=answer.total + 1) if len(answers) == 6 else answer

    mocker.patch.object(ResponseReader, "read", one_too_many)

    entry = load("comments")

    assert entry.declared == entry.fetched == 550
    assert len(answers) == 12


def test_a_policy_of_fail_fails_and_loads_nothing(load, run, blog):
    with pytest.raises(DataError, match="field `tags` is not in the contract"):
        load(source=with_resource(blog, "posts", on_unknown="fail"))
    assert list(run.store.entries()) == []


def test_pages_are_fetched_concurrently_over_kept_alive_connections(load, api, monkeypatch):
    connections, met = set(), []
    handler = api.RequestHandlerClass
    real = handler.do_GET
    tickets = itertools.count()
    four = threading.Barrier(4, timeout=200)

    def watch(self):
        connections.add(self.client_address)
        # the first page is fetched alone, since it tells how many there are; the next four wait for each other
        if "_page=1&" not in self.path and next(tickets) < 4:
            met.append(four.wait())
        real(self)

    monkeypatch.setattr(handler, "do_GET", watch)

    entry = load("comments", day=dt.date(2024, 1, 31))

    assert sorted(met) == [0, 1, 2, 3]
    assert entry.pages == 20
    assert len(connections) <= 8


def test_every_log_line_of_a_load_names_run_source_resource_and_day(load, run, capsys, api):
    setup_logging("pipeline")
    api.faults.append(Fault("status", path="/posts", status=500))

    load()

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(lines) >= 3
    for line in lines:
        assert (line["run_id"], line["source"], line["resource"], line["day"]) == (
            run.run_id,
            "jsonplaceholder",
            "posts",
            "2024-01-02",
        )
