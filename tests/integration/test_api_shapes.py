"""The documented shapes of real APIs, each loaded by a contract alone from a server that answers like it."""

import datetime as dt

import pyarrow.parquet as pq
import pytest

from scripts.contracts.source import Source
from scripts.errors import PipelineError
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from tests.support.answering import answering
from tests.support.more_shapes import SHAPES
from tests.support.shapes import PAGE

DAY = dt.date(2024, 1, 1)
SIZES = {"none": 0, "one": 1, "full_last_page": 2 * PAGE, "short_last_page": 2 * PAGE + 1}


@pytest.fixture
def load(env, run):
    env("DEMO_TOKEN", "secret")
    env("DEMO_CLIENT", "client")

    def load_shape(name, rows, answer=None):
        contract, more, answered = SHAPES[name]
        with answering(lambda ask: (answer or answered)(ask, rows)) as (base, asked):
            text = {"source": "demo", "description": "x", "owner": "me@example.com", "base_url": base, **more}
            if more.get("auth", {}).get("type") == "oauth2":
                text["auth"] = {**more["auth"], "token_url": f"{base}/token"}
            source = Source.model_validate({**text, "default_resource": "items", "resources": {"items": contract}})
            with Client(source) as connection:
                return ingest_partition(source, "items", DAY, run, connection), asked

    return load_shape


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_a_contract_loads_every_row_once(name, size, load, run):
    entry, _ = load(name, SIZES[size])

    table = pq.read_table(run.store.root / entry.path)
    assert (entry.fetched, entry.bronze, entry.quarantined) == (SIZES[size], SIZES[size], 0)
    keys = [tuple(row.values()) for row in table.select(list(SHAPES[name][0]["primary_key"])).to_pylist()]
    assert len(set(keys)) == SIZES[size]
    for column in table.column_names:
        if SIZES[size] > 1 and column != "_extra":
            assert table.column(column).null_count < SIZES[size], f"{column} is always null"


@pytest.mark.parametrize(
    "name", [name for name, (contract, _, _) in SHAPES.items() if "missing_list" not in contract.get("no_rows", {})]
)
def test_an_error_of_the_api_is_an_error(name, load, env):
    """A body that says that the request failed is never an empty day."""
    env("API_RETRIES", 0)

    def denied(ask, rows):
        answered = SHAPES[name][2]
        if ask.path == "/token":
            return answered(ask, rows)
        text = b'{"error": "denied", "status": "REQUEST_DENIED", "ok": false, "errors": [{"message": "denied"}]}'
        return 200, {"Content-Type": "application/json"}, text

    with pytest.raises(PipelineError):
        load(name, 3, denied)
