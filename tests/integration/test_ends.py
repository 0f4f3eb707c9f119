"""How commands end where something around them is not as it should be: a line that says what to do, no traceback."""

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.cli.printing import exit_code, show_outcomes
from scripts.cli.tables import print_partitions, print_table
from scripts.config import PROJECT_DIR, settings
from scripts.contracts import catalog
from scripts.errors import SettingsError
from scripts.loading import partitions

PIPELINE = [sys.executable, "-m", "scripts.cli.main"]


@pytest.fixture
def env_file(monkeypatch, tmp_path):
    """Write the `.env` of the settings."""
    path = tmp_path / ".env"
    monkeypatch.setitem(settings.__wrapped__.__globals__["Settings"].model_config, "env_file", path)

    def write(content):
        path.write_bytes(content)
        settings.cache_clear()
        return path

    return write


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"# f\xfcr\nLOG_LEVEL=INFO\n", "not UTF-8: byte 0xfc at position 3"),
        ("LOG_LEVEL=INFO\n".encode("utf-16"), "not UTF-8: byte 0xff at position 0"),
        (b"LOG_LEVEL=INFO\nSMTP_PASSWORD='it's'\n", "line 2: cannot be parsed"),
    ],
    ids=["latin-1", "utf-16", "quotes"],
)
def test_an_env_file_that_cannot_be_read_is_named(env_file, content, words):
    path = env_file(content)

    with pytest.raises(SettingsError, match=words) as caught:
        settings()
    assert str(path) in str(caught.value)


def test_a_byte_order_mark_does_not_hide_the_first_setting(env_file, monkeypatch):
    monkeypatch.delenv("API_RETRIES", raising=False)
    env_file(b"\xef\xbb\xbfAPI_RETRIES=7\nLOG_LEVEL=ERROR\n")

    assert settings().api_retries == 7


@pytest.mark.parametrize(
    "name", ["~nobody-of-this-name/x", "/tmp/a?b", "/tmp/a\\b", "/tmp/${HOME}", "/tmp/[a]", "/tmp/a*"]
)
def test_a_data_folder_with_a_name_that_cannot_work_is_refused(env, name):
    env("DATA_DIR", name)

    with pytest.raises(SettingsError, match=r"DATA_DIR=.* is refused: "):
        settings()


def test_a_reader_that_leaves_is_no_error(tmp_path):
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [*PIPELINE, "status"], stdout=write, stderr=subprocess.PIPE, cwd=PROJECT_DIR, text=True, check=False
        )
    finally:
        os.close(write)

    assert (done.returncode, done.stderr) == (141, "")


def test_a_closed_output_is_a_line_that_says_what_to_do():
    done = subprocess.run(
        ["sh", "-c", f"{' '.join(PIPELINE)} status >&-"],
        stderr=subprocess.PIPE,
        cwd=PROJECT_DIR,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.startswith("error: stdout is closed")


def test_a_full_output_is_a_line_and_no_success():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PIPELINE, "status"], stdout=full, stderr=subprocess.PIPE, cwd=PROJECT_DIR, text=True, check=False
        )

    assert done.returncode == 12
    assert len(done.stderr.splitlines()) == 1


def test_a_day_is_never_cut_or_folded_on_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    header = ("source", "resource", "day", "state", "declared", "fetched", "bronze", "quarantined", "silver")
    row = ("jsonplaceholder", "comments", dt.date(2024, 1, 2), "not validated", 1_000_000, 1_000_000, 999_999, 1, None)

    print_table("Partitions", header, [row])

    shown = capsys.readouterr().out
    assert "2024-01-02" in shown
    assert shown.count("1000000") == 2
    assert "…" not in shown


def test_an_exception_that_nobody_foresaw_is_the_outcome_of_its_partition(api, run, monkeypatch, capsys):
    real = partitions.ingest_partition

    def break_on_users(source, name, *arguments, **more):
        if name == "users":
            return {}[name]
        return real(source, name, *arguments, **more)

    monkeypatch.setattr(partitions, "ingest_partition", break_on_users)

    outcomes = partitions.load(run, partitions.partitions([dt.date(2024, 1, 1)], ["jsonplaceholder"]))
    show_outcomes(outcomes, as_json=False)

    shown = capsys.readouterr()
    assert [outcome.partition.resource for outcome in outcomes if outcome.error] == ["users"]
    assert "error: jsonplaceholder/users/2024-01-01: KeyError: 'users'" in shown.err
    assert all(name in shown.out for name in ("posts", "users", "comments", "todos"))
    assert exit_code(outcomes) == 1


def test_a_source_without_its_secret_does_not_stop_the_others(api, run, monkeypatch):
    document = catalog.pick("coin_prices").model_dump(mode="json", exclude_defaults=True)
    locked = document | {"auth": {"type": "bearer", "token_env": "COIN_PRICES_TOKEN"}}
    sources = dict(catalog.load()) | {"coin_prices": type(catalog.pick("coin_prices")).model_validate(locked)}
    monkeypatch.setattr(catalog, "read_all", lambda: catalog.Catalog(sources, {}))

    days = [dt.date(2024, 1, 1)]
    outcomes = partitions.load(run, partitions.partitions(days, ["coin_prices", "jsonplaceholder"]))

    assert {o.partition.source: type(o.error) for o in outcomes} == {
        "coin_prices": SettingsError,
        "jsonplaceholder": type(None),
    }


def test_replay_names_what_is_gone_from_the_catalog_and_replays_the_rest(api, run, monkeypatch, start):
    day = dt.date(2024, 1, 2)
    partitions.load(run, partitions.partitions([day], ["jsonplaceholder"], ["posts"]))
    partition = partitions.Partition("jsonplaceholder", "posts", day)
    gone = partitions.Partition("jsonplaceholder", "albums", day)
    for path in (run.store.entry_path, run.store.quarantine_path, run.store.data_path):
        path(gone).parent.mkdir(parents=True, exist_ok=True)
        path(gone).write_bytes(path(partition).read_bytes().replace(b'"posts"', b'"albums"'))

    done = start("quarantine", "replay")

    assert done.returncode == 2
    assert "posts" in done.stdout
    assert "error: jsonplaceholder/albums/2024-01-02: resource `albums` is not part of source" in done.stderr
    assert "Traceback" not in done.stderr


def test_many_days_that_are_alike_are_one_row_with_their_sum(capsys):
    """A status of 50,000 partitions is read by a person, and printed within a second."""
    day = dt.date(2024, 1, 1)
    rows = []
    for number in range(100):
        today = day + dt.timedelta(days=number)
        state = "missing" if number in (40, 41) else "built"
        then = f"`pipeline backfill --start-date {today} --end-date {today}`" if state == "missing" else "nothing"
        rows.append(("shop", "orders", today, state, None if state == "missing" else 10, then))
    print_partitions("Partitions", ("source", "resource", "day", "state", "rows", "next"), rows[:50])
    assert capsys.readouterr().out.count("orders") == 50

    print_partitions("Partitions", ("source", "resource", "day", "state", "rows", "next"), rows)

    header, _, *lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()[2:] if line]
    assert header[2].startswith("days ")
    assert [" ".join(line[2].split()) for line in lines] == [
        "2024-01-01 to 2024-02-09 built 400 nothing",
        "2024-02-10 to 2024-02-11 missing - `pipeline backfill --start-date 2024-02-10 --end-date 2024-02-11`",
        "2024-02-12 to 2024-04-09 built 580 nothing",
    ]
