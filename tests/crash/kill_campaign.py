"""A campaign of kills: random commands are killed with -9 at random moments, and the data is checked after each.

    python tests/crash/kill_campaign.py --kills 1000 --seed 1

Each command runs in a session of its own. A kill ends the whole session, only the command, or only dbt's process. Its
moment is chance, or an event: a file is staged, a load is committed, DuckDB's log grows, a version is published. After
each kill `kill_checks` looks at what readers see; after every few kills, all days are loaded and built, and the tables
must be what Bronze says. Prints the counts, or the seed and the command after which a check failed.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import fnmatch
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.crash import kill_checks
from tests.support.answering import answering
from tests.support.clone import clone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.support.answering import Answer, Ask

DAYS = tuple(f"2024-01-0{number}" for number in range(1, 6))
CONTRACT = """
source: demo
description: Items of the campaign.
owner: me@example.com
base_url: http://127.0.0.1:1
base_url_env: DEMO_BASE_URL
headers: {X-Logical-Date: "{day}"}
default_resource: items
resources:
  items:
    description: Items.
    path: /items
    primary_key: [id]
    columns:
      - {name: id, type: integer, nullable: false, description: Key.}
      - {name: g, type: integer, description: Group.}
      - {name: n, type: integer, description: Number.}
      - {name: value, type: string, description: Value.}
    rules:
      - {name: n_min, column: n, range: {min: 0}, severity: quarantine}
"""
STAGING = """
{{ config(unique_key='id') }}
select id, g, n, value, first_seen_date, last_seen_date from {{ latest_row_per_key('demo', 'items') }}
"""
MART = """
{{ config(unique_key='g', contract={'enforced': false}, meta={'affected_by': {'stg_demo__items': ['g']}}) }}
select g, count(*) as item_count
from {{ ref('stg_demo__items') }}
{% if is_incremental() %}where {{ in_affected_keys(['g']) }}{% endif %}
group by 1
"""
PRUNE = """
from scripts.admin.prune import prune
from scripts.bronze.run import Run
prune(Run.create(triggered_by="campaign"), "logs", keep_log_days=1, dry_run=False)
"""
ENDINGS = {0, 2, 7, 8, 9, 10, 14}
"""Exit codes of commands that were not killed: refusals count as right, bugs (1) do not."""
LOADING = ("chance", "staged", "committed")
BUILDING = ("chance", "log", "published")
LOADS = {"reload", "run", "reload and build"}
BUILDS = {"run", "reload and build", "build", "full refresh", "reconcile"}


class CampaignError(Exception):
    """A check failed; the message has the seed and what ran before."""


class Campaign:
    """A project with one source, its data, and the commands that run on it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.home, self.data = make_project(folder / "project"), folder / "data"
        self.versions = dict.fromkeys(DAYS, 0)
        self.lock = threading.Lock()
        self.seconds: dict[str, float] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.last: list[str] = []
        self.environ: dict[str, str] = {}
        self.on_request: Callable[[], object] = lambda: None

    def answer(self, ask: Ask) -> Answer:
        """Answer a request of the source with the present version of the day."""
        self.on_request()
        day = ask.headers["X-Logical-Date"]
        rows = kill_checks.sent(day, self.versions.get(day, 0))
        return 200, {"Content-Type": "application/json"}, json.dumps(rows).encode()

    def run(self, kills: int) -> None:
        """Kill until so many commands were killed in their work.

        Raises:
            CampaignError: What readers see is not whole, a command ended with a traceback, or a repair did not work.
        """
        with self.serving():
            self.finish_all()
            while self.counts["kills"] < kills:
                before = self.counts["kills"]
                self._step()
                if self.counts["kills"] > before and self.counts["kills"] % 10 == 0:
                    self.finish_all()
            self.finish_all()

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Serve the source for the block; commands find it in `environ`."""
        with answering(self.answer) as (url, _):
            self.environ = {
                **os.environ,
                "PYTHONPATH": str(self.home),
                "DATA_DIR": str(self.data),
                "DEMO_BASE_URL": url,
                "API_CONCURRENCY": "1",
                "WAREHOUSE_KEEP_VERSIONS": "3",
            }
            yield

    def command(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the pipeline to its end."""
        return self.program(_cli(*arguments), **environ)

    def work(self, name: str, day: str, home: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run one of `COMMANDS`, in the campaign's project or in another one.

        Raises:
            CampaignError: It did not succeed, and did not refuse its work either.
        """
        if name in LOADS:
            with self.lock:
                self.versions[day] += 1
        if home is not None:
            environ = {"PYTHONPATH": str(home), **environ}
        done = self.program(COMMANDS[name](day), home, **environ)
        if done.returncode not in ENDINGS or "Traceback" in done.stderr:
            raise CampaignError(f"{name} {day}: exit code {done.returncode}: {done.stderr[-3000:]}")
        return done

    def program(
        self, arguments: Sequence[str], home: Path | None = None, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with arguments, such as those of `COMMANDS`, to its end."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=home or self.home,
            env=self.environ | environ,
            text=True,
            capture_output=True,
            check=False,
        )

    def _step(self) -> None:
        name = self.random.choice(list(COMMANDS))
        kind = self.random.choice(("session", "command", "dbt") if name in BUILDS else ("session", "command"))
        events = [*(LOADING if name in LOADS | {"validate", "replay"} else ()), *(BUILDING if name in BUILDS else ())]
        event = self.random.choice(events or ["chance"])
        day = self.random.choice(DAYS)
        if name in LOADS:
            self.versions[day] += 1
        self.last = [*self.last[-8:], f"{name} {day}, {kind} killed at {event}"]
        with tempfile.TemporaryFile() as output:
            began = time.monotonic()
            command = [sys.executable, *COMMANDS[name](day)]
            process = subprocess.Popen(
                command, cwd=self.home, env=self.environ, stdout=output, stderr=output, start_new_session=True
            )
            occurred = self.wait(process, event, self.random.uniform(0, self.seconds.get(name, 3)))
            killed = victims(process.pid, kind) if occurred else []
            for victim in killed:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
            process.wait()
            if not killed:
                self.seconds[name] = time.monotonic() - began
            output.seek(0)
            text = output.read().decode(errors="replace")
        if process.returncode == -signal.SIGKILL or (killed and kind == "dbt"):
            self.counts.update(["kills", f"of {name}", f"of the {kind}", f"at {event}"])
        elif process.returncode not in ENDINGS:
            raise self._error(f"exit code {process.returncode}\n{text[-3000:]}")
        if "Traceback" in text:
            raise self._error(f"a traceback:\n{text[-3000:]}")
        self._check(kill_checks.check_bronze, self.data, self.versions)
        self._check(kill_checks.published, self.data)
        self._check(kill_checks.check_gold_files, self.data)

    def wait(self, process: subprocess.Popen[bytes], event: str, delay: float) -> bool:
        """Wait for the event, or for the delay; return whether it came before the command ended."""
        signs = _SIGNS.get(event)
        before = signs(self.data) if signs else None
        until = time.monotonic() + (delay if signs is None else 60)
        while process.poll() is None and time.monotonic() < until:
            if signs is not None and signs(self.data) != before:
                time.sleep(self.random.choice([0, 0, 0.001, 0.01]))
                return process.poll() is None
            time.sleep(0.0005)
        return signs is None and process.poll() is None

    def finish_all(self) -> None:
        """Load what is not loaded and build, as a person would, and compare the tables with Bronze."""
        period = ["--source", "demo", "--start-date", DAYS[0], "--end-date", DAYS[-1]]
        for command in (["backfill", *period], ["build"], ["status", "--verify"]):
            done = self.command(*command)
            if done.returncode != 0 or "Traceback" in done.stderr:
                raise self._error(f"`{' '.join(command)}` ended with {done.returncode}\n{done.stderr[-3000:]}")
        validated = self._check(kill_checks.check_bronze, self.data, self.versions)
        # `reconcile` loads the days until yesterday
        if not set(DAYS) <= set(validated):
            raise self._error(f"only {sorted(validated)} are validated")
        self._check(kill_checks.check_complete, self.data, validated)
        self.counts["repairs"] += 1

    def _check(self, check: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return check(*arguments)
        except Exception as error:
            raise self._error(f"{check.__name__}: {type(error).__name__}: {error}") from error

    def _error(self, what: str) -> CampaignError:
        return CampaignError(f"after {self.counts['kills']} kills, {' | '.join(self.last)}\n{what}")


def _cli(*arguments: str) -> Sequence[str]:
    return ["-m", "scripts.cli.main", *arguments]


def _on(day: str) -> Sequence[str]:
    return ["--source", "demo", "--start-date", day, "--end-date", day]


COMMANDS: dict[str, Callable[[str], Sequence[str]]] = {
    "reload": lambda day: _cli("ingest", *_on(day)),
    "run": lambda day: _cli("run", *_on(day)),
    "reload and build": lambda day: _cli("backfill", "--reprocess", *_on(day)),
    "validate": lambda day: _cli("validate", *_on(day)),
    "replay": lambda day: _cli("quarantine", "replay", *_on(day)),
    "build": lambda _: _cli("build"),
    "full refresh": lambda _: _cli("build", "--full-refresh"),
    "rollback": lambda _: _cli("rollback"),
    "reconcile": lambda _: _cli("reconcile"),
    "status": lambda _: _cli("status", "--verify"),
    "report": lambda _: _cli("report"),
    "prune": lambda _: ["-c", PRUNE],
}


def make_project(home: Path) -> Path:
    """Copy this project, with the campaign's source and models instead of its own."""
    clone(home)
    for path in [*(home / "scripts" / "sources").glob("*.y*ml"), *(home / "dbt" / "models").rglob("*.*")]:
        path.unlink()
    for name, text in {
        "scripts/sources/demo.yml": CONTRACT,
        "dbt/models/staging/stg_demo__items.sql": STAGING,
        "dbt/models/marts/item_counts.sql": MART,
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text.lstrip())
    subprocess.run(
        [sys.executable, *_cli("sources", "generate")],
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(home)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return home


def _files(folder: Path, pattern: str) -> frozenset[str]:
    # os.walk, unlike Path.rglob, goes on where a folder disappears while it reads
    return frozenset(
        f"{parent}/{name}" for parent, _, names in os.walk(folder) for name in fnmatch.filter(names, pattern)
    )


def _size_of_logs(data: Path) -> int:
    sizes = 0
    for path in _files(data / "warehouse", "*.wal"):
        with contextlib.suppress(FileNotFoundError):
            sizes += Path(path).stat().st_size
    return sizes


def _link(data: Path) -> str:
    link = data / "warehouse" / "current"
    return str(link.readlink()) if link.is_symlink() else ""


_SIGNS: dict[str, Callable[[Path], object]] = {
    "staged": lambda data: _files(data / "bronze" / "_staging", "*"),
    "committed": lambda data: _files(data / "bronze" / "_staging", "record.json"),
    "log": _size_of_logs,
    "published": _link,
}
"""What changes at an event."""


def victims(pid: int, kind: str) -> list[int]:
    """Return the processes to kill: those of the session of `pid`, only `pid`, or only dbt's below it."""
    if kind == "command":
        return [pid]
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(stat[3]) == pid and (kind == "session" or b"scripts.warehouse.worker" in words):
            found.append(int(folder.name))
    return found


def main() -> None:
    """Run a campaign, and print its counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), options.seed)
        try:
            campaign.run(options.kills)
        except CampaignError as error:
            sys.exit(f"seed {options.seed}: {error}")
        except BaseException:
            sys.stderr.write(f"seed {options.seed}\n")
            raise
    for name, count in sorted(campaign.counts.items()):
        sys.stdout.write(f"{count:6d} {name}\n")


if __name__ == "__main__":
    main()
