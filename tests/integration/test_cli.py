"""The command line as a process: exit codes, one-line errors, data on stdout and logs on stderr."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from scripts.config import PROJECT_DIR
from scripts.sample_api.server import Fault

PIPELINE = [sys.executable, "-m", "scripts.cli.main"]

DAY = ["--start-date", "2024-01-02", "--end-date", "2024-01-02"]


def error_line(done):
    """The one line of the error; there is no traceback."""
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return line


def test_help_starts_quickly_and_imports_nothing_heavy(start):
    code = (
        "import sys; sys.argv = ['pipeline', '--help']\n"
        "from scripts.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'pandas', 'pyarrow', 'duckdb', 'dbt', 'pandera', 'requests', 'pydantic'} & set(sys.modules)\n"
        "sys.stderr.write(repr(sorted(heavy)))"
    )
    done = start(program=[sys.executable, "-c", code])

    assert done.stderr == "[]"
    assert "Exit codes:" in done.stdout


def test_ingest_prints_a_table_on_stdout_and_json_lines_on_stderr(start, api):
    done = start("ingest", *DAY, "--resource", "posts")

    assert done.returncode == 0, done.stderr
    assert "jsonplaceholder   posts" in done.stdout
    assert all(json.loads(line)["run_id"] for line in done.stderr.splitlines())


def test_json_output_is_one_document(start, api):
    done = start("ingest", *DAY, "--json")

    rows = json.loads(done.stdout)
    assert {row["resource"]: row["fetched"] for row in rows} == {
        "posts": 111,
        "users": 10,
        "comments": 550,
        "todos": 200,
    }


def test_one_resource_that_fails_does_not_stop_the_others(start, api):
    api.faults.append(Fault("status", path="/users", status=404, times=99))

    done = start("ingest", *DAY, "--json")

    states = {row["resource"]: row["state"] for row in json.loads(done.stdout)}
    assert states == {"posts": "ingested", "users": "error", "comments": "ingested", "todos": "ingested"}
    assert done.returncode == 6
    assert "users" in error_line(done)


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "words"),
    [
        (["ingest", "--start-date", "2024-02-30", "--end-date", "2024-03-01"], {}, 2, "`2024-02-30` is not a date"),
        (["ingest", "--start-date", "2024-01-02", "--end-date", "2024-01-01"], {}, 2, "reversed"),
        (["run", "--start-date", "2999-01-01", "--end-date", "2999-01-01"], {}, 2, "in the future"),
        (["backfill", "--start-date", "2020-01-01", "--end-date", "2024-01-01"], {}, 2, "at most 366"),
        (["ingest", *DAY, "--source", "nowhere"], {}, 2, "source `nowhere` is not in the catalog"),
        (["ingest", *DAY, "--resource", "nothing"], {}, 2, "resource `nothing` is not part of"),
        (["validate", *DAY, "--resource", "posts"], {}, 2, "is not loaded"),
        (["status"], {"API_RETRIES": "lots"}, 3, "API_RETRIES=lots is refused"),
        (["ingest", *DAY], {"API_BASE_URL": "http://127.0.0.1:1", "API_RETRIES": "0"}, 5, "connection refused"),
        (["rollback"], {}, 2, "there is no earlier version"),
    ],
)
def test_each_error_is_one_line_with_its_own_exit_code(start, arguments, environ, code, words):
    done = start(*arguments, **environ)

    assert done.returncode == code, done.stderr
    assert words in "".join(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "Traceback" not in done.stderr


def test_an_option_that_does_not_exist_is_a_usage_error(start):
    done = start("ingest", "--frm", "2024-01-01")

    assert done.returncode == 2
    assert "No such option '--frm'" in done.stderr


def test_a_broken_contract_is_a_contract_error(start, tmp_path, monkeypatch):
    code = (
        "import sys, pathlib; from scripts.contracts import catalog;"
        "catalog.SOURCES_DIR = pathlib.Path(sys.argv.pop(1));"
        "from scripts.cli.main import main; main()"
    )
    (tmp_path / "jsonplaceholder.yml").write_text("source: [\n")

    done = start(tmp_path, "ingest", *DAY, program=[sys.executable, "-c", code])

    assert done.returncode == 4
    assert "jsonplaceholder.yml: not valid YAML" in error_line(done)


@pytest.mark.parametrize("script", ["ingest_api", "validate_data"])
def test_the_scripts_run_by_path_and_from_anywhere(start, api, tmp_path, script):
    for name in ["ingest_api"] if script == "ingest_api" else ["ingest_api", "validate_data"]:
        path = PROJECT_DIR / "scripts" / f"{name}.py"
        done = start(*DAY, "--output-dir", "out", program=[sys.executable, str(path)], cwd=tmp_path, PYTHONPATH="")
        assert done.returncode == 0, done.stderr

    assert [file.parent.name for file in (tmp_path / "out").rglob("*.parquet")] == ["dt=2024-01-02"]


def test_a_script_reports_errors_like_the_command_line(start, tmp_path):
    done = start(
        "--start-date", "2024-02-30", "--end-date", "2024-03-01", program=[sys.executable, "scripts/ingest_api.py"]
    )

    assert done.returncode == 2
    assert "is not a date" in error_line(done)


def test_backfill_plans_before_it_loads(start, api):
    start("ingest", *DAY, "--resource", "posts")
    start("validate", *DAY, "--resource", "posts")

    done = start(
        "backfill",
        "--start-date",
        "2024-01-01",
        "--end-date",
        "2024-01-03",
        "--resource",
        "posts",
        "--dry-run",
        "--json",
    )

    plan = json.loads(done.stdout)
    assert [(row["day"], row["state"], row["will_load"]) for row in plan["partitions"]] == [
        ("2024-01-01", "missing", True),
        ("2024-01-02", "loaded", False),
        ("2024-01-03", "missing", True),
    ]
    assert api.requests_by_path["/posts"] == 1


def test_quarantine_can_be_listed_shown_and_replayed(start, api):
    start("ingest", *DAY, "--resource", "posts")
    start("validate", *DAY, "--resource", "posts")

    listed = json.loads(start("quarantine", "list", "--json").stdout)
    shown = [json.loads(line) for line in start("quarantine", "show").stdout.splitlines()]
    replayed = json.loads(start("quarantine", "replay", "--json").stdout)

    assert {(row["rule"], row["rows"]) for row in listed} == {("mistyped", 1), ("title_length", 1)}
    assert {row["rule"] for row in shown} == {"mistyped", "title_length"}
    assert [(row["admitted"], row["remaining"]) for row in replayed] == [(0, 2)]


def test_doctor_is_well_on_a_fresh_folder(start):
    done = start("doctor", "--json")

    assert done.returncode == 0, done.stdout
    assert all(row["ok"] for row in json.loads(done.stdout))


def test_doctor_names_a_problem_and_its_fix(start, api, tmp_path):
    start("ingest", *DAY, "--resource", "posts")
    stranger = tmp_path / "data" / "bronze" / "jsonplaceholder" / "posts" / "dt=2024-01-02" / "copy.parquet"
    stranger.write_bytes(b"PAR1")

    done = start("doctor")

    assert done.returncode == 1
    assert "fix ledger: load their days with `pipeline run`, or move the files to a folder outside" in done.stdout


def test_sources_check_finds_a_stale_generated_file(start, tmp_path):
    assert start("sources", "check").returncode == 0

    done = start("sources", "check", PIPELINE_HOME=str(tmp_path), DATA_DIR=str(tmp_path))

    assert done.returncode == 4
    assert "pipeline sources generate" in error_line(done)


@pytest.mark.parametrize("key", ["python", "dlt"])
def test_sources_check_looks_for_the_functions_that_a_contract_names(start, tmp_path, key):
    code = (
        "import sys, pathlib; from scripts.contracts import catalog;"
        "catalog.SOURCES_DIR = pathlib.Path(sys.argv.pop(1));"
        "from scripts.cli.main import main; main()"
    )
    (tmp_path / "shop.yml").write_text(
        "{source: shop, description: x, owner: me@example.com, base_url: https://shop.example.com,"
        f" default_resource: items, resources: {{items: {{description: x, {key}: nowhere.py:rows, primary_key: [id],"
        " columns: [{name: id, type: integer, description: x}]}}}"
    )

    done = start(tmp_path, "sources", "check", program=[sys.executable, "-c", code])

    assert done.returncode == 4
    assert "shop/items: nowhere.py:rows: there is no file" in error_line(done)


def test_an_interrupt_is_one_line(start, api, tmp_path):
    api.faults.append(Fault("timeout", path="/", times=99))
    process = subprocess.Popen(
        [*PIPELINE, "ingest", *DAY, "--resource", "posts"],
        cwd=PROJECT_DIR,
        env=os.environ,
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        # a shell's background jobs, such as CI's, ignore the signal, and so do their children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 — no thread here
    )
    deadline = time.monotonic() + 600
    while "/posts" not in api.requests_by_path and time.monotonic() < deadline:
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=200)

    assert process.returncode == 130
    assert "interrupted" in text
    assert "Traceback" not in text
