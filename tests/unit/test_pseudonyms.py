"""Columns that Silver has as keyed hashes, or not at all."""

import hashlib
import hmac
from types import SimpleNamespace

import duckdb
import pytest
import yaml
from pydantic import ValidationError

from scripts.contracts import catalog, source_yaml
from scripts.contracts.source import Source
from scripts.contracts.staging_model import staging_sql
from scripts.errors import SettingsError
from scripts.warehouse import pseudonyms
from tests.support.macros import render

KEY = "0123456789abcdef" * 4


class RefusedError(Exception):
    """How dbt's `raise_compiler_error` ends a macro."""


def written(connection, rows, **meta):
    """Return the rows as the macro gives them to a model."""

    def refuse(message):
        raise RefusedError(message)

    def ask(query):
        values = [row[0] for row in connection.execute(query).fetchall()]
        return SimpleNamespace(columns=[SimpleNamespace(values=lambda: values)])

    known = {
        "bronze_meta": lambda *_: meta,
        "quoted_columns": lambda columns: [f'"{column}"' for column in columns],
        "run_query": ask,
        "exceptions": {"raise_compiler_error": refuse},
    }
    return render("sensitive_columns.sql", "without_sensitive_values", "s", "r", rows, known=known)


@pytest.fixture
def rows():
    """A connection with rows as Bronze has them."""
    with duckdb.connect() as connection:
        connection.execute(
            "create table rows as select * from (values (1, 'zoë@example.com', 7, 'x', '{}'),"
            " (2, null, 8, 'y', null)) as t(id, email, code, phone, _extra)"
        )
        yield connection


@pytest.mark.parametrize("key", [KEY, "k" * 32, "long" * 30])
def test_hashed_columns_are_hmacs_and_dropped_ones_are_gone(rows, key):
    pseudonyms.hand_over_key(rows, key)
    query = written(rows, "rows", hashed=["email", "code"], dropped=["phone"])
    found = rows.execute(f"select * from {query} order by id").fetchall()
    assert [column[0] for column in rows.description] == ["id", "email", "code", "_extra"]

    def expected(text):
        return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()

    assert found == [(1, expected("zoë@example.com"), expected("7"), None), (2, None, expected("8"), None)]
    assert key not in query


def test_without_a_key_nothing_is_read(rows):
    with pytest.raises(RefusedError, match=r"no key for the hashes of s\.r: set PSEUDONYM_KEY"):
        written(rows, "rows", hashed=["email"])


def test_other_resources_are_read_as_they_are(rows):
    assert written(rows, "rows", primary_key=["id"]).strip() == "rows"


@pytest.fixture
def people():
    """The document of the default source; a test says what is sensitive in it."""
    return catalog.pick("jsonplaceholder").model_dump(mode="json", exclude_defaults=True)


def mark(document, **treatments):
    for column in document["resources"]["users"]["columns"]:
        if column["name"] in treatments:
            column["sensitive"] = treatments[column["name"]]
    return document


def test_a_build_without_a_key_is_refused_where_a_contract_asks_for_hashes(people, monkeypatch, env):
    source = Source.model_validate(mark(people, email="hash"))
    monkeypatch.setattr(catalog, "read_all", lambda: catalog.Catalog({"people": source}, {}))
    with pytest.raises(SettingsError, match=r"PSEUDONYM_KEY is not set.*`email` of jsonplaceholder\.users"):
        pseudonyms.check_key()
    env("PSEUDONYM_KEY", KEY)
    pseudonyms.check_key()
    env("PSEUDONYM_KEY", "too short")
    with pytest.raises(SettingsError, match="PSEUDONYM_KEY is refused") as caught:
        pseudonyms.check_key()
    assert "too short" not in str(caught.value).replace("at least", "")


def test_one_key_is_told_from_another_without_showing_it(env):
    assert pseudonyms.key_id() == ""
    env("PSEUDONYM_KEY", KEY)
    one = pseudonyms.key_id()
    env("PSEUDONYM_KEY", KEY[::-1])
    assert pseudonyms.key_id() not in {one, ""}


@pytest.mark.parametrize(
    ("treatments", "problem"),
    [
        ({"id": "drop"}, "`id` is part of the primary key and cannot be `sensitive: drop`; use `hash`"),
        ({"email": "maybe"}, "sensitive: Input should be False, True, 'hash' or 'drop'"),
        ({"city": "hash"}, "`address` holds `city`, which is `sensitive: hash`: make `address` `sensitive: drop` too"),
    ],
)
def test_a_contract_that_cannot_keep_its_word_is_refused(people, treatments, problem):
    city = {"name": "city", "type": "string", "description": "City.", "field": "address.city"}
    people["resources"]["users"]["columns"].append(city)
    with pytest.raises(ValidationError) as caught:
        Source.model_validate(mark(people, **treatments))
    text = "; ".join(f"{found['loc'][-1]}: {found['msg']}" for found in caught.value.errors())
    assert problem in text


def test_dbt_is_told_of_them(people, mocker):
    source = Source.model_validate(mark(people, email="hash", id="hash", phone="drop", name=True))
    mocker.patch.object(catalog, "load", return_value={"jsonplaceholder": source})
    mocker.patch.object(source_yaml, "generated_models", return_value={})
    (text,) = source_yaml.source_files().values()
    users = next(table for table in yaml.safe_load(text)["sources"][0]["tables"] if table["name"] == "users")
    columns = {column["name"]: column["data_type"] for column in users["columns"]}
    assert users["config"]["meta"]["hashed"] == ["id", "email"]
    assert users["config"]["meta"]["dropped"] == ["phone"]
    assert columns["id"] == "varchar"
    assert "phone" not in columns

    model = staging_sql("jsonplaceholder", "users", source.resources["users"])
    assert "phone" not in model
    assert "email" in model
    assert "cast(" not in model
