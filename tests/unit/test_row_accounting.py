"""The query for the rows that a model should have."""

import types

import duckdb
import pytest

from scripts.errors import WarehouseError
from scripts.warehouse.accounting import _expected_rows


def node(sql):
    return types.SimpleNamespace(name="dim_users", path="models/marts/dim_users.sql", expected_rows_sql=sql)


def test_it_gives_a_number_or_says_in_which_model_it_fails():
    with duckdb.connect() as connection:
        assert _expected_rows(connection, node("select 3")) == 3
        assert _expected_rows(connection, node(None)) is None
        for wrong in ("select nothing from range(3)", "select count(* from range(3)", "select count(*) from gone"):
            with pytest.raises(WarehouseError, match="`expected_rows_sql` of model `dim_users` fails") as found:
                _expected_rows(connection, node(wrong))
            assert "models/marts/dim_users.sql" in str(found.value)
