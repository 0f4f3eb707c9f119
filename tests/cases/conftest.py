"""The fixture of a case, which has the name of its test."""

import pytest

from tests.support.cases import CASES_DIR, case_of
from tests.support.required import without


@pytest.fixture
def cases_dir():
    """The folder of the cases."""
    if not CASES_DIR.is_dir():
        without("REQUIRE_CASES", f"there is no folder {CASES_DIR}: CASES_DIR names the folder that holds the cases")
    return CASES_DIR


@pytest.fixture
def case(cases_dir, request, tmp_path, env, monkeypatch, capsys):
    """The case that the test is named after."""
    name = request.function.__name__.removeprefix("test_")
    with case_of(name, tmp_path, env, monkeypatch, capsys) as made:
        yield made
