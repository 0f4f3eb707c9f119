"""Contracts in the Open Data Contract Standard: what is exported is imported as it was, and foreign files are read."""

import pytest
import yaml
from click.testing import CliRunner

from scripts.admin import contract_page
from scripts.admin.odcs_files import odcs_text, read_odcs
from scripts.cli import main
from scripts.cli.sources import wanted_files
from scripts.contracts import catalog
from scripts.contracts.source import Source
from scripts.errors import UsageError
from tests.support import shapes
from tests.support.project import empty_project

FOREIGN = """
apiVersion: v3.0.2
kind: DataContract
id: 53581432-6c55-4ba2-a65f-72344a91553a
name: Seller Payments
version: 1.1.0
status: active
description: {purpose: Payments to sellers.}
schema:
  - name: payments
    physicalName: pmt_1
    description: One row per payment.
    properties:
      - {name: paymentId, logicalType: string, physicalType: varchar(18), primaryKey: true, primaryKeyPosition: 1,
         required: true, description: Key.}
      - {name: seller-email, logicalType: string, classification: restricted, description: Address.}
      - name: amount
        logicalType: number
        physicalType: decimal(10,2)
        logicalTypeOptions: {minimum: 0}
        description: In US dollars.
        quality:
          - {metric: nullValues, mustBe: 0, severity: warning}
          - {metric: nullValues, mustBeLessThan: 5, unit: percent, name: few_nulls}
      - {name: details, logicalType: object, description: As the shop sends it.}
    quality:
      - {metric: rowCount, mustBeGreaterThan: 0}
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "contract.odcs.yaml"
        path.write_text(text)
        return path

    return write


def contracts():
    """Return every contract that is shipped, and those of the tests that try each key."""
    found = dict(catalog.load())
    for name, shape in shapes.SHAPES.items():
        address = {"base_url": "https://api.example.com", "description": "D.", "owner": "team"}
        resources = {"rows": shape.contract}
        found[name] = {"source": "demo", **address, **shape.source, "default_resource": "rows", "resources": resources}
        if "token_url" in found[name].get("auth", {}):
            found[name]["auth"] = {**found[name]["auth"], "token_url": "https://api.example.com/token"}
    examples = yaml.safe_load(contract_page.EXAMPLES.read_text())
    head = {"description": "D.", "owner": "team", "base_url": "https://shop.example.com", "default_resource": "rows"}
    for kind in ("Resource", "Column", "Rule"):
        for number, example in enumerate(examples[kind]):
            column = {"name": "id", "type": "integer", "description": "Key."}
            resource = {"description": "R.", "path": "/rows", "primary_key": ["id"], "columns": [column]}
            if kind == "Resource":
                resource = example
            elif kind == "Column":
                resource |= {"columns": [column, {**example, "name": "other"}]}
            else:
                resource |= {"columns": [column, *columns_of(example)], "rules": [example]}
            name = f"{kind.lower()}_{number}"
            found[name] = {**head, "source": name, "resources": {"rows": resource}}
    return found


def columns_of(rule):
    names = {rule["column"]} if "column" in rule else set(rule.get("unique", ()))
    kind = "number" if "range" in rule else "string"
    return [{"name": name, "type": kind, "description": "X."} for name in sorted(names - {"id"})]


@pytest.mark.parametrize("name", sorted(contracts()))
def test_a_contract_is_the_same_after_its_export_and_import(name, written):
    contract = contracts()[name]
    source = contract if isinstance(contract, Source) else Source.model_validate(contract)
    again, text, to_fill_in = read_odcs(written(odcs_text(source)))

    assert again == source
    assert Source.model_validate(yaml.safe_load(text)) == source
    assert {name: found.version for name, found in again.resources.items()} == {
        name: found.version for name, found in source.resources.items()
    }
    assert to_fill_in == []


def test_a_change_of_the_file_changes_the_contract(written):
    """The keys of the standard count, not a copy of the contract beside them."""
    document = yaml.safe_load(odcs_text(catalog.pick("jsonplaceholder")))
    users = next(table for table in document["schema"] if table["name"] == "users")
    column = next(item for item in users["properties"] if item["name"] == "username")
    column |= {"description": "Changed.", "required": False, "classification": "confidential"}
    users["properties"].remove(next(item for item in users["properties"] if item["name"] == "website"))
    source, _, _ = read_odcs(written(yaml.safe_dump(document)))

    changed = source.resources["users"].column("username")
    assert (changed.description, changed.nullable, changed.sensitive) == ("Changed.", True, True)
    assert "website" not in [column.name for column in source.resources["users"].columns]


def test_a_foreign_file_gives_what_is_known_and_names_what_is_missing(written):
    source, text, to_fill_in = read_odcs(written(FOREIGN))

    assert source.source == "seller_payments"
    assert source.daily is False, "nothing is loaded from an address that is not known"
    resource = source.resources["payments"]
    assert resource.primary_key == ("paymentId",)
    assert [(column.name, column.type, column.nullable) for column in resource.columns] == [
        *(("paymentId", "string", False), ("seller_email", "string", True)),
        *(("amount", "decimal(10,2)", True), ("details", "json", True)),
    ]
    assert (resource.column("seller_email").field, resource.column("seller_email").sensitive) == ("seller-email", True)
    assert {rule.name: (rule.kind, rule.severity) for rule in resource.rules} == {
        "amount_null_values": ("not_null", "warn"),
        "amount_range": ("range", "quarantine"),
        "rows_row_count": ("row_count", "fail"),
    }
    assert [item.partition(":")[0] for item in to_fill_in] == ["owner", "base_url", "payments", "payments"]
    assert "few_nulls" in to_fill_in[2]
    assert text.count("# To fill in: ") == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "holds list at its top level"),
        ("kind: [", "cannot be read"),
        ("dataContractSpecification: 1.2.0", "found kind `None`"),
        (FOREIGN.partition("schema:")[0], "has no `schema`"),
        (FOREIGN.replace("name: amount", "title: amount"), "is not of the standard: KeyError 'name'"),
    ],
)
def test_a_file_of_another_form_is_refused_in_one_line(written, text, expected):
    with pytest.raises(UsageError) as refused:
        read_odcs(written(text))
    assert expected in str(refused.value)


def test_an_imported_source_passes_the_check_of_the_catalog(tmp_path, monkeypatch, written):
    """The command writes the contract, its models and the generated files, and never replaces a contract."""
    exported = odcs_text(catalog.pick("jsonplaceholder"))
    before = catalog.pick("jsonplaceholder")
    empty_project(tmp_path, monkeypatch)
    runner = CliRunner()
    done = runner.invoke(main.cli, ["sources", "import", "--odcs", str(written(exported))])
    assert done.exit_code == 0, done.output
    catalog.forget()
    assert catalog.pick("jsonplaceholder") == before
    assert "to fill in" not in done.output

    done = runner.invoke(main.cli, ["sources", "import", "--odcs", str(written(FOREIGN)), "--name", "payments"])
    assert "to fill in: base_url" in done.output
    catalog.forget()
    assert set(catalog.load()) == {"jsonplaceholder", "payments"}
    assert [path for path, text in wanted_files().items() if "models" in path.parts and path.read_text() != text] == []

    again = runner.invoke(main.cli, ["sources", "import", "--odcs", str(written(exported))])
    assert isinstance(again.exception, UsageError)


def test_the_export_prints_one_document_for_each_source():
    done = CliRunner().invoke(main.cli, ["sources", "export", "--odcs"])
    assert [document["id"] for document in yaml.safe_load_all(done.output)] == sorted(catalog.load())
