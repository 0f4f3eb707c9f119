"""A shop whose rows have every fate that `explain` tells: changed, quarantined, deleted, overwritten, not published."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import yaml

from scripts.admin import generated_files, new_source
from scripts.bronze.run import Run
from scripts.contracts import source_yaml
from scripts.loading.partitions import load, partitions
from scripts.utils.days import day_range
from scripts.warehouse.build import build_warehouse
from tests.support.answering import answering
from tests.support.project import empty_project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from scripts.loading.partitions import Outcome
    from tests.support.answering import Ask

HUGE = 9_007_199_254_740_993
QUOTES = 'O\'Neil "Ümläut" \\ 日本; drop table x --'
ORDERS: dict[int, list[list[Any]]] = {
    # id, buyer, amount, note
    1: [[1, QUOTES, 10, "a"], [2, "bo", 20, "b"], [3, "bo", 30, None], [HUGE, "bo", 1, "huge"], [8, "eve", 8, "x"]],
    2: [[1, QUOTES, 11, "a"], [2, "bo", 20, "b"], [HUGE, "bo", 1, "huge"], [8, "eve", 9, "x"], [-5, "bo", 1, "minus"]],
    3: [
        [1, QUOTES, 11, "a"],
        [2, "bo", -1, "b"],
        [HUGE, "bo", 1, "huge"],
        [4, "bo", 4, "twice"],
        [4, "bo", 5, "twice"],
    ],
    4: [[1, "bo", 11, "a"], [2, "bo", -2, "b"], [HUGE, "bo", 1, "huge"], [7, "bo", -7, "never good"]],
    5: [[1, "bo", 12, "a"], [50, "bo", 50, "new"]],
}
"""By day. A negative amount goes to quarantine."""
CLIENTS = {
    1: [["bo", "Bo Secret", "bo@secret.example"], [QUOTES, "Neil Secret", "neil@secret.example"]],
    2: [["bo", "Bo Secret", "bo@secret.example"]],
    3: [["bo", "Bo Hidden", "bo@secret.example"]],
    4: [["zoe", "", "zoe@secret.example"]],
    5: [],
}
PRICES: dict[int, list[list[Any]]] = {day: [["gold", day * 1.5], ["tin", None]] for day in range(1, 6)}
ID = {"name": "id", "type": "integer", "nullable": False, "description": "Key."}
RESOURCES: dict[str, dict[str, Any]] = {
    "orders": {
        "description": "Orders.",
        "path": "/orders",
        "primary_key": ["id"],
        "params": {"day": "{day}", "token": "hush"},
        "columns": [
            ID,
            {"name": "buyer", "field": "buyer.code", "type": "string", "description": "Who bought."},
            {"name": "amount", "type": "number", "description": "What it cost."},
            {"name": "note", "type": "string", "description": "Text."},
        ],
        "deletes": "detect",
        "rules": [{"name": "amount_positive", "severity": "quarantine", "column": "amount", "range": {"min": 0}}],
    },
    "clients": {
        "description": "People.",
        "path": "/clients",
        "primary_key": ["code"],
        "params": {"day": "{day}"},
        "columns": [
            {"name": "code", "type": "string", "nullable": False, "description": "Short name."},
            {"name": "name", "type": "string", "description": "Full name.", "sensitive": True},
            {"name": "email", "type": "string", "description": "Address.", "sensitive": "hash"},
        ],
        "rules": [{"name": "has_name", "severity": "fail", "column": "name", "length": {"min": 1}}],
    },
    "prices": {
        "description": "Prices of a day.",
        "path": "/prices",
        "primary_key": ["metal", "dt"],
        "params": {"day": "{day}"},
        "columns": [
            {"name": "metal", "type": "string", "nullable": False, "description": "Which metal."},
            {"name": "usd", "type": "number", "description": "Price."},
        ],
    },
}
MODELS = {
    "fct_orders": """
        {{ config(unique_key='order_id', meta={'affected_by': {'stg_shop__orders': ['order_id']}}) }}
        select order_id, buyer, amount, amount * 2 as twice, first_seen_date from {{ ref('stg_shop__orders') }}
        where {{ not_deleted() }} {% if is_incremental() %} and {{ in_affected_keys(['order_id']) }} {% endif %}
    """,
    "fct_buyers": """
        {{ config(unique_key='buyer', meta={'affected_by': {'fct_orders': ['buyer']}}) }}
        select buyer, count(*) as order_count, cast(sum(amount) as double) as total from {{ ref('fct_orders') }}
        {% if is_incremental() %} where {{ in_affected_keys(['buyer']) }} {% endif %} group by buyer
    """,
    "big_orders": """
        {{ config(materialized='view', contract={'enforced': false}) }}
        select order_id as number, upper(note) as note from {{ ref('stg_shop__orders') }} where amount > 9
    """,
    "paid": """
        {{ config(materialized='table', unique_key='order_id', contract={'enforced': false}) }}
        select order_id, amount from {{ ref('fct_orders') }} where amount > 5
    """,
    "by_note": """
        {{ config(materialized='table', unique_key='k', contract={'enforced': false}) }}
        select md5(coalesce(note, '')) as k, count(*) as n from {{ ref('stg_shop__orders') }} group by all
    """,
    "people": """
        {{ config(materialized='table', contract={'enforced': false}) }}
        select
            code, name as full_name, upper(name) as shouted, lower(name) as lowered, email as pseudonym,
            length(code) as size
        from {{ ref('stg_shop__clients') }}
    """,
}
COLUMNS = {
    "fct_orders": {
        "order_id": "varchar",
        "buyer": "varchar",
        "amount": "double",
        "twice": "double",
        "first_seen_date": "date",
    },
    "fct_buyers": {"buyer": "varchar", "order_count": "bigint", "total": "double"},
}
"""The columns of the models with an enforced contract."""


def answer(ask: Ask) -> tuple[int, dict[str, str], bytes]:
    """Answer a request for a day of a resource."""
    day = dt.date.fromisoformat(ask.query["day"]).day
    rows: list[dict[str, Any]]
    if ask.path == "/orders":
        rows = [
            {"id": key, "buyer": {"code": buyer}, "amount": amount, "note": note}
            for key, buyer, amount, note in ORDERS[day]
        ]
    elif ask.path == "/clients":
        rows = [{"code": code, "name": name, "email": email} for code, name, email in CLIENTS[day]]
    else:
        rows = [dict(zip(("metal", "usd"), row, strict=True)) for row in PRICES[day]]
    return 200, {"Content-Type": "application/json"}, json.dumps(rows).encode()


@contextlib.contextmanager
def open_shop(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Serve the shop during the block, with its contract and models as the project in a folder."""
    project = empty_project(folder / "project", patch)
    with answering(answer) as (base, _):
        text = {"source": "shop", "description": "A shop.", "owner": "me@example.com", "base_url": base}
        new_source.write_source("shop", yaml.safe_dump({**text, "default_resource": "orders", "resources": RESOURCES}))
        generated_files.write_files(source_yaml.source_files())
        marts = project / "dbt" / "models" / "marts"
        for path in marts.glob("fct_*"):
            path.unlink()
        marts.mkdir(parents=True, exist_ok=True)
        for name, sql in MODELS.items():
            (marts / f"{name}.sql").write_text(sql)
        described = [
            {
                "name": name,
                "description": f"One row per {name}.",
                "columns": [{"name": column, "data_type": kind} for column, kind in columns.items()],
            }
            for name, columns in COLUMNS.items()
        ]
        people = {
            "name": "people",
            "columns": [
                {
                    "name": "code",
                    "data_tests": [
                        "unique",
                        {"accepted_values": {"arguments": {"values": ["bo"]}, "config": {"severity": "warn"}}},
                    ],
                },
                {"name": "lowered", "config": {"meta": {"sensitive": False}}},
                {"name": "size", "config": {"meta": {"sensitive": True}}},
            ],
        }
        (marts / "marts.yml").write_text(yaml.safe_dump({"models": [*described, people]}))
        yield


def load_days(*days: int, resources: list[str] | None = None) -> list[Outcome]:
    """Load days of January 2024, and return what became of each partition."""
    found: list[Outcome] = []
    for day in days:
        text = f"2024-01-{day:02}"
        found += load(Run.create(triggered_by="test"), partitions(day_range(text, text), ["shop"], resources))
    return found


def publish() -> str | None:
    """Build and publish; return the version."""
    return build_warehouse(Run.create(triggered_by="test")).version
