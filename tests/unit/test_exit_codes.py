"""Exit codes: what `pipeline --help` and `docs/cli.md` list is what the code has."""

import re

from scripts.cli.main import cli
from scripts.config import PROJECT_DIR
from scripts.errors import PipelineError
from scripts.utils import exit_codes


def listed(text):
    return [int(code) for code in re.findall(r"^ +(\d+)  \S", text, flags=re.MULTILINE)]


def classes(base):
    return [base, *(found for child in base.__subclasses__() for found in classes(child))]


def test_the_lists_name_every_exit_code_and_no_other():
    ends = {value for name, value in vars(exit_codes).items() if type(value) is int and not name.startswith("_")}
    known = sorted({0, *ends, *(error.exit_code for error in classes(PipelineError))})

    assert ends == {130, 141}
    assert listed(cli.epilog) == known
    assert listed((PROJECT_DIR / "docs" / "cli.md").read_text().partition("## Exit codes")[2]) == known
