"""Cases of commands: contracts that change, files of others, settings, and what a terminal shows."""

import fcntl
import json
import os
import pathlib
import pty
import shutil
import struct
import subprocess
import sys
import termios

import pytest
from dotenv import dotenv_values

from scripts import config
from scripts.config import PROJECT_DIR
from scripts.contracts import catalog

SMALL = """\
source: NAME
description: d
owner: me@example.com
base_url: http://127.0.0.1:PORT
default_resource: notes
resources:
"""
RESOURCE = """\
  NAME:
    description: d
    path: /NAME
    primary_key: [id]
    on_mistyped: POLICY
    columns:
      - {name: id, type: integer, nullable: false, description: d}
      - {name: v, type: integer, description: d}
"""
DAY = ("--start-date", "2024-01-01", "--end-date", "2024-01-01")


def contract(source="demo", resources=("notes",), policy="quarantine"):
    """Return the text of a small contract."""
    parts = [RESOURCE.replace("NAME", name).replace("POLICY", policy) for name in resources]
    return SMALL.replace("NAME", source) + "".join(parts)


# contracts that change


def test_accepted_values_yaml_bool(case):
    """A rule whose values have another type than its column is refused by the check, and by a validation."""
    ended = case.run("sources", "check")

    assert ended.code == 4
    assert "demo/items: rule `av`: accepted value True is a boolean" in ended.error
    assert "column `s`, which is string" in ended.error
    assert "YAML reads yes, no, on and off as booleans" in ended.error

    assert case.run_on("2024-01-01", "ingest").code == 0
    ended = case.run_on("2024-01-01", "validate")
    assert ended.code == 4
    assert "demo/items/2024-01-01: rule `av`: accepted value True is a boolean" in ended.error


def test_change_remove_validate(case):
    """A validation keeps a column that the contract no longer has, in Bronze and in quarantine."""
    case.load()
    case.use_contract("contract2.yml")

    assert case.run_on("2024-01-01", "validate").code == 0

    assert case.rows() == [{"id": 2, "n": 1, "m": 8, "_extra": None}]
    assert [(row.rule, json.loads(row.raw)) for row in case.aside()] == [("r", {"id": 1, "n": -1, "m": 7})]


def test_change_rename_replay(case):
    """A replay of a day of another contract is refused and changes nothing; loading the day again loses nothing."""
    case.load()
    before = case.entry(), case.rows(), case.aside()
    case.use_contract("contract2.yml")

    ended = case.run("quarantine", "replay")

    assert ended.code == 8
    assert (
        "demo/items/2024-01-01: the day was loaded with another contract: column `n` is called `nn` now" in ended.error
    )
    assert "column `k` was integer and is string" in ended.error
    assert "`pipeline backfill --outdated --source demo --resource items" in ended.error
    assert (case.entry(), case.rows(), case.aside()) == before
    assert before[1] == [{"id": 1, "n": "x", "k": 7, "_extra": None}]

    case.load()

    assert case.rows() == [{"id": 2, "nn": "y", "k": "bad", "_extra": None}]
    assert [row.raw for row in case.aside()] == ['{"id":1,"n":"x","k":7}']


def test_change_type_validate(case):
    """A validation of a day of another type is refused with the command that loads the day again."""
    before = case.load()
    case.use_contract("contract2.yml")

    ended = case.run_on("2024-01-01", "validate")

    assert ended.code == 8
    assert "demo/items/2024-01-01: the day was loaded with another contract: column `n` was string" in ended.error
    assert "`pipeline backfill --outdated --source demo --resource items --start-date 2024-01-01" in ended.error
    assert case.entry() == before


def test_replay_resource_gone(case):
    """Rows of a resource or a source that is gone are named, and the others are replayed."""
    case.source.answer = lambda _: (200, {}, b'[{"id":1,"v":1},{"id":2,"v":"bad"}]')
    names = {"demo": ("items", "notes"), "other": ("notes",)}
    for name, resources in names.items():
        case.write_contract(contract(name, resources), name)
    assert case.run("ingest", "--source", "demo", "--source", "other", *DAY).code == 0
    case.write_contract(contract("demo", ("notes",), "evolve"))

    ended = case.run("quarantine", "replay", "--json")

    assert ended.code == 2
    assert "demo/items/2024-01-01" in ended.error
    assert "resource `items` is not part of source `demo`" in ended.error
    found = {(row["source"], row["resource"]): row["admitted"] for row in json.loads(ended.output)}
    assert found == {("demo", "notes"): 1, ("other", "notes"): 0}

    (case.project / "sources" / "demo.yml").unlink()
    case.write_contract(contract("other", ("notes",), "evolve"), "other")

    ended = case.run("quarantine", "replay", "--json")

    assert ended.code == 2
    assert "source `demo` is not in the catalog" in ended.error
    assert [(row["source"], row["admitted"]) for row in json.loads(ended.output)] == [("other", 1)]


# files and folders


def test_conflict_copy_in_ledger(case):
    """Every command names a copy of a record and goes on; a foreign folder in the staging folder stops no load."""
    case.write_contract(contract())
    case.source.answer = lambda _: (200, {}, b'[{"id":1,"v":1}]')
    assert case.run("ingest", "--source", "demo", *DAY).code == 0
    ledger = pathlib.Path(config.settings().bronze_location) / "_ledger" / "demo" / "notes"
    copy = ledger / "2024-01-01 (1).json"
    copy.write_bytes((ledger / "2024-01-01.json").read_bytes())
    (pathlib.Path(config.settings().bronze_location) / "_staging" / "demo" / "notes" / "a folder of someone").mkdir(
        parents=True
    )

    words = f"{copy}: a file that the pipeline did not write"
    for command in (["validate", "--source", "demo", *DAY], ["build"]):
        ended = case.run(*command)

        assert ended.code == 0, ended.errors
        assert words in ended.errors
        assert "Traceback" not in ended.errors
    ended = case.run("status")
    assert ended.code == 7
    assert words in ended.error


@pytest.mark.parametrize("name", ["q?x", "q\\x", "${HOME}"])
def test_data_dir_question_mark(case, env, tmp_path, name):
    """A data folder whose name DuckDB does not read literally is refused by every command."""
    assert (case.folder / "data_dir.txt").read_text().strip() == "q?x"
    env("DATA_DIR", tmp_path / name)

    for command in (["doctor"], ["build"]):
        ended = case.run(*command)

        assert ended.code == 3
        assert f"DATA_DIR={tmp_path / name} is refused" in ended.error
        assert "which DuckDB does not read literally" in ended.error


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_env_file_not_utf8(case, monkeypatch, tmp_path, encoding):
    """An `.env` in another encoding is named by every command."""
    path = tmp_path / ".env"
    path.write_text("# für\nDATA_DIR=/tmp/x\n", encoding=encoding)
    monkeypatch.setitem(config.Settings.model_config, "env_file", path)

    for command in ("status", "doctor"):
        ended = case.run(command)

        assert ended.code == 3
        assert f"{path}: not UTF-8" in ended.error


def test_secret_file_with_quote(case, tmp_path):
    """A value with a quotation mark reaches the file of the secrets unchanged."""
    (tmp_path / ".env").write_text('SMTP_PASSWORD="it\'s"\n')

    ended = case.run("init", "--file", str(tmp_path / ".env"), "--secrets-dir", str(tmp_path / "secrets"))

    assert ended.code == 0
    assert dotenv_values(tmp_path / "secrets" / "settings.env")["SMTP_PASSWORD"] == "it's"


# terminals


def test_status_80_columns(case, api):
    """The day of each row can be read on a terminal of 80 columns."""
    shutil.copy(PROJECT_DIR / "scripts" / "sources" / "jsonplaceholder.yml", case.project / "sources")
    catalog.forget()
    assert case.run("ingest", "--resource", "comments", *DAY).code == 0
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    command = [sys.executable, "-m", "scripts.cli.main", "status"]
    environment = os.environ | {"TERM": "xterm"}
    done = subprocess.run(command, cwd=PROJECT_DIR, env=environment, stdout=theirs, check=False, timeout=600)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)

    assert done.returncode == 0
    assert "2024-01-01" in shown
    assert "…" not in shown
