"""Every case has a test of its name, and every test has its case."""

import re
from pathlib import Path

TEST = re.compile(r"^def test_(\w+)\(case\b", re.MULTILINE)


def test_every_case_has_a_test_and_every_test_its_case(cases_dir):
    """The names of the folders are those of the tests that use the fixture `case`."""
    tests = [name for path in Path(__file__).parent.glob("test_*.py") for name in TEST.findall(path.read_text())]

    assert sorted(tests) == sorted(folder.name for folder in cases_dir.iterdir() if folder.is_dir())
