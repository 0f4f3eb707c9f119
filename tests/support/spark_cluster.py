"""A Spark cluster of pip's pyspark on this machine: a master, two workers and a Thrift server."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from scripts.config import PROJECT_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PYTHON = PROJECT_DIR / "infra/spark/.venv/bin/python"
_SECONDS = 900
_HOST = "127.0.0.1"
_SQL = """
import json, sys
from pyhive import hive
cursor = hive.connect(host=sys.argv[1], port=int(sys.argv[2]), auth="NOSASL", username="test").cursor()
for line in sys.stdin:
    try:
        cursor.execute(json.loads(line))
        found = {"rows": cursor.fetchall() if cursor.description else []}
    except Exception as error:
        found = {"error": str(error)[:2000]}
    print(json.dumps(found, default=str), flush=True)
"""


class SparkError(Exception):
    """Spark refused a statement."""


class Client:
    """A session of the Thrift server, in a process of the environment that has its client."""

    def __init__(self, port: int) -> None:
        """Start the process."""
        command = [str(PYTHON), "-c", _SQL, _HOST, str(port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def query(self, sql: str) -> list[list[object]]:
        """Return the rows of a statement."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(sql) + "\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        if "error" in found:
            raise SparkError(found["error"])
        return list(found["rows"])

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


class Cluster(NamedTuple):
    """A running cluster."""

    port: int
    """Of the Thrift server."""
    folder: Path

    @property
    def tables(self) -> Path:
        """The folder with a folder for each schema, which has one of Parquet files for each table."""
        return self.folder / "tables"

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """Open a session."""
        client = Client(self.port)
        try:
            yield client
        finally:
            client.close()


@contextlib.contextmanager
def running_cluster(folder: Path, *, memory: str = "1g") -> Iterator[Cluster]:
    """Run a cluster whose files are in `folder`."""
    if not PYTHON.exists():
        message = "dbt for Spark is not installed: `make setup-spark` installs it"
        raise FileNotFoundError(message)
    home = next((PYTHON.parent.parent / "lib").glob("python3*/site-packages/pyspark"))
    environ = {**os.environ, "SPARK_HOME": str(home), "PYSPARK_PYTHON": str(PYTHON), "SPARK_WORKER_DIR": str(folder)}
    master, thrift = _free_port(), _free_port()
    url = f"spark://{_HOST}:{master}"
    spark = str(home / "bin/spark-class")
    deploy = "org.apache.spark.deploy"
    local = ["--host", _HOST, "--webui-port", "0"]
    server = [
        *(str(home / "bin/spark-submit"), "--class", "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"),
        *("--master", url, "--driver-memory", memory),
        *_settings(
            {
                "spark.driver.host": _HOST,
                "spark.driver.bindAddress": _HOST,
                "spark.ui.enabled": "false",
                "spark.executor.memory": memory,
                "spark.sql.shuffle.partitions": "2",
                "spark.sql.session.timeZone": "UTC",
                "spark.sql.warehouse.dir": str(folder / "tables"),
                "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={folder}/catalog;create=true",
                "spark.driver.extraJavaOptions": f"-Dderby.stream.error.file={folder}/derby.log",
            }
        ),
        *("--hiveconf", f"hive.server2.thrift.port={thrift}", "--hiveconf", f"hive.server2.thrift.bind.host={_HOST}"),
        *("--hiveconf", "hive.server2.authentication=NOSASL", "spark-internal"),
    ]
    programs = {
        "master": [spark, f"{deploy}.master.Master", *local, "--port", str(master)],
        "worker1": [spark, f"{deploy}.worker.Worker", *local, "--cores", "1", "--memory", memory, url],
        "worker2": [spark, f"{deploy}.worker.Worker", *local, "--cores", "1", "--memory", memory, url],
        "thrift": server,
    }
    with contextlib.ExitStack() as stack:
        for name, command in programs.items():
            process = stack.enter_context(_running(name, command, folder, environ))
            if name == "master":
                _wait_for(master, process, folder / "master.log")
        _wait_for(thrift, process, folder / "thrift.log")
        yield Cluster(thrift, folder)


def _settings(values: dict[str, str]) -> Sequence[str]:
    return [part for name, value in values.items() for part in ("--conf", f"{name}={value}")]


@contextlib.contextmanager
def _running(
    name: str, command: Sequence[str], folder: Path, environ: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((_HOST, 0))
        return int(found.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    waiting = threading.Event()
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as client:
            if client.connect_ex((_HOST, port)) == 0:
                return
        waiting.wait(0.5)
    raise TimeoutError(log.read_text()[-3000:])
