"""`pipeline explain` on a project of its own: where rows come from, and why a row is not there."""

import datetime as dt
import json
import sys

import duckdb
import pytest
from click.testing import CliRunner

from scripts import config
from scripts.bronze.ledger import Partition
from scripts.bronze.run import Run
from scripts.cli.main import cli
from scripts.contracts import catalog
from scripts.errors import UsageError, WarehouseError
from scripts.explain.columns import explain_column
from scripts.explain.explain import explain
from scripts.explain.explanation import plain
from scripts.explain.page import page_of, page_of_column
from scripts.security.outside_text import HIDDEN
from scripts.warehouse.build import warehouse
from tests.support import explained_shop
from tests.support.explained_shop import HUGE, ORDERS, QUOTES, load_days, open_shop, publish

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
FOURTH = dt.date(2024, 1, 4)
KEY = "a key of the tests, and of nothing else"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A published version of four days, one of which was loaded again; the fifth day is not published."""
    folder = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch, open_shop(folder, patch):
        patch.setenv("DATA_DIR", str(folder / "data"))
        patch.setenv("PSEUDONYM_KEY", KEY)
        patch.setitem(config.Settings.model_config, "env_file", None)
        config.settings.cache_clear()
        load_days(1, 2, 3)
        publish()
        load_days(4)
        # the second day no longer has the order 8
        patch.setitem(explained_shop.ORDERS, 2, [row for row in ORDERS[2] if row[0] != 8])
        patch.setitem(explained_shop.ORDERS, 1, [row for row in ORDERS[1] if row[0] != 8])
        load_days(1, 2, resources=["orders"])
        publish()
        load_days(5)
        catalog.forget()
        yield folder
    catalog.forget()
    config.settings.cache_clear()


@pytest.fixture(autouse=True)
def shop(world, env):
    """The settings of the shop for this test."""
    env("DATA_DIR", world / "data")
    env("PSEUDONYM_KEY", KEY)


def bronze_of(answer):
    """Return the rows of Bronze below the only row of an answer, by resource."""
    (row,) = answer.found.rows
    found = {}
    waiting = [row]
    for item in waiting:
        found |= {origin.resource: origin for origin in item.bronze}
        waiting += [below for rows in item.origins for below in rows.rows]
    return found


def reasons(answer):
    return [finding.what for finding in answer.absent]


def test_a_row_shows_the_rows_below_it_and_what_changed_from_day_to_day():
    answer = explain("fct_orders", ["1"])
    origin = bronze_of(answer)["shop.orders"]

    assert answer.found.rows[0].values | {"first_seen_date": None} == {
        "order_id": "1",
        "buyer": "bo",
        "amount": 11.0,
        "twice": 22.0,
        "first_seen_date": None,
    }
    assert [(rows.table, rows.condition, rows.count) for rows in answer.found.rows[0].origins] == [
        ("silver.stg_shop__orders", {"order_id": "1"}, 1)
    ]
    assert [
        (str(item.first), str(item.last), item.days, item.changed, item.state, item.wins) for item in origin.stretches
    ] == [
        ("2024-01-01", "2024-01-01", 1, {}, "published", False),
        ("2024-01-02", "2024-01-03", 2, {"amount": ("10.0", "11.0")}, "published", False),
        ("2024-01-04", "2024-01-04", 1, {"buyer": (QUOTES, "bo")}, "published", True),
        ("2024-01-05", "2024-01-05", 1, {"amount": ("11.0", "12.0")}, "not published", False),
    ]
    page = page_of(answer)
    assert "amount: 10.0 → 11.0" in page
    assert "2024-01-02 to 2024-01-03  position 0, the same on 2 days" in page
    assert "2024-01-05  position 0, not published" in page
    assert max(map(len, page.splitlines())) <= 100


def test_the_load_of_a_row_is_the_ledger_record_without_secrets():
    origin = bronze_of(explain("fct_orders", ["1"]))["shop.orders"]
    entry = Run.create().store.entry(Partition("shop", "orders", FOURTH))
    load = origin.loads[-1]

    assert (load.day, load.run_id, load.triggered_by) == (FOURTH, entry.run_id, "test")
    assert (load.fetched, load.bronze, load.quarantined) == (4, 2, 2)
    assert load.contract_version == entry.contract_version
    assert load.page == load.pages == 1
    assert load.address.startswith("GET http://127.0.0.1:")
    assert load.address.endswith("/orders")
    assert [(rule.rule, rule.rows) for rule in load.rules] == [("amount_positive", 2)]
    assert "hush" not in json.dumps(plain(explain("fct_orders", ["1"])))


def test_of_rows_with_one_key_in_a_day_the_last_counts():
    (stretch,) = bronze_of(explain("stg_shop__orders", ["4"]))["shop.orders"].stretches

    assert (stretch.rows, stretch.position) == (2, 4)


def test_a_row_that_is_in_quarantine_since_shows_the_reason():
    origin = bronze_of(explain("fct_orders", ["2"]))["shop.orders"]

    assert [(str(row.day), row.position, row.rule) for row in origin.quarantined] == [
        ("2024-01-03", 1, "amount_positive"),
        ("2024-01-04", 1, "amount_positive"),
    ]
    assert "in quarantine: 2024-01-04 position 1, amount_positive" in page_of(explain("fct_orders", ["2"]))


def test_an_aggregated_row_shows_some_of_its_rows_and_their_number():
    answer = explain("fct_buyers", ["bo"], limit=2)
    (rows,) = answer.found.rows[0].origins
    with duckdb.connect(str(warehouse().path), read_only=True) as connection:
        count = connection.execute("select count(*) from gold.fct_orders where buyer = 'bo'").fetchone()[0]

    assert (rows.table, rows.count, len(rows.rows)) == ("gold.fct_orders", count, 2)
    assert count > 2
    assert f"{count - 2} more: `--rows` shows more" in page_of(answer)
    # of each of several rows, only the day that counts is read
    assert [origin.days_read for row in rows.rows for origin in row.origins[0].rows[0].bronze] == [1, 1]


def test_a_view_without_a_key_is_explained_by_the_lineage_of_its_columns():
    answer = explain("big_orders", where="number = '1'")

    assert answer.found.rows[0].origins[0].how == "by the lineage of its columns"
    assert bronze_of(answer)["shop.orders"].key == {"id": "1"}
    with pytest.raises(UsageError, match="declares no key; expected --where with a condition on number, note"):
        explain("big_orders", ["1"])


def test_a_model_whose_key_tells_no_rows_says_so():
    answer = explain("by_note", where="n > 0", limit=1)

    assert answer.found.rows[0].origins[0].note.startswith("which rows cannot be told")
    assert "which rows cannot be told" in page_of(answer)


def test_a_key_of_several_columns_with_the_day_reads_one_day():
    origin = bronze_of(explain("stg_shop__prices", ["gold", "2024-01-03"]))["shop.prices"]

    assert (origin.key, origin.days_read) == ({"metal": "gold", "dt": "2024-01-03"}, 1)
    assert [str(item.first) for item in origin.stretches] == ["2024-01-03"]


@pytest.mark.parametrize(
    ("table", "key"), [("fct_orders", str(HUGE)), ("stg_shop__orders", str(HUGE)), ("shop.orders", str(HUGE))]
)
def test_a_huge_key_is_found_exactly(table, key):
    assert explain(table, [key]).found.count == 1
    assert explain(table, [str(HUGE - 1)]).found.count == 0


def test_a_key_with_quotes_and_unicode_is_a_value_and_never_sql():
    answer = explain("stg_shop__clients", [QUOTES])

    assert answer.found.count == 1
    assert bronze_of(answer)["shop.clients"].key == {"code": QUOTES}
    assert "\x1b" not in page_of(explain("stg_shop__clients", ["\x1b[31mred\n'"]))


def test_sensitive_values_are_masked_in_rows_and_versions():
    answer = explain("people", ["bo"])
    text = json.dumps(plain(answer), ensure_ascii=False) + page_of(answer)

    values = answer.found.rows[0].values
    assert values["full_name"] == values["shouted"] == values["pseudonym"] == HIDDEN
    # `meta` of a column in dbt's YAML decides
    assert (values["lowered"], values["size"]) == ("bo hidden", HIDDEN)
    assert bronze_of(answer)["shop.clients"].stretches[-1].changed == {"name": (HIDDEN, HIDDEN)}
    assert not [word for word in ("Secret", "Hidden", "SECRET", "@secret") if word in text]


# --- why a row is not there


def test_a_key_that_was_never_sent():
    answer = explain("fct_orders", ["777"])

    assert (
        reasons(answer)[0]
        == "shop.orders never sent id = '777': none of the 5 loaded days (2024-01-01 to 2024-01-05) has it"
    )
    assert any("2024-01-06 to" in text and "is not loaded" in text for text in reasons(answer))
    assert "There is no such row. Why:" in page_of(answer)


def test_a_key_that_has_only_been_in_quarantine():
    answer = explain("fct_orders", ["7"])

    assert "sent it on 2024-01-04 (position 3), and it is in quarantine: amount_positive" in reasons(answer)[0]
    assert "quarantine replay" in answer.absent[0].next
    assert not any("never sent" in text for text in reasons(answer))


def test_a_key_that_its_source_deleted():
    answer = explain("fct_orders", ["3"])

    assert reasons(answer)[0] == (
        "silver.stg_shop__orders has 1 row with order_id = '3', deleted at the source: 2024-01-02 is the first complete"
        " load without it, but the SQL of gold.fct_orders leaves it out (where deleted_date IS NULL)"
    )
    assert bronze_of(answer)["shop.orders"].days_with_key == 1


def test_a_key_that_a_later_version_overwrote():
    answer = explain("fct_buyers", [QUOTES])

    assert any(
        "a later version overwrote it: shop.orders with id = '1' has buyer = 'bo' on 2024-01-04" in text
        for text in reasons(answer)
    )
    assert any("version 000001, built" in text and "has it" in text for text in reasons(answer))


def test_a_key_that_is_loaded_and_not_published():
    answer = explain("fct_orders", ["50"])

    assert (
        "has id = '50' on 2024-01-05, which the published version does not have (not published)" in reasons(answer)[0]
    )
    assert answer.absent[0].next == "`pipeline build` publishes it"


def test_a_key_of_a_day_that_broke_a_rule():
    answer = explain("stg_shop__clients", ["zoe"])

    assert "on 2024-01-04, which the published version does not have (rule broken)" in reasons(answer)[0]


def test_a_key_whose_days_were_loaded_again_without_it():
    answer = explain("stg_shop__orders", ["8"])
    (text,) = [text for text in reasons(answer) if text.startswith("version 000001")]

    assert "its last day was 2024-01-02, which was loaded again at" in text


def test_a_row_that_sql_leaves_out_says_at_which_table():
    assert reasons(explain("paid", ["4"]))[0] == (
        "gold.fct_orders has 1 row with order_id = '4', but the SQL of gold.paid leaves it out (where amount > 5)"
    )
    assert explain("paid", ["4"]).absent[0].next == "read models/marts/paid.sql"


def test_a_key_of_an_aggregated_table_that_was_never_sent():
    assert reasons(explain("fct_buyers", ["nobody"]))[0].startswith("shop.orders never sent buyer = 'nobody'")


def test_a_resource_of_bronze_is_explained_too():
    assert bronze_of(explain("shop.orders", ["1"]))["shop.orders"].days_with_key == 5
    assert "never sent" in reasons(explain("shop.orders", ["777"]))[0]
    assert explain("shop.orders", ["1"]).notes == ["read by silver.stg_shop__orders"]


# --- tests, columns, errors


def test_the_tests_of_the_tables_and_how_they_ended():
    outcomes = {(test.table, test.name.partition("_")[0]): test.status for test in explain("people", ["bo"]).tests}

    assert outcomes["gold.people", "unique"] == "pass"
    assert outcomes["gold.people", "accepted"] == "warn"
    assert "silver.stg_shop__clients" in {table for table, _ in outcomes}
    assert "warn: accepted_values_people" in page_of(explain("people", ["bo"]))


def test_a_column_leads_to_the_fields_of_the_contract():
    page = page_of_column(explain_column("fct_buyers.total"))

    assert page.startswith("gold.fct_buyers.total  double\n")
    assert "total = CAST(sum(amount) AS DOUBLE)" in page
    assert "field `amount` of the source, type number, may be null" in page
    assert "where deleted_date IS NULL" not in page
    buyer = plain(explain_column("gold.fct_orders.buyer").column)
    (staging,) = buyer["inputs"]
    assert staging["inputs"][0]["field"] == {
        "source": "shop",
        "resource": "orders",
        "path": "buyer.code",
        "type": "string",
        "nullable": True,
        "sensitive": False,
    }


def test_a_column_of_personal_data_says_so():
    assert "SENSITIVE (masked)" in page_of_column(explain_column("people.shouted"))
    assert "SENSITIVE (Silver has keyed hashes)" in page_of_column(explain_column("people.pseudonym"))
    assert "SENSITIVE" not in page_of_column(explain_column("people.code"))
    assert "the first day whose load held the row" in page_of_column(explain_column("fct_orders.first_seen_date"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "fct_order", "key": ["1"]}, "no table `fct_order`; expected one of gold.fct_orders"),
        ({"name": "fct_orders"}, "needs either the values of the key or --where"),
        ({"name": "fct_orders", "key": ["1"], "where": "true"}, "needs either"),
        ({"name": "fct_orders", "key": ["1", "2"]}, "2 values for the key of gold.fct_orders; expected 1: order_id"),
        (
            {"name": "stg_shop__prices", "key": ["gold", "soon"]},
            "'soon' is not a value of the column `price_date`|`loaded_date`",
        ),
        (
            {"name": "shop.orders", "key": ["x"]},
            "'x' is not a value of the column `id`; expected a value of type bigint",
        ),
        ({"name": "shop.orders", "key": [str(2**70)]}, "is not a value of the column `id`"),
        ({"name": "shop.orders", "where": "true"}, "--where needs a table of Silver or Gold"),
        ({"name": "fct_orders", "where": "nothing = 1"}, 'Referenced column "nothing" not found'),
        ({"name": "fct_orders", "where": ""}, "--where"),
        ({"name": "fct_orders", "where": "true) union all (select * from gold.fct_orders"}, "syntax error"),
        ({"name": "fct_orders", "where": "true; create table x (a int)"}, "more than one statement|syntax error"),
        ({"name": "fct_orders", "where": "exists (from read_text('/etc/hostname'))"}, "Cannot access file|disabled"),
        ({"name": "fct_orders", "where": "exists (from 'https://example.com/x.csv')"}, "Permission|disabled|exist"),
    ],
)
def test_a_wrong_request_is_one_line_for_the_reader(arguments, message):
    with pytest.raises(UsageError, match=message) as caught:
        explain(**arguments)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("total", "names no table"),
        ("fct_buyers.totl", "has no column `totl`; expected one of total"),
        ("nothing.total", "no table `nothing`"),
    ],
)
def test_a_wrong_column_is_one_line_for_the_reader(column, message):
    with pytest.raises(UsageError, match=message):
        explain_column(column)


def test_the_command_prints_a_page_or_one_document():
    page = CliRunner().invoke(cli, ["explain", "stg_shop__orders", "--", "-5"])
    document = CliRunner().invoke(cli, ["explain", "fct_buyers", "bo", "--json"])

    assert page.output.startswith("silver.stg_shop__orders where order_id = -5\n")
    found = json.loads(document.output)["found"]["rows"][0]
    assert found["values"]["buyer"] == "bo"
    assert found["origins"][0]["rows"][0]["origins"][0]["rows"][0]["bronze"][0]["loads"][0]["run_id"]
    column = json.loads(CliRunner().invoke(cli, ["explain", "--column", "fct_buyers.total", "--json"]).output)
    assert column["column"]["inputs"][0]["column"] == "amount"


def test_a_version_is_explained_by_its_own_project(world):
    """An earlier release kept no manifest: then the project as dbt read it last is used, and the answer says so."""
    kept = warehouse().builds / warehouse().current() / "manifest.json"
    content = kept.read_bytes()
    assert explain("paid", ["1"]).notes == []
    try:
        kept.unlink()
        (note,) = explain("paid", ["1"]).notes
        version = warehouse().current()
        assert (
            note == f"version {version} was published by an earlier release: the project is shown as dbt read it last"
        )
        kept.write_bytes(b'{"nodes": {}, "sources": {}}')
        with pytest.raises(WarehouseError, match="does not tell which project it was made from"):
            explain("paid", ["1"])
    finally:
        kept.write_bytes(content)


def test_without_its_contract_all_values_are_masked(monkeypatch, tmp_path):
    monkeypatch.setattr(catalog, "SOURCES_DIR", tmp_path)
    answer = explain("people", ["bo"])

    assert {value for name, value in answer.found.rows[0].values.items() if name != "lowered"} == {HIDDEN}
    assert "the contract of shop.clients cannot be read, so all its values are masked" in answer.notes


def test_without_a_published_version_it_says_what_to_do(env, tmp_path):
    env("DATA_DIR", tmp_path / "nothing")

    with pytest.raises(WarehouseError, match="there is no warehouse yet"):
        explain("fct_orders", ["1"])


def test_a_condition_with_null_and_with_a_comment_works():
    assert explain("stg_shop__orders", where="note is null -- nothing else").found.count == 1
    assert explain("stg_shop__orders", where="note = 'nothing'").notes[0].startswith("no row meets the condition")


def test_it_imports_nothing_slow(start, world):
    code = (
        "import sys; sys.argv = ['pipeline', 'explain', 'nothing', '1']\n"
        "from scripts.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'pandas', 'pyarrow', 'dbt', 'sqlglot', 'rich', 'requests', 'numpy'} & set(sys.modules)))"
    )
    done = start(program=(sys.executable, "-c", code))

    assert done.stdout == "[]\n", done.stderr


def test_for_every_key_the_answer_agrees_with_the_tables():
    """A row is shown if and only if the table has it; otherwise, Bronze and quarantine agree with the reason."""
    with duckdb.connect(str(warehouse().path), read_only=True) as connection:
        tables = {
            table: {str(row[0]) for row in connection.execute(f"select {key} from {table}").fetchall()}
            for table, key in (
                ("gold.fct_orders", "order_id"),
                ("silver.stg_shop__orders", "order_id"),
                ("gold.fct_buyers", "buyer"),
            )
        }
        last = dict(connection.execute("select order_id, last_seen_date from silver.stg_shop__orders").fetchall())
    sent = {str(row[0]) for rows in ORDERS.values() for row in rows}
    for key in sorted(sent | {"777", "0"}):
        for table in ("gold.fct_orders", "silver.stg_shop__orders"):
            answer = explain(table, [key])
            assert answer.found.count == (key in tables[table]), (table, key)
            assert bool(answer.absent) == (key not in tables[table]), (table, key)
            assert any("never sent" in text for text in reasons(answer)) == (
                key not in sent or (key == "8" and key not in tables[table])
            ), (table, key)
        if key in last:
            (winner,) = [
                item for item in bronze_of(explain("stg_shop__orders", [key]))["shop.orders"].stretches if item.wins
            ]
            assert winner.last == last[key]
    for buyer in (QUOTES, "bo", "eve", "nobody"):
        assert explain("fct_buyers", [buyer]).found.count == (buyer in tables["gold.fct_buyers"])
