"""Small inputs that once went wrong for users: each is a folder with a contract, what its source answers, and a model.

The folders lie outside the repository; `CASES_DIR` names the folder that holds them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb
import pyarrow.parquet as pq
import pytest

from scripts import config
from scripts.admin import generated_files
from scripts.bronze.folder_store import FolderStore
from scripts.bronze.ledger import Partition
from scripts.bronze.run import Run
from scripts.cli import main, sources
from scripts.config import PROJECT_DIR
from scripts.contracts import catalog
from scripts.errors import ContractError
from scripts.warehouse.build import warehouse

from .answering import answering
from .project import empty_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from scripts.bronze.ledger import LedgerEntry
    from scripts.bronze.quarantine import QuarantinedRow

    from .answering import Answer, Ask

CASES_DIR = Path(os.environ.get("CASES_DIR") or PROJECT_DIR.parent / "shared" / "cases")
JSON = {"Content-Type": "application/json"}
DAYS = ("2024-01-01", "2024-01-02")
"""The days of `day1.json` and `day2.json`."""
_SERVED = "http://127.0.0.1:PORT"


class Source:
    """The source of a case: its `server.py`, which is read at the first request, its `body.json`, or a file a day."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.server: ModuleType | None = None
        self.answer: Callable[[Ask], Answer] = self._as_in_the_folder
        """A test may put another function in its place."""

    def __call__(self, ask: Ask) -> Answer:
        """Answer a request."""
        return self.answer(ask)

    def _as_in_the_folder(self, ask: Ask) -> Answer:
        if (self._folder / "server.py").exists():
            self.server = self.server or _module(self._folder / "server.py")
            answer: Answer = self.server.answer(ask.path, ask.query, ask.headers)
            return answer
        return 200, JSON, self.body(ask.headers.get("X-Logical-Date"))

    def body(self, day: str | None = None) -> bytes:
        """Return the text that the source answers with, on a day if each day has its own."""
        return (self._folder / (f"day{DAYS.index(day) + 1}.json" if day else "body.json")).read_bytes()


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    output: str
    errors: str

    @property
    def error(self) -> str:
        """The one line of the error, without a traceback anywhere."""
        assert "Traceback" not in self.errors + self.output
        (line,) = [line for line in self.errors.splitlines() if line.startswith("error: ")]
        return line


class Case:
    """A case in a project of its own, whose only source is that of the case."""

    def __init__(
        self,
        folder: Path,
        project: Path,
        source: Source,
        base_url: str,
        asked: list[Ask],
        env: Callable[[str, object], None],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.folder, self.project, self.source, self.asked = folder, project, source, asked
        self._base_url, self._capsys = base_url, capsys
        env("DEMO_BASE_URL", base_url)
        env("API_RETRIES", 1)
        if (folder / "contract.yml").exists():
            self.use_contract()
        if (folder / "model.sql").exists():
            self.use_model()

    def use_contract(self, name: str = "contract.yml") -> None:
        """Put a contract of the case into force."""
        self.write_contract((self.folder / name).read_text())

    def write_contract(self, text: str, name: str = "demo") -> None:
        """Put a contract into force; the server's address stands for that of the case."""
        (self.project / "sources" / f"{name}.yml").write_text(text.replace(_SERVED, self._base_url))
        catalog.forget()
        with contextlib.suppress(ContractError):
            wanted = sources.wanted_files()
            generated_files.write_files({path: wanted[path] for path in wanted if path.is_relative_to(self.project)})

    def use_model(self, name: str = "model") -> None:
        """Make a model of the case that of the project."""
        staging = self.project / "dbt" / "models" / "staging" / "demo"
        staging.mkdir(parents=True, exist_ok=True)
        # the macro had another name when the cases were written
        text = (self.folder / f"{name}.sql").read_text().replace("latest_rows(", "latest_row_per_key(")
        (staging / "stg_demo__items.sql").write_text(text)
        if (properties := self.folder / f"{name}.yml").exists():
            (staging / "stg_demo__items.yml").write_text(properties.read_text())

    def run(self, *arguments: str) -> Ended:
        """Run a command of the pipeline in this process."""
        self._capsys.readouterr()
        config.settings.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["pipeline", *arguments])
            with pytest.raises(SystemExit) as end:
                main.main()
        shown = self._capsys.readouterr()
        return Ended(int(end.value.code or 0), shown.out, shown.err)

    def run_on(self, day: str, *command: str) -> Ended:
        """Run a command on one day."""
        return self.run(*command, "--source", "demo", "--start-date", day, "--end-date", day)

    def load(self, day: str = DAYS[0]) -> LedgerEntry:
        """Ingest and validate a day, which has to succeed, and return its record."""
        for command in ("ingest", "validate"):
            ended = self.run_on(day, command)
            assert ended.code == 0, ended.errors
        entry = self.entry(day)
        assert entry is not None
        assert entry.status == "validated"
        assert entry.fetched == entry.bronze + entry.quarantined
        return entry

    def entry(self, day: str = DAYS[0]) -> LedgerEntry | None:
        """Return the ledger record of a day."""
        return Run.create(triggered_by="test").store.entry(Partition("demo", "items", dt.date.fromisoformat(day)))

    def rows(self, day: str = DAYS[0]) -> list[dict[str, Any]]:
        """Return the rows of a day in Bronze, without the column of their positions."""
        bronze = FolderStore(config.settings().data_dir / "bronze")
        path = bronze.data_path(Partition("demo", "items", dt.date.fromisoformat(day)))
        found: list[dict[str, Any]] = pq.read_table(path, partitioning=None).drop_columns(["_row"]).to_pylist()
        return found

    def aside(self, day: str = DAYS[0]) -> list[QuarantinedRow]:
        """Return the rows of a day in quarantine."""
        entry = self.entry(day)
        assert entry is not None
        return list(Run.create(triggered_by="test").store.quarantined(entry))

    def build(self, *arguments: str) -> str:
        """Build, which has to succeed, and return what was printed."""
        ended = self.run("build", *arguments)
        assert ended.code == 0, ended.errors
        return ended.output

    def silver(self, *columns: str, table: str = "silver.stg_demo__items") -> list[tuple[Any, ...]]:
        """Return the rows of the published model."""
        with duckdb.connect(str(warehouse().path), read_only=True) as connection:
            return connection.execute(f"select {', '.join(columns) or '*'} from {table} order by all").fetchall()


@contextlib.contextmanager
def case_of(
    name: str,
    folder: Path,
    env: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Case]:
    """Make a project of a case below `folder`, and serve its source for the block."""
    home = CASES_DIR / name
    project = empty_project(folder / "project", monkeypatch)
    source = Source(home)
    with answering(source) as (base_url, asked):
        case = Case(home, project, source, base_url, asked, env, capsys)
        if (data := home / "data_dir.txt").exists():
            env("DATA_DIR", folder / data.read_text().strip() / "data")
        yield case


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"server_of_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
