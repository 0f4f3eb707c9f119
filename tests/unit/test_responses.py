"""Response shapes, totals and cursors."""

import msgspec
import pytest

from scripts.contracts.source import Resource
from scripts.errors import SourceRejectedError
from scripts.extract.responses import ResponseReader
from scripts.extract.rows import RowReader
from scripts.ingest_api import normalize_response


def resource(**more):
    return Resource.model_validate(
        {
            "description": "x",
            "path": "/x",
            "primary_key": ["id"],
            "columns": [{"name": "id", "type": "integer", "nullable": False, "description": "x"}],
            **more,
        }
    )


def read(body, contract, headers=None):
    return ResponseReader(contract, RowReader(contract)).read(msgspec.json.encode(body), headers or {})


@pytest.mark.parametrize(
    ("payload", "records"),
    [
        ({"bitcoin_usd": 50000}, [{"coin": "bitcoin", "usd": 50000}]),
        ({}, []),
        ({"bitcoin_usd": 1, "bitcoin_eur": 2}, [{"coin": "bitcoin", "usd": 1, "eur": 2}]),
        ({"matic_network_usd": 1}, [{"coin": "matic_network", "usd": 1}]),
        ({"bitcoin": {"usd": 1}}, [{"coin": "bitcoin", "usd": 1}]),
        ({"bitcoin": 5}, [{"coin": "bitcoin", "value": 5}]),
        ({"_usd": 5}, [{"coin": "_usd", "value": 5}]),
    ],
)
def test_a_flat_map_becomes_records(payload, records):
    assert normalize_response(payload) == {"prices": records}


def test_something_else_than_a_map_is_refused():
    with pytest.raises(SourceRejectedError, match="the response is list"):
        normalize_response([1, 2])


def test_an_array_is_its_records():
    assert read([{"id": 1}, {"id": 2}], resource()).page.fetched == 2


def test_an_envelope_holds_its_records_at_a_path():
    contract = resource(response={"shape": "envelope", "data_path": "result.items"}, total={"path": "result.total"})

    answer = read({"result": {"items": [{"id": 1}], "total": 1}}, contract)

    assert (answer.page.fetched, answer.total) == (1, 1)


def test_a_null_list_is_an_empty_one():
    contract = resource(response={"shape": "envelope", "data_path": "items"})

    assert read({"items": None}, contract).page.fetched == 0


@pytest.mark.parametrize(
    ("body", "shape", "words"),
    [
        ({"error": "quota"}, {"shape": "array"}, "an object with the keys error where the records are expected"),
        ({"error": "quota"}, {"shape": "envelope", "data_path": "items"}, "nothing at `items`; its keys are error"),
        ({"items": {"id": 1}}, {"shape": "envelope", "data_path": "items"}, "an object where the records are expected"),
        ([1], {"shape": "flat_map"}, "Expected `object`, got `array`"),
    ],
)
def test_another_shape_is_final_and_says_what_came(body, shape, words):
    with pytest.raises(SourceRejectedError, match=words):
        read(body, resource(response=shape))


def test_a_total_that_is_no_number_is_refused():
    with pytest.raises(SourceRejectedError, match="declares its total as 'many'"):
        read([], resource(total={"header": "X-Total-Count"}), {"X-Total-Count": "many"})


def test_a_total_that_is_not_declared_is_not_known():
    assert read([], resource(total={"header": "X-Total-Count"})).total is None
