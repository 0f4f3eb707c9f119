"""A program that imports dbt once, and runs each command of dbt in a copy of its process (fork).

The import takes longer than many commands. Each command has its own process, environment, folder and output, so that
nothing of one command reaches another. `scripts.warehouse.process` starts the program and sends it requests
through a socket. The program ends when the socket is closed.

A request is one byte with file descriptors: a file with the request in JSON, stdout and stderr of the command, and
files that the command keeps open. The answer is two lines: the process id, and at the end the exit code.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_FILES = 16
_PARSING_FROM = 3
_IMPORTED = (
    *("dbt.cli.main", "dbt.adapters.duckdb", "dbt.adapters.duckdb.environments.local", "dbt.task.build"),
    *("dbt_common.clients.agate_helper", "scripts.warehouse.duckdb_plugin"),
)
"""What the worker imports before the first command."""
CHECKED_ALWAYS = {
    "dbt.contracts.project": ("Project", "ProjectFlags", "Configuration", "PackageConfig"),
    "dbt.contracts.selection": ("SelectorFile",),
    "dbt.adapters.duckdb.credentials": ("DuckDBCredentials",),
}
"""Classes for which each command makes a JSON schema, in 0.7 seconds; they are made once, before the first command."""
CHECKED_WHEN_PARSING = {
    "dbt.contracts.graph.nodes": ("HookNode", "ModelNode", "SeedNode", "SingularTestNode", "GenericTestNode"),
    "dbt.contracts.graph.unparsed": ("UnparsedSourceDefinition", "UnparsedModelUpdate", "UnparsedMacroUpdate"),
    "dbt.artifacts.resources": ("SeedConfig", "NodeConfig", "ModelConfig", "TestConfig", "SourceConfig"),
}
"""The same for each command that parses files: two seconds. They are made before the third command, since most workers
run two commands at most."""


def main() -> None:
    """Serve requests from the socket whose file descriptor is the only argument."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    # the terminal interrupts all its processes; the one that sent the request decides what happens
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # what is imported stays until the end: looking for garbage in it takes time
    gc.disable()
    for name in _IMPORTED:
        importlib.import_module(name)
    make_schemas(CHECKED_ALWAYS)
    gc.enable()
    for command in itertools.count(1):
        signs, files, _, _ = socket.recv_fds(connection, 1, _MOST_FILES)
        if not signs:
            return
        if command == _PARSING_FROM:
            make_schemas(CHECKED_WHEN_PARSING)
        process = os.fork()
        if process == 0:
            connection.close()
            _run(files)
        for file in files:
            os.close(file)
        _answer(connection, process)
        _answer(connection, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))


def make_schemas(classes: Mapping[str, Sequence[str]]) -> None:
    """Make the JSON schemas of classes, by their module; dbt keeps each for the life of the process."""
    for module, names in classes.items():
        for name in names:
            getattr(importlib.import_module(module), name).json_schema()


def _answer(connection: socket.socket, number: int) -> None:
    # the process that sent the request may have been killed; the command then ends by itself
    try:
        connection.sendall(b"%d\n" % number)
    except BrokenPipeError:
        sys.exit()


def end_without_reader() -> None:
    """Let this process end as soon as nobody reads its output any more, since the process that started it was killed.

    A command that goes on would keep the builder's lock, and for ever if what it says about its output blocks it.
    """
    watched = select.poll()
    # without events it returns only when the reader has gone
    watched.register(sys.stdout.fileno(), 0)

    def end() -> None:
        watched.poll()
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=end, name="end without reader", daemon=True).start()


def _run(files: Sequence[int]) -> None:
    """Become the process of one command of dbt, and end with its exit code."""
    from dbt.cli.main import cli

    request, *outputs = files[:3]
    with os.fdopen(request, encoding="utf-8") as file:
        told = json.load(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, output in zip((sys.stdout.fileno(), sys.stderr.fileno()), outputs, strict=True):
        os.dup2(output, number)
        os.close(output)
    end_without_reader()
    os.environ.clear()
    os.environ.update(told["environment"])
    time.tzset()
    os.chdir(told["folder"])
    sys.argv = ["dbt", *told["arguments"]]
    cli(told["arguments"])


if __name__ == "__main__":
    main()
