"""The results page of a build: failures first, then the models with rows, seconds and change, then the tests."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2

from scripts.bronze import attempts
from scripts.config import settings
from scripts.planning.published import attempt_document
from scripts.warehouse import candidate, history
from scripts.warehouse.build import warehouse
from scripts.warehouse.data_docs import docs_dir
from scripts.warehouse.failed_nodes import FailedNode, failed_nodes
from scripts.warehouse.runner import BAD_STATUSES, target_dir

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_GOOD = {"success", "pass"}
_TESTS = {"test", "unit_test"}


class Table(NamedTuple):
    """A table of the page."""

    title: str
    text: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int] = ()
    """The columns that are numbers."""


class Build(NamedTuple):
    """What the page shows about a build."""

    title: str
    state: str
    is_good: bool
    facts: Sequence[tuple[str, str]]
    tables: Sequence[Table]
    note: str
    error: str = ""
    """The message of the last build, if it failed."""
    failed: Sequence[FailedNode] = ()
    """The models and tests that failed, as the project has them; dbt's site knows only those of published versions."""


def results_page(version: str = "", *, with_rows: bool) -> str:
    """Return the page of a build as HTML. Times are UTC.

    Args:
        version: A published version; by default the build that failed last, or else the published version.
        with_rows: Show rows that failed tests found, for readers with a login; values of sensitive columns are masked.

    Raises:
        LookupError: There is no such version, or nothing was built.
    """
    target = warehouse()
    failed = None if version else candidate.read(target)
    attempt = None if version else attempts.read(attempt_document())
    if failed is not None and failed.state == "failed":
        build = _of_failed(failed.build_id, failed.base, [result._asdict() for result in failed.results], with_rows)
    elif attempt is not None and target.current() is None:
        build = Build("The last build failed", "nothing was published", is_good=False, facts=[], tables=[], note="")
    else:
        build = _of_version(version or target.current() or "", with_rows)
    if attempt is not None:
        # dbt may have failed before it built anything
        title = f"The last build failed; {build.title} is published" if build.is_good else build.title
        build = build._replace(title=title, is_good=False, error=attempt.message)
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
    return environment.get_template("results.html.j2").render(build=build)


def results_url(error: BaseException | None = None, page: str = "") -> str:
    """Return the address of the place on the results page that shows the first node that failed in a build.

    Args:
        error: The error of the build.
        page: The address of the page; by default, on the documentation site, or its file.
    """
    root = settings().docs_url.rstrip("/")
    page = page or (f"{root}/results.html" if "://" in root else str(docs_dir() / "results.html"))
    failed = getattr(error, "failed_node", "")
    return f"{page}#{failed}" if failed else page


def _of_failed(run_id: str, base: str | None, results: Sequence[Mapping[str, Any]], with_rows: bool) -> Build:  # noqa: FBT001 — of this module only
    bad = sum(result["status"] in BAD_STATUSES for result in results)
    return Build(
        f"The last build failed: {bad} of {len(results)} models and tests",
        "nothing was published",
        is_good=False,
        facts=[("Run", run_id), ("Published version", base or "none yet"), *_counts(results)],
        tables=[_failures(results, with_rows), _models(results, {}, {}), *_tests(results)],
        note="Correct the cause, then run the build again: it keeps what it has built. People still read the published"
        " version.",
        failed=failed_nodes(
            [result["id"] for result in results if result["status"] in BAD_STATUSES], target_dir(warehouse())
        ),
    )


def _of_version(version: str, with_rows: bool) -> Build:  # noqa: FBT001 — of this module only
    target = warehouse()
    about = history.about(target, version) if version else None
    if about is None:
        raise LookupError(f"version {version} is not kept" if version else "nothing was built yet")
    before = [known.rows for known in history.read(target) if known.version < version]
    results = about["nodes"]
    return Build(
        f"Version {version}",
        "published" if version == target.current() else "kept, not published",
        is_good=True,
        facts=[
            ("Built (UTC)", str(about["built_at"])[:16].replace("T", " ")),
            ("Run", f"{about['run_id']}, by {about['triggered_by']}"),
            ("Seconds", f"{about['seconds']:,.1f}"),
            *_counts(results),
        ],
        tables=[
            _failures(results, with_rows),
            _models(results, about["rows"], before[-1] if before else {}),
            *_tests(results),
        ],
        note="A model or test that did not run in this build keeps its last result: nothing that it reads has changed.",
    )


def _counts(results: Sequence[Mapping[str, Any]]) -> Sequence[tuple[str, str]]:
    tests = [result for result in results if result["kind"] in _TESTS]
    passed = sum(result["status"] in _GOOD for result in tests)
    ran = sum(result.get("ran_now", True) for result in results)
    return [
        ("Models", f"{len(results) - len(tests)}"),
        ("Tests passed", f"{passed} of {len(tests)}"),
        ("Ran in this build", f"{ran}"),
    ]


def _failures(results: Sequence[Mapping[str, Any]], with_rows: bool) -> Table:  # noqa: FBT001 — of this module only
    bad = [result for result in results if result["status"] not in _GOOD | {"skipped"}]
    header = ["name", "kind", "status", "message", *(["rows that it found"] if with_rows else [])]
    rows = [
        [result["name"], result["kind"], result["status"], result["message"], *([result.get("rows") or ""] * with_rows)]
        for result in sorted(bad, key=lambda result: result["status"] not in BAD_STATUSES)
    ]
    return Table("Failures and warnings", "A failure prevents the publication; a warning does not.", header, rows)


def _models(results: Sequence[Mapping[str, Any]], rows: Mapping[str, int], before: Mapping[str, int]) -> Table:
    found = [result for result in results if result["kind"] not in _TESTS]
    shown = []
    for result in sorted(found, key=lambda result: (result["status"] in _GOOD, -result["seconds"], result["name"])):
        name = result["name"]
        count = rows.get(name)
        change = "" if count is None or name not in before else f"{count - before[name]:+,}"
        ran = f"{result['seconds']:.2f}" if result.get("ran_now", True) else "not needed"
        shown.append([name, result["status"], "" if count is None else f"{count:,}", change, ran])
    text = "Rows, the change since the version before, and the seconds of this build."
    return Table("Models", text, ["name", "status", "rows", "change", "seconds"], shown, numbers=(2, 3, 4))


def _tests(results: Sequence[Mapping[str, Any]]) -> Sequence[Table]:
    by_status: dict[str, list[Mapping[str, Any]]] = collections.defaultdict(list)
    for result in results:
        if result["kind"] in _TESTS:
            by_status[result["status"]].append(result)
    return [
        Table(
            f"Tests: {status}, {len(found)}",
            "The seconds of this build.",
            ["name", "seconds"],
            [
                [result["name"], f"{result['seconds']:.2f}" if result.get("ran_now", True) else "not needed"]
                for result in sorted(found, key=lambda result: (-result["seconds"], result["name"]))
            ],
            numbers=(1,),
        )
        for status, found in sorted(by_status.items(), key=lambda item: item[0] in _GOOD)
    ]
