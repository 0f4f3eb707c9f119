"""A clone of the repository with its own stack in Docker, used with make as people do."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import duckdb
import requests
from dotenv import dotenv_values

from tests.support.clone import clone

SERVICES = ("postgres", "api-server", "scheduler", "dag-processor", "triggerer", "n8n", "docs", "sample-api")
USERS = {"postgres": "postgres"}
"""As whom a service's process is ended, where it is not the container's user."""


class Stack:
    """What a person does with a stack, and sees of it."""

    def __init__(self, folder, project, **environ):
        self.folder, self.project = folder, project
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "UV_PROJECT"))},
            "COMPOSE_PROJECT_NAME": project,
            "DEMO": "1",
            **environ,
        }

    def make(self, *arguments, check=True):
        """Run a target, and return the process; its output is that of the failed assertion."""
        done = subprocess.run(
            ["make", *arguments], cwd=self.folder, env=self.environ, text=True, capture_output=True, check=False
        )
        assert not check or done.returncode == 0, (
            f"make {' '.join(arguments)}\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
        )
        return done

    def compose(self, *arguments):
        """Run docker compose on the stack, and return what it prints."""
        files = ["--env-file", ".env", "-f", "infra/docker-compose.yml", "--profile", "*"]
        command = ["docker", "compose", *files, *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environ, text=True, capture_output=True, check=True
        ).stdout

    @property
    def env(self):
        return dotenv_values(self.folder / ".env")

    def url(self, service):
        return f"http://127.0.0.1:{self.env[f'{service}_PORT']}"

    def page(self, path):
        """Return a page of the docs service; nothing while it is not there."""
        answer = requests.get(f"{self.url('DOCS')}/{path}", timeout=10)
        return answer.text if answer.ok else None

    def webhook(self, method="POST", **options):
        """Ask the webhook, and return the status and the document."""
        auth = ("backfill", self.env["BACKFILL_WEBHOOK_SECRET"])
        answer = requests.request(method, f"{self.url('N8N')}/webhook/backfill", auth=auth, timeout=60, **options)
        return answer.status_code, answer.json() if "json" in answer.headers.get("Content-Type", "") else answer.text

    def containers(self):
        """Return each running service's container, its health and how often Docker started it again."""
        ids = self.compose("ps", "--quiet").split()
        found = json.loads(subprocess.check_output(["docker", "inspect", *ids])) if ids else []
        return {
            item["Config"]["Labels"]["com.docker.compose.service"]: (
                item["Id"],
                item["State"].get("Health", {}).get("Status"),
                item["RestartCount"],
            )
            for item in found
        }

    def replicas(self, service):
        """Return the host name and the health of each running container of a service."""
        ids = self.compose("ps", "--quiet", service).split()
        found = json.loads(subprocess.check_output(["docker", "inspect", *ids])) if ids else []
        return {item["Config"]["Hostname"]: item["State"].get("Health", {}).get("Status") for item in found}

    def images(self):
        """Return the image of each running service."""
        ids = self.compose("ps", "--quiet").split()
        found = json.loads(subprocess.check_output(["docker", "inspect", *ids]))
        return {item["Config"]["Labels"]["com.docker.compose.service"]: item["Config"]["Image"] for item in found}

    def kill(self, service):
        """End the process of a service from inside, without warning: `docker kill` counts as a stop by hand."""
        user = ["--user", USERS[service]] if service in USERS else []
        try:
            self.compose("exec", "-T", *user, service, "sh", "-c", "kill -9 $(cat /proc/1/task/1/children)")
        except subprocess.CalledProcessError as error:
            # the container may end, and this command with it, before the shell does
            if error.returncode != 128 + signal.SIGKILL:
                raise

    def built_days(self):
        """Return the days whose rows are in the published warehouse, opened as a reader on the host does."""
        path = self.folder / "data" / "warehouse.duckdb"
        if not path.exists():
            return set()
        with duckdb.connect(str(path), read_only=True) as connection:
            rows = connection.execute(
                "select dt from _pipeline.partitions as seen group by dt having bool_and(exists ("
                "select 1 from _pipeline.held as held where (held.source, held.resource, held.dt, held.content_hash)"
                " = (seen.source, seen.resource, seen.dt, seen.content_hash)))"
            )
            return {str(row[0]) for row in rows.fetchall()}

    def tables(self):
        """Return every table of the published warehouse, as one hash of its rows each."""
        with duckdb.connect(str(self.folder / "data" / "warehouse.duckdb"), read_only=True) as connection:
            names = connection.execute(
                "select schema_name || '.' || table_name from duckdb_tables() where schema_name in ('silver', 'gold')"
            ).fetchall()
            assert names
            return {
                name: connection.execute(f"select count(*), bit_xor(hash(t)) from {name} as t").fetchone()
                for (name,) in names
            }

    def left_behind(self):
        """Return the commands that remove what there is of the project: containers, then volumes and networks."""
        label = f"label=com.docker.compose.project={self.project}"
        kinds = {
            ("ps", "--all"): ("rm", "--force"),
            ("volume", "ls"): ("volume", "rm"),
            ("network", "ls"): ("network", "rm"),
        }
        found = {
            remove: subprocess.check_output(["docker", *look, "--quiet", "--filter", label], text=True).split()
            for look, remove in kinds.items()
        }
        return [["docker", *remove, *names] for remove, names in found.items() if names]


@contextlib.contextmanager
def running_stack(folder, project, *, backup=None, lines=(), **environ):
    """Start a stack from nothing, or from a backup, for the block; at the end nothing of it is left.

    `lines` are in `.env` before anything else.
    """
    stack = Stack(clone(folder), project, **environ)
    (stack.folder / ".env").write_text("".join(f"{line}\n" for line in lines))
    for command in stack.left_behind():  # of a run of the tests that was killed
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    try:
        if backup is not None:
            stack.make("restore", f"FROM={backup}")
        stack.make("up")
        yield stack
    except BaseException:
        sys.stdout.write(stack.compose("ps", "--all") + stack.compose("logs", "--tail", "60")[-30000:])
        raise
    finally:
        stack.make("reset", "CONFIRM=yes")
    assert stack.left_behind() == []
