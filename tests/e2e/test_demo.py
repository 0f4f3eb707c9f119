"""What documents show of the demo is what it prints, and their queries run on what it publishes."""

import importlib.util
import itertools
import re
import shlex
import subprocess
import sys

import duckdb
import pytest

from scripts.config import PROJECT_DIR

README = (PROJECT_DIR / "README.md").read_text()
EXPLAIN_PAGE = (PROJECT_DIR / "docs" / "explain.md").read_text()
QUESTIONS_PAGE = (PROJECT_DIR / "docs" / "questions.md").read_text()
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


def test_the_demo_logs_only_what_it_means_to_say(demo):
    """A library that complains when a process ends writes past the log."""
    logged = re.compile(r"\d\d:\d\d:\d\d (WARNING|ERROR) ")

    assert [line for line in demo.log.splitlines() if not logged.match(line)] == []


def test_a_stale_transcript_is_found(demo):
    assert comparable("fetched 1 = Bronze 1 + quarantined 0") not in map(comparable, demo.output.splitlines())


@pytest.fixture
def beside_the_data(demo, tmp_path, monkeypatch):
    """A working folder in which the paths of the page lead to the data of the demo."""
    (tmp_path / "data").symlink_to(demo.folder)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("query", blocks(QUERY_PAGE, "sql") + blocks(QUESTIONS_PAGE, "sql"))
def test_the_queries_of_the_page_for_analysts_run(demo, beside_the_data, query):
    with duckdb.connect(str(demo.folder / "warehouse.duckdb"), read_only=True) as warehouse:
        columns = warehouse.execute(query).description

    assert columns


@pytest.mark.parametrize("script", blocks(QUERY_PAGE, "python"))
def test_the_python_of_the_page_for_analysts_runs(demo, beside_the_data, script):
    if "pyspark" in script and importlib.util.find_spec("pyspark") is None:
        pytest.skip("no Spark here: `pip install pyspark`, and Java")
    done = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True, check=False, timeout=1200)

    assert done.returncode == 0, done.stderr
    assert "event_count" in done.stdout


def explained(line):
    """Return a line of an explanation without what differs from run to run."""
    line = re.sub(r"\b\d{8}T\d{6}Z-[0-9a-f]{6}\b", "RUN", line)
    line = re.sub(r"\b\d\d:\d\d:\d\d UTC", "TIME UTC", line)
    line = re.sub(r"^version \d+, built", "version N, built", line)
    return re.sub(r"\d{4}-\d\d-\d\d", "DAY", re.sub(r"contract [0-9a-f]{12}$", "contract HASH", line)).rstrip()


def shows(shown, printed):
    """Return whether lines are in an output one after another; a line `…` stands for lines that are left out."""
    place = 0
    for is_cut, part in itertools.groupby(shown, key="…".__eq__):
        lines = list(part)
        if is_cut:
            continue
        places = (at for at in range(place, len(printed)) if printed[at : at + len(lines)] == lines)
        if (found := next(places, None)) is None:
            return False
        place = found + len(lines)
    return True


EXPLAINED = [text for text in blocks(EXPLAIN_PAGE, "console") if "pipeline explain" in text]


@pytest.mark.parametrize("block", EXPLAINED + blocks(QUESTIONS_PAGE, "console"))
def test_the_pages_show_what_the_commands_print(demo, start, block):
    command, *lines = block.splitlines()
    arguments = shlex.split(command.removeprefix("$ uv run pipeline "))
    done = start(*arguments, DATA_DIR=demo.folder)
    assert done.returncode == 0, done.stderr

    shown, printed = [explained(line) for line in lines], [explained(line) for line in done.stdout.splitlines()]
    assert shows(shown, printed), "\n".join(printed)
    assert not shows([*shown[:-1], "a line that it does not print"], printed)


@pytest.mark.parametrize(
    "words",
    ["Since the version before", "Owner", "Last day", "stale 72 hours after its end", "result", "Where it comes from"],
)
def test_the_page_of_a_table_has_what_the_questions_send_people_to(demo, words):
    assert words in (demo.folder / "docs" / "tables" / "fct_events.html").read_text()
