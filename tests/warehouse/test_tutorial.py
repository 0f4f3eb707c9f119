"""The tutorial of docs/adding-a-source.md, done as it stands there, against a server in the shape of its API."""

import duckdb
import pytest

from tests.support.tutorial import CATEGORIES, PRODUCTS, copy_repository, follow_tutorial, product, serving_products

pytestmark = pytest.mark.timeout(3000)


def test_the_tutorial_leads_to_a_gold_table(tmp_path):
    with serving_products() as products:
        shown = follow_tutorial(tmp_path, copy_repository(tmp_path), products)
    assert "beauty" in shown
    with duckdb.connect(str(tmp_path / "data/warehouse.duckdb"), read_only=True) as connection:
        rows = connection.execute("select * from gold.fct_category_stock order by category").fetchall()
    found = [product(number) for number in range(1, PRODUCTS + 1)]
    by_category = {name: [one for one in found if one["category"] == name] for name in sorted(CATEGORIES)}
    assert rows == [
        (name, len(of), sum(one["stock"] for one in of), sum(one["stock"] * one["price"] for one in of))
        for name, of in by_category.items()
    ]
