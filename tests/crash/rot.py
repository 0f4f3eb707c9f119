"""A table of rot: each kind of file that the pipeline writes, damaged in each way, and repaired as the commands advise.

    python tests/crash/rot.py [KIND …]

A person who suspects damage runs `status --verify`, `doctor --deep` and `build`. None of them may end with a
traceback. Then each advised command is run as it is printed. At the end, a build and `status --verify` have to succeed,
and `kill_checks`, which shares no code with `scripts/`, has to find every row in Bronze, Silver and Gold.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.crash import kill_checks
from tests.crash.kill_campaign import DAYS, Campaign
from tests.support.flip import flip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DAY = DAYS[2]
KINDS = {
    "rows": f"bronze/demo/items/dt={DAY}/*.parquet",
    "record": f"bronze/_ledger/demo/items/{DAY}.json",
    "quarantine": f"bronze/_quarantine/demo/items/{DAY}.jsonl",
    "report": f"bronze/_reports/demo/items/{DAY}.json",
    "schema": "bronze/demo/items/dt=0001-01-01/*.parquet",
    "contract": "bronze/_contracts/demo/items/*.json",
    "index": "bronze/_index/ledger.sqlite",
    "published version": "warehouse/builds/*2/warehouse.duckdb",
    "older version": "warehouse/builds/*1/warehouse.duckdb",
    "build record": "warehouse/builds/*2/build.json",
    "history": "warehouse/history.jsonl",
    "dbt's manifest": "warehouse/dbt/manifest.json",
    "compiled project": "warehouse/dbt/project.json",
    "dbt's partial parse": "warehouse/dbt/partial_parse.msgpack",
}
"""The file of each kind, below the data folder; the first that the pattern finds."""
NOTICED = {"rows", "record", "quarantine", "report", "contract", "published version"}
"""Kinds of files whose damage a command has to notice."""
UNNOTICED = {("contract", "missing")}
"""Days that were loaded before contracts were stored have none, and count as loaded with the columns of their files."""
_ADVISED = re.compile(r"`pipeline ([^`]+)`")
_LOOKING = ("status", "doctor", "health")
"""Commands that only look."""


def _not_utf8(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] = 0x80
    path.write_bytes(content)


def _half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a bit at the start": lambda path: flip(path, 0.02, 0x10),
    "a bit in the middle": lambda path: flip(path, 0.5, 0x10),
    "a bit at the end": lambda path: flip(path, 1.0, 0x10),
    "byte 0x80": _not_utf8,
    "half": _half,
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
}


@dataclasses.dataclass
class Verdict:
    """What the commands said, what was advised and done, and what is wrong with that."""

    codes: dict[str, int]
    advised: list[str]
    problems: list[str]

    @property
    def is_noticed(self) -> bool:
        """Whether a command that looks, or the build, ended with an error."""
        return any(self.codes.values())


class Rot:
    """A data folder with some days and two versions, of which each damage gets a copy."""

    def __init__(self, campaign: Campaign, base: Path) -> None:
        """Load and build twice, and keep the data in `base`; the campaign serves its source."""
        self.campaign, self.data, self.base = campaign, campaign.data, base
        campaign.finish_all()
        campaign.versions[DAYS[0]] += 1
        day = ("--source", "demo", "--start-date", DAYS[0], "--end-date", DAYS[0])
        assert campaign.command("backfill", "--reprocess", *day).returncode == 0
        self.data.rename(base)

    def judge(self, kind: str, damage: str) -> Verdict:
        """Damage a file in a copy of the data, follow the advice of the commands, and check what came of it."""
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.copytree(self.base, self.data, symlinks=True)
        DAMAGES[damage](next(self.data.glob(KINDS[kind])))
        is_harmless = kind == "published version" and self._can_be_read()
        verdict = Verdict({}, [], [])
        for command in (("status", "--verify"), ("doctor", "--deep"), ("build",)):
            verdict.codes[command[0]] = self._run(verdict, *command)
        for _ in range(4):
            if not self._follow_advice(verdict):
                break
        self._check(verdict)
        if kind in NOTICED and (kind, damage) not in UNNOTICED and not verdict.is_noticed and not is_harmless:
            verdict.problems.append("no command noticed the damage")
        return verdict

    def _can_be_read(self) -> bool:
        """Return whether readers still see all rows as they are: the damage is in a block that holds nothing."""
        try:
            kill_checks.published(self.data)
        except Exception:  # noqa: BLE001 — whatever a reader meets
            return False
        return True

    def _follow_advice(self, verdict: Verdict) -> bool:
        """Run the commands that `status` and `doctor` advise; return whether there were any."""
        looked = [self.campaign.command("status", "--verify"), self.campaign.command("doctor", "--deep")]
        if not any(done.returncode for done in looked):
            return False
        said = "\n".join(done.stdout + done.stderr for done in looked)
        advised = [text for text in dict.fromkeys(_ADVISED.findall(said)) if not text.startswith(_LOOKING)]
        for text in advised:
            verdict.advised.append(f"{text} ({self._run(verdict, *text.split())})")
        return bool(advised)

    def _run(self, verdict: Verdict, *arguments: str) -> int:
        """Run a command, which may fail but not with a traceback, and return its exit code."""
        done = self.campaign.command(*arguments)
        if "Traceback" in done.stdout + done.stderr:
            verdict.problems.append(f"`pipeline {' '.join(arguments)}`: {(done.stdout + done.stderr)[-1500:]}")
        return done.returncode

    def _check(self, verdict: Verdict) -> None:
        for command in (("build",), ("status", "--verify")):
            done = self.campaign.command(*command)
            if done.returncode:
                verdict.problems.append(f"at the end `{' '.join(command)}`: {(done.stdout + done.stderr)[-1500:]}")
        try:
            validated = kill_checks.check_bronze(self.data, self.campaign.versions)
            kill_checks.check_complete(self.data, validated)
        except Exception as error:  # noqa: BLE001 — whatever stops the check is what it found
            verdict.problems.append(f"at the end {type(error).__name__}: {error}")
        else:
            if not set(DAYS) <= set(validated):
                verdict.problems.append(f"at the end only {sorted(validated)} are validated")


@contextlib.contextmanager
def prepared(folder: Path) -> Iterator[Rot]:
    """Prepare the data below a folder, and serve its source for the block."""
    campaign = Campaign(folder, seed=1)
    with campaign.serving():
        yield Rot(campaign, folder / "base")


def main() -> int:
    """Print a line for each kind and damage; return 1 if one of them has a problem."""
    bad = 0
    with tempfile.TemporaryDirectory() as folder, prepared(Path(folder)) as rot:
        for kind in sys.argv[1:] or KINDS:
            for damage in DAMAGES:
                verdict = rot.judge(kind, damage)
                codes = " ".join(f"{name} {code}" for name, code in verdict.codes.items())
                sys.stdout.write(f"{kind:20} {damage:20} {codes:30} {', '.join(verdict.advised)}\n")
                for problem in verdict.problems:
                    sys.stdout.write(f"    {problem}\n")
                bad += bool(verdict.problems)
    sys.stdout.write(f"{bad} with problems\n")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
