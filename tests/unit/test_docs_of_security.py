"""docs/security.md names for each threat the tests that show what stands against it, and these exist."""

import re

import pytest

from scripts.config import PROJECT_DIR
from tests.support.named_tests import missing, named

TEXT = (PROJECT_DIR / "docs" / "security.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and "`tests/" in line
]


def test_every_test_that_is_named_exists():
    assert missing(TEXT) == []


def test_every_threat_has_a_defense_and_a_test():
    tables = re.findall(r"\| threat \|.*\n\|---.*\n((?:\|.*\n)+)", TEXT)
    lines = [line for table in tables for line in table.splitlines()]
    assert len(lines) == len(ROWS) > 30
    for threat, defense, tests in ROWS:
        assert threat
        assert defense
        assert named(tests), threat
        assert re.sub(r"`tests/[\w/]+\.py::test_\w+`|<br>", "", tests) == "", threat


@pytest.mark.parametrize("text", ["`tests/unit/nowhere.py::test_x`", "`tests/unit/test_redaction.py::test_x`"])
def test_the_check_is_red_for_a_test_that_is_not_there(text):
    assert missing(text) == [text.strip("`")]
