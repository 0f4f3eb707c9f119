"""Processes of dbt: copies of a worker that has imported dbt, or programs of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, Protocol

from scripts.utils.logging_config import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_log = get_logger("dbt")
_DBT = "import json, sys; sys.argv = ['dbt', *json.load(open(int(sys.argv[1])))]; from dbt.cli.main import cli; cli()"
"""A program; the command line is in a file, since the ledger may be in it and the kernel limits an argument."""
_READ = (
    f"import sys; sys.path.append({str(Path(__file__).parents[2])!r});"
    f" from scripts.warehouse.worker import end_without_reader; end_without_reader(); {_DBT}"
)
"""The same for another Python too, which does not have our packages."""
_WORKER = (sys.executable, "-P", "-m", "scripts.warehouse.worker")
_STDERR = 2


class Command(NamedTuple):
    """A command of dbt."""

    arguments: Sequence[str]
    """The command line after `dbt`."""
    folder: Path
    environment: Mapping[str, str]
    inherited: Sequence[int] = ()
    """File descriptors that dbt keeps open, such as the builder's lock."""
    python: str | None = None
    """Another Python than ours, in which the command runs as a program of its own."""


class Running(Protocol):
    """A running command, which writes its output to a pipe."""

    @property
    def stdout(self) -> IO[str] | None:
        """The output of the command."""

    def wait(self) -> int:
        """Wait until the command has ended, and return its exit code."""

    def poll(self) -> int | None:
        """Return the exit code; None if `wait` has not returned it and the command may run."""

    def terminate(self) -> None:
        """Ask the command to end."""


def prepare(environment: Mapping[str, str]) -> None:
    """Start this process's worker if there is none; it imports dbt while this process does other work."""
    with _one_at_a_time() as is_free:
        if is_free:
            _worker(environment)


@contextlib.contextmanager
def running(command: Command) -> Iterator[Running]:
    """Start a command whose output is read; at the end of the block, it is asked to end if it still runs.

    If this process is killed, the command ends too.

    The command runs in this process's worker, which is started first if there is none. If the worker is in use or
    cannot be started, the command runs as a program of its own.
    """
    with _one_at_a_time() as is_free:
        in_worker = _in_worker(command) if is_free and command.python is None else None
        process = in_worker or _start(command, output=subprocess.PIPE)
        try:
            yield process
        finally:
            _end(process)


def run_in_terminal(command: Command) -> int:
    """Run a command with the input and output of this process, and return its exit code."""
    process = _start(command)
    try:
        return process.wait()
    finally:
        _end(process)


class _Worker:
    """A process of `scripts.warehouse.worker`, and the socket through which it takes requests."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 — our own arguments
                [*_WORKER, str(theirs.fileno())],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self.answers = self.socket.makefile("r")
        self.owner = os.getpid()

    def stop(self) -> None:
        self.answers.close()
        self.socket.close()
        if self.owner == os.getpid():
            self._process.wait()


class _WorkerCommand:
    """A command that runs in a worker."""

    def __init__(self, worker: _Worker, command: Command) -> None:
        self._answers = worker.answers
        self._code: int | None = None
        output, theirs = os.pipe()
        self.stdout: IO[str] = os.fdopen(output, encoding="utf-8")
        try:
            with tempfile.TemporaryFile("w+", encoding="utf-8") as request:
                text = {"arguments": [*command.arguments], "folder": str(command.folder)}
                json.dump({**text, "environment": dict(command.environment)}, request)
                request.seek(0)
                socket.send_fds(worker.socket, [b"+"], [request.fileno(), theirs, _STDERR, *command.inherited])
            process = self._answer()
            if process is None:
                raise BrokenPipeError
        except OSError:
            self.stdout.close()
            raise
        finally:
            os.close(theirs)
        self._process = process

    def wait(self) -> int:
        """Return the exit code; that of a killed process if the worker was killed."""
        if self._code is None:
            code = self._answer()
            self._code = -signal.SIGKILL if code is None else code
        return self._code

    def poll(self) -> int | None:
        return self._code

    def terminate(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGTERM)

    def _answer(self) -> int | None:
        line = self._answers.readline()
        return int(line) if line else None


_lock = threading.Lock()
_workers: list[_Worker] = []
"""The worker of this process, or of the process of which this one is a copy; empty before the first command."""


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[bool]:
    """Return in the block whether the worker is free; it stays reserved until the end of the block."""
    is_free = _lock.acquire(blocking=False)
    try:
        yield is_free
    finally:
        if is_free:
            _lock.release()


def _in_worker(command: Command) -> Running | None:
    worker = _worker(command.environment)
    try:
        return _WorkerCommand(worker, command) if worker else None
    except OSError as error:
        _log.warning("dbt runs as a program of its own, because its worker does not answer: %s", error)
        _forget_worker()
        return None


def _worker(environment: Mapping[str, str]) -> _Worker | None:
    """Return this process's worker, which is started if there is none; None if it cannot be started."""
    if _workers and _workers[0].owner != os.getpid():
        _forget_worker()
    try:
        if not _workers:
            _workers.append(_Worker({k: v for k, v in environment.items() if not k.startswith("DBT_")}))
    except OSError as error:
        _log.warning("dbt runs as a program of its own, because its worker cannot be started: %s", error)
        return None
    return _workers[0]


def _forget_worker() -> None:
    while _workers:
        _workers.pop().stop()


def _start(command: Command, *, output: int | None = None) -> subprocess.Popen[str]:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as arguments:
        json.dump([*command.arguments], arguments)
        arguments.seek(0)
        return subprocess.Popen(  # noqa: S603 — our own arguments
            [command.python or sys.executable, "-P", "-c", _DBT if output is None else _READ, str(arguments.fileno())],
            cwd=command.folder,
            env=command.environment,
            stdout=output,
            text=True,
            pass_fds=(arguments.fileno(), *command.inherited),
        )


def _end(process: Running) -> None:
    if process.poll() is None:
        process.terminate()
        process.wait()
    if process.stdout:
        process.stdout.close()
