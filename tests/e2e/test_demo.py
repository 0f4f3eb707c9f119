"""What documents show of the demo is what it prints, and their queries run on what it publishes."""

import re
import subprocess
import sys

import duckdb
import pytest

from scripts.config import PROJECT_DIR

README = (PROJECT_DIR / "README.md").read_text()
QUERY_PAGE = (PROJECT_DIR / "docs" / "query-gold.md").read_text()


def blocks(text, language):
    """Return the code blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def comparable(line):
    """Return a line without what differs from run to run: moments, days, ports, seconds, widths of columns."""
    line = re.sub(r"\d{4}-\d\d-\d\d", "DAY", line)
    line = re.sub(r"^\d\d:\d\d:\d\d ", "TIME ", line)
    line = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", line)
    line = re.sub(r"\b\d+(\.\d+)? s\b", "SECONDS s", line)
    return re.sub(r"[\s─]+", " ", line).strip()


def transcript():
    """Return the lines of `make demo` in the README, without the marks of what is left out."""
    (block,) = [text for text in blocks(README, "console") if text.startswith("$ make demo")]
    lines = [line for line in block.splitlines()[1:] if line.strip(" …")]
    return [comparable(line) for line in lines]


def test_the_readme_shows_what_the_demo_prints(demo):
    printed = [comparable(line) for line in demo.output.splitlines()]
    # a line that is cut off in the README ends with the mark of what is left out
    missing = [
        line
        for line in transcript()
        if not any(found == line or (line.endswith("…") and found.startswith(line[:-1].strip())) for found in printed)
    ]

    assert transcript()
    assert missing == [], "copy these lines of the README's transcript from the output of `make demo`"


def test_a_stale_transcript_is_found(demo):
    assert comparable("fetched 1 = Bronze 1 + quarantined 0") not in map(comparable, demo.output.splitlines())


@pytest.mark.parametrize("query", blocks(QUERY_PAGE, "sql"))
def test_the_queries_of_the_page_for_analysts_run(demo, query):
    with duckdb.connect(str(demo.folder / "warehouse.duckdb"), read_only=True) as warehouse:
        columns = warehouse.execute(query).description

    assert columns


def test_the_python_of_the_page_for_analysts_runs(demo, tmp_path):
    (script,) = blocks(QUERY_PAGE, "python")
    (tmp_path / "data").symlink_to(demo.folder)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, text=True, capture_output=True, check=False, timeout=1200
    )

    assert done.returncode == 0, done.stderr
    assert "event_count" in done.stdout
