"""Values of a column that its contract calls sensitive stand in Bronze and in quarantine, and nowhere else."""

import copy

import pytest

from scripts.contracts.catalog import Catalog
from scripts.contracts.source import Source
from scripts.errors import PipelineError
from scripts.extract.client import Client
from scripts.ingest_api import ingest_partition
from scripts.monitoring.quarantine_digest import about_quarantine
from scripts.monitoring.report import write_report
from scripts.security.outside_text import HIDDEN
from scripts.utils.days import parse_day
from scripts.validate_data import validate_partition
from scripts.warehouse import failing_rows

DAY = parse_day("2024-01-01")


@pytest.fixture
def people(blog):
    """The default source, whose users' mail addresses are sensitive; a rule refuses some, and one has another type."""
    document = copy.deepcopy(blog.model_dump(mode="json", exclude_defaults=True))
    users = document["resources"]["users"]
    for column in users["columns"]:
        if column["name"] == "email":
            column["sensitive"] = True
        if column["name"] == "username":
            column |= {"type": "integer", "sensitive": True}
    users["on_mistyped"] = "evolve"
    users["rules"] = [
        {"name": "one_domain", "severity": "quarantine", "column": "email", "pattern": "@nowhere$"},
        {"name": "once", "severity": "warn", "unique": ["email"]},
    ]
    return Source.model_validate(document)


def test_no_value_leaves_bronze_and_quarantine(api, run, people, capsys):
    with Client(people) as client:
        entry = ingest_partition(people, "users", DAY, run, client)
    try:
        entry = validate_partition(people, "users", DAY, run)
    except PipelineError as error:
        shown = str(error)
    else:
        shown = ""
    rows = list(run.store.quarantined(entry))
    assert rows
    assert "@" in rows[0].raw
    assert HIDDEN in rows[0].reason
    notes = [note.example for note in (*entry.rules, *entry.drift)]
    assert HIDDEN in " ".join(notes)
    page = write_report(run.store).read_text()
    reports = "".join(path.read_text() for path in run.store.root.rglob("_validation/**/*.json"))
    ledger = "".join(path.read_text() for path in (run.store.root / "_ledger").rglob("*.json"))
    seen = " ".join(
        [
            shown,
            *notes,
            rows[0].reason,
            about_quarantine([entry]).text,
            page,
            reports,
            ledger,
            capsys.readouterr().err,
        ]
    )
    assert "@example" not in seen
    assert "one_domain" in seen


def test_the_version_of_a_contract_without_sensitive_columns_stays(blog):
    document = blog.model_dump(mode="json", exclude_defaults=True)
    before = Source.model_validate(document).resources["users"].version
    document["resources"]["users"]["columns"][0]["sensitive"] = False
    assert Source.model_validate(document).resources["users"].version == before
    document["resources"]["users"]["columns"][0]["sensitive"] = True
    assert Source.model_validate(document).resources["users"].version != before


def test_a_red_test_shows_no_value_that_may_come_from_a_sensitive_column(people, monkeypatch):
    row = {"email": "a@example.com", "value_field": "a@example.com", "id": 1, "dt": DAY, "n_records": 2}
    monkeypatch.setattr(failing_rows.catalog, "read_all", lambda: Catalog({"people": people}, {}))
    shown = failing_rows._describe(row, failing_rows.shown_columns())
    assert shown == f"{{email={HIDDEN}, value_field={HIDDEN}, id=1, dt=2024-01-01, n_records=2}}"
    monkeypatch.setattr(failing_rows.catalog, "read_all", lambda: Catalog({}, {}))
    assert "a@example.com" in failing_rows._describe(row, failing_rows.shown_columns())
