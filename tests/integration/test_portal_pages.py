"""The pages of the portal from a small warehouse without dbt: what they show, escape, hide and keep."""

import json

import pytest

from scripts.config import settings
from scripts.portal import pages, tables
from scripts.portal.pages import page_of, refresh_portal, write_portal
from scripts.warehouse import gold_files, history
from scripts.warehouse.build import warehouse
from scripts.warehouse.data_docs import docs_dir
from scripts.warehouse.gold_files import GoldTable
from scripts.warehouse.runner import target_dir
from scripts.warehouse.versions import writing

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
NODE = "model.shop.orders"


def publish(*statements, version="1", description="One row per order.", columns=None):
    """Publish a version with the table `orders`, as a build with dbt does."""
    target = warehouse()
    with target.building(purpose="a test", timeout=0), writing(target.clone()) as connection:
        connection.execute("create schema if not exists gold; create schema if not exists _pipeline")
        for statement in statements:
            connection.execute(statement)
        connection.execute(
            "create or replace table _pipeline.nodes as"
            f""" select '{NODE}' as node, '"gold"."orders"' as relation, '{version}' as data_version"""
        )
        (count,) = connection.execute("select count(*) from gold.orders").fetchone()
        gold_files.write(target, connection, [GoldTable("orders", "gold.orders", version, count)])
    result = {
        "id": "test.shop.unique_id",
        "name": "unique_id",
        "kind": "test",
        "status": "pass",
        "ran_at": "2024-01-02",
    }
    about = {"run_id": "r", "triggered_by": "test", "built_at": "2024-01-02T00:00:00+00:00", "seconds": 1.0}
    (target.workspace / "build.json").write_text(json.dumps(about | {"nodes": [result], "rows": {"orders": count}}))
    test = {"resource_type": "test", "attached_node": NODE, "name": "unique_id", "column_name": "id"}
    node = {"resource_type": "model", "name": "orders", "description": description, "columns": columns or {}}
    node |= {"config": {"unique_key": "id"}, "group": "shop"}
    manifest = {
        "nodes": {NODE: node, "test.shop.unique_id": test | {"depends_on": {"nodes": [NODE]}}},
        "groups": {"group.shop.shop": {"name": "shop", "owner": {"name": HOSTILE, "email": "shop@example.com"}}},
        "exposures": {
            "e": {
                "name": "e",
                "label": HOSTILE,
                "type": "dashboard",
                "url": "javascript:alert(1)",
                "description": HOSTILE,
                "depends_on": {"nodes": [NODE]},
            }
        },
    }
    target_dir(target).mkdir(parents=True, exist_ok=True)
    (target_dir(target) / "manifest.json").write_text(json.dumps(manifest))
    with target.building(purpose="a test", timeout=0):
        target.publish(keep=3)
        history.complete(target)


def shown(name="tables/orders.html"):
    write_portal()
    return (docs_dir() / name).read_text()


def test_text_from_outside_is_text_on_every_page(run):
    rows = f"create table gold.orders as select i as id, '{HOSTILE}' as note from range(3) as r (i)"
    odd = f'create table gold."{HOSTILE}/../x" as select 1 as "{HOSTILE}"'
    publish(rows, odd, description=HOSTILE, columns={"note": {"description": HOSTILE}})

    write_portal()

    found = {path.name: path.read_text() for path in docs_dir().rglob("*.html")}
    assert set(found) == {"index.html", "sql.html", "orders.html", page_of(f"{HOSTILE}/../x")}
    for name, text in found.items():
        scripts = text.count("<script")
        assert (scripts, text.count("</script>")) == {"index.html": (2, 2), "sql.html": (1, 1)}.get(name, (0, 0)), name
        assert "<img" not in text
        assert "javascript:" not in text.replace("javascript:alert(1)&", "")
    assert "&lt;img" in found["orders.html"]


def test_without_a_published_version_there_is_no_portal(run):
    assert write_portal() is None
    assert not (docs_dir() / "index.html").exists()


def test_a_page_tells_what_changed_and_who_owns_it(run):
    publish("create table gold.orders as select i as id, i as amount from range(3) as r (i)")
    assert "There is no earlier version" in shown()
    publish(
        "delete from gold.orders where id = 0; update gold.orders set amount = 9 where id = 1",
        "insert into gold.orders values (7, 7), (8, 8)",
        "alter table gold.orders add column fresh varchar",
        version="2",
    )
    text = shown()

    assert "shop@example.com" in text
    assert "Compared with version 000001, which had 3 rows." in text.replace("\n", " ")
    for name, count in (("added", 2), ("changed", 1), ("removed", 1)):
        assert f"<dt>Rows {name}</dt><dd>{count}</dd>" in text
    assert "<dt>Columns added</dt><dd>fresh</dd>" in text
    assert '<span class="tag good" title="pass">unique id</span>' in text
    assert "(+1)" in shown("index.html")


def test_the_same_data_is_not_read_again_and_the_same_page_is_not_written_again(run, monkeypatch):
    publish("create table gold.orders as select i as id, i % 2 as odd from range(3) as r (i)")
    text, page = shown(), docs_dir() / "tables/orders.html"
    before = page.stat().st_mtime_ns
    monkeypatch.setattr(tables, "profile", lambda *_: pytest.fail("it was read again"))

    assert shown() == text
    assert page.stat().st_mtime_ns == before
    monkeypatch.undo()
    publish("insert into gold.orders values (9, 1)", version="2")
    assert "<dt>Rows</dt><dd>4</dd>" in shown()


def test_a_table_that_is_gone_has_no_page(run):
    publish("create table gold.orders as select 1 as id", "create table gold.old as select 1 as id")
    assert "old" in shown("tables/old.html")
    publish("drop table gold.old", version="2")
    write_portal()

    assert [path.name for path in (docs_dir() / "tables").iterdir()] == ["orders.html"]


def test_meta_of_a_column_hides_its_values_also_after_they_were_shown(run):
    publish("create table gold.orders as select i as id, 'secret' || i % 2 as mail from range(3) as r (i)")
    assert "secret1" in shown()
    publish(version="1", columns={"mail": {"config": {"meta": {"sensitive": True}}}})

    text = shown()
    assert "secret" not in text
    assert "(hidden: sensitive)" in text
    assert "mail" not in shown("sql.html")


def test_a_failure_is_a_warning(run, monkeypatch, caplog):
    publish("create table gold.orders as select 1 as id")
    monkeypatch.setattr(pages, "read_published", lambda *_: 1 / 0)

    refresh_portal()

    assert "the portal could not be written: ZeroDivisionError" in caplog.text


def test_a_table_without_a_file_says_so(run, env):
    env("GOLD_PARQUET_MAX_ROWS", 2)
    publish("create table gold.orders as select i as id from range(3) as r (i)")

    assert settings().gold_parquet_max_rows == 2
    text = shown()
    assert "Download as Parquet" not in text
    assert "it has 3 rows, more than GOLD_PARQUET_MAX_ROWS (2)" in text
