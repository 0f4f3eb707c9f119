"""Disks that are full or read-only, and processes that want the same partition."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading

import pytest

from scripts.config import PROJECT_DIR
from scripts.errors import LockedError, StorageError, StorageFullError, from_os_error
from scripts.utils.files import is_locked, lock_holder, locked, write_atomically

DAY = ["--start-date", "2024-01-01", "--end-date", "2024-01-03"]


@pytest.fixture
def mounted(tmp_path, start):
    """Run the command line with its data folder on a file system of its own: `mounted(options, script)`."""
    if shutil.which("unshare") is None:
        pytest.skip("needs `unshare` from util-linux")
    probe = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False)
    flags = "-rm" if probe.returncode == 0 else "-m"
    if probe.returncode != 0 and os.getuid() != 0:
        pytest.skip("needs user namespaces, or root, to mount a small file system")

    def call(script):
        folder = tmp_path / "disk"
        folder.mkdir(exist_ok=True)
        environ = {"DATA_DIR": str(folder / "data"), "PYTHON": sys.executable, "DISK": str(folder)}
        return start(program=["unshare", flags, "bash", "-ec", script], **environ)

    return call


def test_a_full_disk_is_one_line_and_loses_nothing(mounted, api):
    done = mounted(
        """
        mount -t tmpfs -o size=1200k tmpfs $DISK
        $PYTHON -m scripts.cli.main ingest --start-date 2024-01-01 --end-date 2024-01-01 --json > /dev/null 2>&1
        before=$(cat $DISK/data/bronze/_ledger/*/posts/2024-01-01.json)
        dd if=/dev/zero of=$DISK/filler bs=1k count=5000 2> /dev/null || true
        code=0; $PYTHON -m scripts.cli.main ingest --start-date 2024-01-01 --end-date 2024-01-03 > /dev/null || code=$?
        after=$(cat $DISK/data/bronze/_ledger/*/posts/2024-01-01.json)
        [ "$before" = "$after" ]
        rm $DISK/filler
        mount -o remount,size=64m $DISK
        $PYTHON -m scripts.cli.main ingest --start-date 2024-01-01 --end-date 2024-01-03 --json > $DISK/../result.json
        $PYTHON -m scripts.cli.main status --json > /dev/null
        exit $code
        """
    )

    assert done.returncode == 12, done.stderr
    assert "no space left on the disk" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_read_only_folder_is_one_line(mounted, api):
    done = mounted(
        """
        mount -t tmpfs -o ro tmpfs $DISK
        $PYTHON -m scripts.cli.main ingest --start-date 2024-01-01 --end-date 2024-01-01
        """
    )

    assert done.returncode == 11, done.stderr
    assert done.stderr.count("error: ") == 1
    assert "cannot be written or read (Read-only file system)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("rows", [1000, 10_000_000], ids=["in the log of a transaction", "in a table"])
def test_a_disk_that_fills_up_while_the_build_file_is_written_is_named(rows, mounted):
    done = mounted(
        f"""
        mount -t tmpfs -o size=2m tmpfs $DISK
        $PYTHON -c "
import os, pathlib
from scripts.errors import StorageFullError
from scripts.warehouse.database import writing
path = pathlib.Path(os.environ['DISK']) / 'build.duckdb'
try:
    with writing(path) as connection:
        connection.execute('create table before (id integer)')
        left = os.statvfs(path).f_bavail * os.statvfs(path).f_frsize
        (path.parent / 'filler').write_bytes(bytes(left // 4096 * 4096))
        connection.execute('create table t as select hash(range) as value from range({rows})')
except StorageFullError as error:
    print(error)
    raise SystemExit(error.exit_code)
"
        """
    )

    assert done.returncode == 12, done.stderr
    assert "no space left on the disk for the build" in done.stdout
    assert "free space" in done.stdout


def test_a_disk_that_fills_up_in_a_build_changes_nothing_that_is_published(mounted, api):
    done = mounted(
        """
        days="--start-date 2024-01-01 --end-date 2024-01-01"
        mount -t tmpfs -o size=64m tmpfs $DISK
        $PYTHON -m scripts.cli.main run $days > /dev/null
        dd if=/dev/zero of=$DISK/filler bs=1k count=$(($(df -k --output=avail $DISK | tail -1) - 1000)) 2> /dev/null
        code=0; $PYTHON -m scripts.cli.main build --full-refresh > /dev/null || code=$?
        rm $DISK/filler
        [ "$(readlink $DISK/data/warehouse/current)" = builds/000001 ]
        $PYTHON -m scripts.cli.main status > /dev/null
        $PYTHON -m scripts.cli.main build --full-refresh > /dev/null
        [ "$(readlink $DISK/data/warehouse/current)" = builds/000002 ]
        exit $code
        """
    )

    assert done.returncode == 12, done.stderr
    assert "no space left on the disk" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_explains_a_read_only_folder(mounted):
    done = mounted("mount -t tmpfs -o ro tmpfs $DISK; $PYTHON -m scripts.cli.main doctor --json")

    assert done.returncode == 1
    (finding,) = [row for row in json.loads(done.stdout) if row["check"] == "data folder"]
    assert "DATA_DIR" in finding["fix"]


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (28, StorageFullError, 12),
        (122, StorageFullError, 12),
        (30, StorageError, 11),
        (13, StorageError, 11),
        (5, StorageError, 11),
    ],
)
def test_each_error_of_the_system_has_its_class(number, kind, code):
    error = from_os_error(OSError(number, os.strerror(number), "/data/x"))

    assert (type(error), error.exit_code) == (kind, code)
    assert "/data/x" in str(error)


def test_a_lock_is_waited_for_and_says_for_whom(tmp_path):
    path = tmp_path / "lock"
    with locked(path, purpose="the first", timeout=0):
        assert is_locked(path)
        assert "the first (process" in lock_holder(path)
        with (
            pytest.raises(LockedError, match="the second waited 0 s for the first"),
            locked(path, purpose="the second", timeout=0),
        ):
            pass
    assert not is_locked(path)


def test_who_waits_says_each_holder_once_also_one_that_writes_its_name_late(tmp_path, mocker):
    """A holder locks first and writes its name then: who came between said that it waits for another process."""
    path = tmp_path / "lock"
    held = path.open("w")
    fcntl.flock(held, fcntl.LOCK_EX)

    def name(purpose):
        path.write_text(json.dumps({"pid": 1, "purpose": purpose, "since_epoch_s": 0}))

    steps = iter([lambda: name("the first"), lambda: None, lambda: name("the next"), held.close])
    mocker.patch("scripts.utils.files.time.sleep", side_effect=lambda _: next(steps)())
    log = mocker.patch("scripts.utils.files._log")
    with locked(path, purpose="the last", timeout=600):
        pass

    told = [call.args[1].split(" (")[0] for call in log.info.call_args_list]
    assert told == ["the first", "the next"]


def test_a_lock_without_a_file_to_keep_is_still_exclusive(tmp_path):
    path, inside, most = tmp_path / "lock", [], []
    guard = threading.Lock()

    def work():
        for _ in range(20):
            with locked(path, purpose="work", timeout=600, keep_file=False):
                with guard:
                    inside.append(1)
                    most.append(len(inside))
                with guard:
                    inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert max(most) == 1
    assert not path.exists()


def test_two_loads_of_one_partition_wait_for_each_other(api):
    command = [
        sys.executable,
        "-m",
        "scripts.cli.main",
        "ingest",
        "--start-date",
        "2024-01-02",
        "--end-date",
        "2024-01-02",
        "--resource",
        "comments",
        "--json",
    ]
    processes = [
        subprocess.Popen(
            command, cwd=PROJECT_DIR, env=os.environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    results = [process.communicate(timeout=1200) for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert {json.loads(out)[0]["fetched"] for out, _ in results} == {550}


def test_an_atomic_write_leaves_no_temporary_file(tmp_path):
    write_atomically(tmp_path / "a.json", b"1")
    write_atomically(tmp_path / "a.json", b"2")

    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_bytes() == b"2"
