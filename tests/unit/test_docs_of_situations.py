"""docs/situations.md names a test for each situation; the test exists, and the invariants are checked after it."""

import re

import pytest

from scripts.config import PROJECT_DIR
from tests.support.named_tests import functions, missing, named

TEXT = (PROJECT_DIR / "docs" / "situations.md").read_text()
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and "`tests/e2e/" in line]
LAST = ("test_then_all_invariants_hold", "test_then_no_execution_waits")


def not_followed(files):
    """Return the files that check no invariant after their situations."""
    return [file for file in sorted(files) if not checks_in_the_end(file)]


def checks_in_the_end(file):
    return {*LAST} & {*functions(file)} or "assert_invariants(" in (PROJECT_DIR / file).read_text()


def test_every_test_that_is_named_exists():
    assert missing(TEXT) == []


def test_there_are_sixty_situations_and_each_has_its_test():
    lines = [line for table in re.findall(r"\|---.*\n((?:\|.*\n)+)", TEXT) for line in table.splitlines()]
    assert lines == ROWS
    assert len({line.split(" | ")[0] for line in ROWS}) == len(ROWS) >= 60
    assert all(len(named(line)) == 1 and len(line.split(" | ")) == 3 for line in ROWS)


def test_invariants_are_checked_after_the_situations_of_each_file():
    assert not_followed({file for row in ROWS for file, _ in named(row)}) == []


def test_a_file_that_checks_nothing_is_seen():
    assert not_followed(["tests/e2e/test_demo.py"]) == ["tests/e2e/test_demo.py"]


@pytest.mark.parametrize("text", ["`tests/e2e/nowhere.py::test_x`", "`tests/e2e/test_airflow.py::test_x`"])
def test_a_test_that_is_not_there_is_seen(text):
    assert missing(text) == [text.strip("`")]
