"""Rules in Python: functions and pandera schemas on a data frame, and what is said of those that fail."""

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scripts.config import PROJECT_DIR
from scripts.contracts.source import Resource
from scripts.contracts.types import arrow_schema
from scripts.errors import ContractError
from scripts.loading.rule_checks import RuleChecker, check_file, rules_version

FILE = """
import pandera.pandas as pandera

def even(frame):
    return frame["id"] % 2 == 0

schema = pandera.DataFrameSchema({"id": pandera.Column(checks=pandera.Check.lt(4))})

class Model(pandera.DataFrameModel):
    id: int = pandera.Field(ge=2, coerce=True)

def too_little(frame):
    return False

def breaks(frame):
    return frame["nothing"]
"""


@pytest.fixture
def contract(tmp_path):
    path = tmp_path / "shop_checks.py"
    path.write_text(FILE)

    def make(name, file=path, **rule):
        return Resource.model_validate(
            {
                "description": "x",
                "path": "/x",
                "primary_key": ["id"],
                "columns": [
                    {"name": "id", "type": "integer", "description": "x"},
                    {"name": "name", "type": "string", "description": "x"},
                ],
                "rules": [{"name": "own", "severity": "quarantine", "check": f"{file}:{name}", **rule}],
            }
        )

    return make


@pytest.fixture
def rows(tmp_path, contract):
    path = tmp_path / "rows.parquet"
    values = [{"id": number, "name": f"n{number}", "_extra": None, "_row": number} for number in range(6)]
    pq.write_table(pa.Table.from_pylist(values, arrow_schema(contract("even"))), path)
    return path


@pytest.mark.parametrize(("name", "broken"), [("even", [1, 3, 5]), ("schema", [4, 5]), ("Model", [0, 1])])
def test_a_check_in_python_finds_its_rows(name, broken, rows, contract):
    (finding,) = check_file(rows, contract(name)).finish(rows, rows.parent)

    assert (sorted(finding.positions), finding.examples) == (broken, [str(number) for number in broken][:3])


def test_a_check_with_a_column_shows_the_values_of_that_column(rows, contract):
    (finding,) = check_file(rows, contract("even", column="name")).finish(rows, rows.parent)

    assert finding.examples == ["'n1'", "'n3'", "'n5'"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("too_little", "the check .*:too_little failed"),
        ("breaks", "failed: .*nothing"),
        ("nowhere", "AttributeError: .*nowhere"),
    ],
)
def test_a_check_that_fails_is_one_line_that_names_it(name, message, rows, contract):
    with pytest.raises(ContractError, match=f"rule `own`: .*{message}"):
        check_file(rows, contract(name)).finish(rows, rows.parent)


def test_a_file_that_is_missing_is_named(contract, tmp_path):
    with pytest.raises(ContractError, match="there is no file"):
        RuleChecker(contract("even", file=tmp_path / "other.py"))


def test_another_content_of_the_file_is_another_version_of_the_rules(contract, tmp_path):
    before = rules_version(contract("even"))
    (tmp_path / "shop_checks.py").write_text(FILE + "\n# other\n")

    assert rules_version(contract("even")) != before


def test_pandas_and_pandera_are_loaded_only_for_checks_in_python():
    program = "import sys, scripts.validate_data, scripts.ingest_api; print({'pandas', 'pandera'} & sys.modules.keys())"

    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT_DIR, text=True, capture_output=True, check=True)

    assert done.stdout == "set()\n"
