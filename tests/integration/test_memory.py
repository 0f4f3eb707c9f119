"""Memory: how much a load and a validation take follows the setting, not the size of the rows."""

import sys

import pytest

from scripts.config import PROJECT_DIR


@pytest.mark.slow
def test_rows_of_a_megabyte_are_loaded_and_validated_within_the_limit(start):
    program = [sys.executable, PROJECT_DIR / "tests" / "support" / "large_rows.py"]

    done = start(200, 10, program=program)

    assert done.returncode == 0, done.stderr
    fetched, bronze, quarantined, loading, validating = map(int, done.stdout.split())
    assert (fetched, bronze, quarantined) == (200, 26, 174)
    assert max(loading, validating) <= 512
