"""Contracts: what a source file may say, and how an error names file, key, what was found and what is valid."""

import copy
import re

import pytest
import yaml

from scripts.contracts import catalog
from scripts.errors import ContractError

GOOD = {
    "source": "shop",
    "description": "A shop.",
    "owner": "team@example.com",
    "base_url": "https://shop.example.com",
    "default_resource": "orders",
    "resources": {
        "orders": {
            "description": "Orders.",
            "path": "/orders",
            "primary_key": ["id"],
            "columns": [
                {"name": "id", "type": "integer", "nullable": False, "description": "Key."},
                {"name": "total", "type": "decimal(12, 2)", "description": "Amount in euro."},
                {"name": "note", "type": "string", "description": "Text."},
            ],
            "rules": [{"name": "total_positive", "severity": "fail", "column": "total", "range": {"min": 0}}],
        }
    },
}


@pytest.fixture
def read(tmp_path):
    def read_document(document):
        path = tmp_path / "shop.yml"
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
        return catalog.read(path)

    return read_document


def changed(path, value):
    document = copy.deepcopy(GOOD)
    *parents, last = path
    place = document
    for key in parents:
        place = place[key]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return document


ORDERS = ("resources", "orders")
NOTE = {"name": "note", "type": "string", "description": "Text."}
RULE = (*ORDERS, "rules", 0)


def test_a_small_contract_is_enough(read):
    assert read(GOOD).resources["orders"].load.mode == "snapshot"


def test_every_shipped_contract_is_valid():
    assert set(catalog.load()) >= {"coin_prices", "jsonplaceholder"}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("owner",), KeyError, ["owner: missing"]),
        (("base_ulr",), "x", ["unknown key `base_ulr`", "valid are source, description"]),
        (("base_url",), "shop", ["base_url: found 'shop'", "valid URL"]),
        (("base_url",), "https://me:secret@shop.example.com", ["base_url", "credentials"]),
        (("default_resource",), "order", ["default_resource `order` is not one of orders"]),
        (("source",), "store", ["source: found `store`", "`shop`"]),
        (("auth",), {"type": "bearer", "token": "abc"}, ["unknown key `token`", "token_env"]),
        (("auth",), {"type": "oauth9"}, ["'oauth9'", "'bearer'"]),
        (("auth",), {"type": "bearer", "token_env": "my token"}, ["auth.bearer.token_env: found 'my token'"]),
        (("rate_limit",), {"requests_per_second": 0}, ["rate_limit.requests_per_second: found 0", "greater than 0"]),
        ((*ORDERS, "path"), "orders", ["resources.orders.path: found 'orders'"]),
        ((*ORDERS, "columns"), [], ["resources.orders.columns"]),
        ((*ORDERS, "columns", 1, "type"), "money", ["resources.orders.columns.1.type: found 'money'", "integer"]),
        ((*ORDERS, "columns", 1, "type"), "decimal(40, 2)", ["precision up to 38"]),
        ((*ORDERS, "columns", 2, "name"), "ID", ["column `ID` is declared twice"]),
        ((*ORDERS, "columns", 2, "name"), "dt", ["column name `dt` is reserved", "`field`"]),
        ((*ORDERS, "columns", 2, "field"), "total", ["field `total` is read into two columns"]),
        ((*ORDERS, "primary_key"), ["key"], ["primary_key names column `key`", "declared are id, total, note"]),
        ((*ORDERS, "on_unknown"), "ignore", ["found 'ignore'", "'evolve', 'discard', 'quarantine' or 'fail'"]),
        ((*ORDERS, "pagination"), {"type": "scroll"}, ["'scroll'", "'page', 'offset', 'link', 'cursor'"]),
        ((*ORDERS, "pagination"), {"type": "page"}, ["pagination.page.stop: missing"]),
        ((*ORDERS, "pagination"), {"type": "page", "stop": "total"}, ["`stop: total` needs `total`"]),
        ((*ORDERS, "path"), "/v1/%7Bday%7D/orders", ["escaped brace", "`{day}`"]),
        (
            (*ORDERS, "path"),
            "/v1/{date}/orders",
            ["`{date}` is not a known template", "valid are day, end, next_day, start"],
        ),
        ((*ORDERS, "params"), {"at": "{day:YYYYMMDD}"}, ["`YYYYMMDD`", "no directive of strftime"]),
        ((*ORDERS, "params"), {"{day}": 1}, ["`{day}`: templates are filled in values, not in keys"]),
        ((*ORDERS, "base_url"), "https://shop.example.com/{day}", ["holds more than an address"]),
        (("base_url",), "https://shop.example.com/v1?key=1", ["holds more than an address"]),
        ((*ORDERS, "load"), {"mode": "incremental", "start_param": "x", "format": "%B"}, ["writes two moments as"]),
        (
            (*ORDERS, "load"),
            {"mode": "incremental", "start_param": "x", "format": "%Y-%m-%d", "window": {"hours": 6}},
            ["`%Y-%m-%d` writes two moments as", "6:00:00 apart"],
        ),
        (
            (*ORDERS, "load"),
            {"mode": "incremental", "start_param": "x", "format": "%Y-%m-%dT%H:%M", "window": {"halve_at": 9}},
            ["0:00:01 apart"],
        ),
        ((*ORDERS, "load"), {"mode": "incremental", "start_param": "x", "format": "YYYY-MM-DD"}, ["`%Y-%m-%d`"]),
        ((*ORDERS, "load"), {"mode": "incremental"}, ["needs `start_param`, or a template such as `{day}`"]),
        ((*ORDERS, "columns", 1, "field"), "$.a[*]", ["leads to more than one value"]),
        ((*ORDERS, "columns", 1, "field"), "a[0]", ["a JSONPath that starts with `$`"]),
        ((*ORDERS, "columns", 1, "field"), "$", ["leads to the whole record"]),
        ((*ORDERS, "columns", 1, "field"), 'a"b', ["a key with a quotation mark"]),
        ((*ORDERS, "columns", 1, "field"), "a\\b", ["a backslash"]),
        ((*ORDERS, "columns", 1, "was"), "o'brien", ['columns.1.was: found "o\'brien"']),
        ((*ORDERS, "columns", 1, "was"), "dt", ["was `dt`, which is not a valid name of a column"]),
        ((*ORDERS, "columns", 1, "thousands"), "1", ["thousands: found '1'"]),
        ((*ORDERS, "columns", 1, "decimal_mark"), "-", ["decimal_mark: found '-'"]),
        ((*ORDERS, "primary_key"), ["id", "id"], ["primary_key names a column twice"]),
        ((*ORDERS, "columns", 0, "type"), "json", ["primary_key: column `id` is json"]),
        ((*ORDERS, "columns", 2, "format"), "epoch", ["`epoch` does not go with string"]),
        ((*ORDERS, "response"), {"shape": "envelope", "data_path": "$.a["}, ["not a JSONPath of RFC 9535"]),
        ((*ORDERS, "body"), {"a": 1}, ["`body` and `form` go with `method: POST`"]),
        ((*ORDERS, "python"), "scripts/x.py:f", ["exactly one of path, python, singer, dlt"]),
        ((*ORDERS, "for_each"), {"resource": "shops", "take": {"shop": "id"}}, ["`shops` is not one of none"]),
        (("auth",), {"type": "oauth2", "token_url": "http://x.example.com/t", "client_id_env": "A"}, ["https"]),
        ((*ORDERS, "pagination"), {"type": "page", "stop": "has_more_false"}, ["`has_more_path` goes with"]),
        (
            (*ORDERS, "pagination"),
            {"type": "page", "stop": "short_page", "send_in": "template"},
            ["`send_in: template` needs `{page}` in path"],
        ),
        ((*ORDERS, "pagination"), {"type": "link", "next_path": "$.a[*].b"}, ["or a filter"]),
        ((*ORDERS, "load"), {"mode": "watermark"}, ["needs `start_param`, or the template `{since}`"]),
        ((*ORDERS, "params"), {"at": "{since}"}, ["`{since}` is not a known template"]),
        ((*ORDERS, "response"), {"shape": "array", "delimiter": ";"}, ["`delimiter` goes with `format: csv`"]),
        ((*ORDERS, "response"), {"shape": "envelope", "data_path": "a", "format": "csv"}, ["'json' or 'xml'"]),
        ((*ORDERS, "deletes"), "guess", ["'detect'"]),
        ((*ORDERS, "deletes"), {"column": "gone"}, ["deletes names column `gone`, which is not declared"]),
        ((*ORDERS, "deletes"), {"column": "note"}, ["`note` is string: give the `values` that mean deleted"]),
        ((*ORDERS, "deletes"), {"column": "note", "values": [1]}, ["1 is not a value of `note`, which is string"]),
        ((*ORDERS, "deletes"), {"column": "total"}, ["`total` is decimal(12, 2); valid are boolean, string"]),
        ((*ORDERS, "deletes"), {"column": "note", "values": ["{{ x }}"]}, ["holds a brace"]),
        ((*ORDERS, "total"), {"header": "X", "path": "y"}, ["give `header` or `path`"]),
        ((*RULE, "severity"), "panic", ["found 'panic'", "'fail', 'quarantine' or 'warn'"]),
        ((*RULE, "column"), "sum", ["rule `total_positive` names column `sum`"]),
        ((*RULE, "column"), "note", ["`range` is for numbers", "`note` is string"]),
        ((*RULE, "range"), {"min": 5, "max": 1}, ["`min` 5 is above `max` 1"]),
        ((*RULE, "range"), {}, ["give `min`, `max` or both"]),
        ((*RULE, "not_null"), True, ["give exactly one of", "not_null", "range"]),
        (
            (*ORDERS, "rules", 0),
            {"name": "p", "severity": "warn", "column": "note", "pattern": "("},
            ["not a regular expression"],
        ),
        ((*ORDERS, "rules", 0), {"name": "n", "severity": "quarantine", "row_count": {"min": 1}}, ["`fail` or `warn`"]),
        ((*ORDERS, "freshness"), {"warn_after_hours": 9, "error_after_hours": 1}, ["`warn_after_hours` is above"]),
    ],
)
def test_an_error_names_the_file_the_key_and_what_is_valid(read, path, value, words):
    with pytest.raises(ContractError) as caught:
        read(changed(path, value))

    message = str(caught.value)
    assert "shop.yml" in message
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            {"load": {"mode": "watermark", "start_param": "since"}},
            "`load: {mode: watermark}` does not load all rows",
        ),
        ({"primary_key": ["id", "dt"]}, "with `dt` in the primary key each row is in one load only"),
        ({"for_each": {"values": {"shop": [1]}, "on_error": "skip"}}, "`for_each: {on_error: skip}` leaves rows out"),
        (
            {"pagination": {"type": "link", "max_pages": {"pages": 1, "reason": "a sample"}}},
            "`max_pages` leaves rows out",
        ),
        (
            {"columns": [*GOOD["resources"]["orders"]["columns"], {**NOTE, "name": "Deleted_Date"}]},
            "column name `deleted_date` is reserved by `deletes`",
        ),
    ],
)
def test_deletes_are_not_detected_where_a_load_leaves_rows_out(read, keys, words):
    orders = {**GOOD["resources"]["orders"], "deletes": "detect"}
    assert read({**GOOD, "resources": {"orders": orders}}).resources["orders"].deletes == "detect"

    with pytest.raises(ContractError, match=re.escape(words)):
        read({**GOOD, "resources": {"orders": {**orders, **keys}}})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("source: [shop\n", "not valid YAML"),
        ("source: shop\nsource: shop\n", "key `source` appears twice"),
        ("- a\n- b\n", "holds list at its top level"),
        ("", "holds NoneType at its top level"),
        ("a: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
    ids=["torn", "double_key", "a_list", "empty", "code"],
)
def test_a_file_that_is_no_contract_is_refused(read, text, words):
    with pytest.raises(ContractError, match=words):
        read(text)


def test_every_broken_file_is_named_at_once(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.yml").write_text("owner: x\n")

    with pytest.raises(ContractError) as caught:
        catalog.load(tmp_path)
    assert "one.yml" in str(caught.value)
    assert "two.yml" in str(caught.value)


def test_a_secret_in_a_contract_is_not_repeated(read):
    with pytest.raises(ContractError) as caught:
        read(changed(("base_url",), "https://me:hunter2@shop.example.com"))
    assert "hunter2" not in str(caught.value)


def test_a_changed_copy_of_a_resource_has_a_version_of_its_own(read):
    resource = read(GOOD).resources["orders"]
    before = resource.version
    copied = resource.model_copy(update={"path": "/other"})

    assert copied.version != before == resource.version
    resource.share({"headers": {"X-Other": "y"}})
    assert resource.version != before


def test_the_version_follows_what_decides_about_rows(read):
    first = read(GOOD).resources["orders"].version

    assert read(GOOD).resources["orders"].version == first
    assert read(changed((*RULE, "range"), {"min": 1})).resources["orders"].version != first


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("%-d.%-m.%Y", "'-' is a bad directive"),
        ("%H:%M", "it reads 2024-11-23 13:14 as 1900-01-01 13:14"),
        ("%B", "as 1900-11-01"),
        ("%I:%M %d.%m.%Y", "with `%I` also `%p`"),
        ("%Y %Y", "redefinition"),
        ("%s", "bad directive"),
        ("%Y-%m-%d %H:%M %Z", "`%Z` only reads the machine's own zones"),
        ("soon", "formats of strptime"),
    ],
)
def test_a_format_that_leaves_a_part_of_a_time_to_chance_is_refused(read, form, words):
    column = {"name": "at", "type": "timestamp", "description": "x", "format": form}

    with pytest.raises(ContractError) as caught:
        read(changed((*ORDERS, "columns", 1), column))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "form", ["%d/%m/%y %I:%M:%S %p", "%Y-%m-%dT%H:%M:%S.%f%z", "%G-W%V-%u", "%Y%j", "%b %d, %Y UTC"]
)
def test_a_format_that_says_all_is_valid(read, form):
    column = {"name": "at", "type": "timestamp", "description": "x", "format": form}

    assert read(
        {
            **GOOD,
            "resources": changed((*ORDERS, "columns"), [*GOOD["resources"]["orders"]["columns"], column])["resources"],
        }
    )


def test_a_file_that_cannot_be_read_and_two_files_of_a_source_are_named_and_stop_no_other(tmp_path, monkeypatch):
    for name in ("coin_prices.yml", "jsonplaceholder.yml"):
        (tmp_path / name).write_bytes((catalog.SOURCES_DIR / name).read_bytes())
    (tmp_path / "coin_prices.yaml").write_bytes((tmp_path / "coin_prices.yml").read_bytes())
    (tmp_path / "old.yml").mkdir()
    # what an editor leaves beside a file that is being changed
    (tmp_path / ".#new.yml").symlink_to("nowhere")
    monkeypatch.setattr(catalog, "SOURCES_DIR", tmp_path)

    found = catalog.read_all()

    assert list(found.sources) == ["jsonplaceholder"]
    assert sorted(found.broken) == [".#new", "coin_prices", "old"]
    assert "two files of source `coin_prices`" in str(found.broken["coin_prices"])
    assert "cannot be read" in str(found.broken["old"])
    assert catalog.resource_names()["old"] == []
