"""A real Airflow with CeleryExecutor for tests: Redis, and workers that share no folder with it or with each other."""

import contextlib
import os
import secrets
import shutil
import subprocess
import sys

import psutil
import redis
from dotenv import dotenv_values

from scripts.config import PROJECT_DIR
from tests.support.required import without

from .airflow_stack import running_airflow
from .waiting import free_port, wait_for
from .workers import family, kill_family

HOSTNAME = "import os\n\ndef name():\n    return os.environ['WORKER_NAME']\n"
"""The module by which Airflow asks for the name of a worker's machine: here all of them have the same."""


class Worker:
    """A worker as a process, in a folder that nobody else has."""

    def __init__(self, name, queue, folder, environ):
        self.name, self.folder = name, folder
        (folder / "tmp").mkdir(parents=True)
        self.log = folder / "log"
        environ |= {"WORKER_NAME": name, "AIRFLOW_HOME": str(folder / "airflow"), "TMPDIR": str(folder / "tmp")}
        command = [sys.executable, str(PROJECT_DIR / "infra/airflow_worker.py"), queue, "--celery-hostname", name]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, env=environ, stdout=output, stderr=output, start_new_session=True)

    def kill(self):
        """Kill everything at once, as the end of a machine does."""
        kill_family(self.process)

    def stop(self):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(60)
        self.kill()

    def cpu(self):
        """Return the CPU seconds of its processes, also of those that have ended."""
        spent = 0.0
        for one in family(self.process):
            with contextlib.suppress(psutil.NoSuchProcess):
                spent += sum(one.cpu_times()[:4])
        return spent

    def is_ready(self):
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        return (self.folder / "tmp/worker.alive").exists()


@contextlib.contextmanager
def running_redis(folder):
    """Run Redis with a password for the block, and yield its address."""
    if shutil.which("redis-server") is None:
        without("REQUIRE_REDIS", "no Redis here: the package redis-server")
    port, password = free_port(), secrets.token_urlsafe()
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    settings = f"port {port}\nbind 127.0.0.1\nrequirepass {password}\nsave ''\ndir {folder}\n"
    process = subprocess.Popen(["redis-server", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        process.stdin.write(settings.encode())
        process.stdin.close()
        wait_for(lambda: answers(url), "Redis", 60)
        yield url
    finally:
        process.terminate()
        process.wait()


def answers(url):
    try:
        return redis.Redis.from_url(url).ping()
    except redis.ConnectionError:
        return False


@contextlib.contextmanager
def running_workers(folder, count, bucket, broker, *, slots=4, **environ):
    """Run Airflow with workers for the block; yields Airflow, the workers for loads, and the one of the warehouse."""
    (folder / "worker_host.py").write_text(HOSTNAME)
    celery = {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(slots * (count + 1)),
        "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(slots * (count + 1)),
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "300",
        "AIRFLOW__CELERY__BROKER_URL": broker,
        "AIRFLOW__CELERY__RESULT_BACKEND": broker,
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(slots),
        "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS": "bucket_logs.LOGGING_CONFIG",
        **{name: str(value) for name, value in {**bucket, **environ}.items()},
    }
    path = [PROJECT_DIR, PROJECT_DIR / "airflow/dags", PROJECT_DIR / "infra"]
    with contextlib.ExitStack() as stack:
        airflow = stack.enter_context(running_airflow(folder, **celery))
        known = {name: value for name, value in dotenv_values(PROJECT_DIR / "infra/airflow.env").items() if value}
        of_all = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            **known,
            **celery,
            "PYTHONPATH": os.pathsep.join([*map(str, path), str(folder)]),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_DIR / "airflow/dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_DIR / "airflow/plugins"),
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "worker_host.name",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{airflow.url}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://no-database.invalid/",
            "AIRFLOW__API__BASE_URL": airflow.url,
            "AIRFLOW__API__SECRET_KEY": airflow.passwords["AIRFLOW_API_SECRET"],
        }

        def start(name, queue, data):
            own = of_all | {"DATA_DIR": str(data), "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port())}
            worker = Worker(name, queue, folder / name, own)
            stack.callback(worker.stop)
            return worker

        owner = start("owner", "warehouse", folder / "data")
        workers = [start(f"worker-{number}", "default", folder / f"own-{number}") for number in range(count)]
        for worker in (owner, *workers):
            wait_for(worker.is_ready, worker.name, 600)
        yield airflow, workers, owner
