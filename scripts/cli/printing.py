"""The results of commands, printed as tables or as JSON."""

from __future__ import annotations

import collections
import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from scripts.cli.tables import print_json, print_partitions, print_table
from scripts.errors import ContractError, DataError
from scripts.monitoring.status import read_status
from scripts.security.outside_text import one_line
from scripts.utils.exit_codes import fail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.admin.check_result import CheckResult
    from scripts.bronze.ledger import Partition
    from scripts.bronze.loaded_contracts import OutdatedDays
    from scripts.bronze.quarantine import QuarantinedRow
    from scripts.bronze.store import Store
    from scripts.loading.partitions import Outcome
    from scripts.loading.replay import Replayed
    from scripts.monitoring.overdue import Problem
    from scripts.monitoring.status import ModelStatus, PartitionStatus, Status
    from scripts.planning.due import Due, Planned
    from scripts.planning.reconcile import Reconciled
    from scripts.warehouse.build_result import BuildResult
    from scripts.warehouse.plan import BuildPlan

_PARTITION_COLUMNS = ("source", "resource", "day", "state", "declared", "fetched", "bronze", "quarantined", "silver")
_EXAMPLE = 70


def show_outcomes(outcomes: Sequence[Outcome], *, as_json: bool) -> None:
    """Print the ledger record of each processed partition, and the errors of the others."""
    rows: list[dict[str, Any]] = [
        {
            "source": outcome.partition.source,
            "resource": outcome.partition.resource,
            "day": outcome.partition.day,
            "state": outcome.entry.status if outcome.entry else "error",
            "declared": outcome.entry.declared if outcome.entry else None,
            "fetched": outcome.entry.fetched if outcome.entry else None,
            "bronze": outcome.entry.bronze if outcome.entry else None,
            "quarantined": outcome.entry.quarantined if outcome.entry else None,
            "error": str(outcome.error) if outcome.error else None,
        }
        for outcome in outcomes
    ]
    if as_json:
        print_json(rows)
    else:
        columns = _PARTITION_COLUMNS[:-1]
        print_partitions("Partitions", columns, [[row[column] for column in columns] for row in rows])
    _show_errors(outcomes)


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Return the exit code of the first error, or 0."""
    return next((outcome.error.exit_code for outcome in outcomes if outcome.error), 0)


def show_build(done: BuildResult, *, as_json: bool) -> None:
    """Print the result of each model, and the number of passed tests."""
    if as_json:
        print_json(_build_document(done))
        return
    models = [node for node in done.results if node.kind != "test"]
    if models:
        print_table("Models", ("model", "status", "seconds"), [(n.name, n.status, f"{n.seconds:.2f}") for n in models])
    sys.stdout.write(_build_line(done))


def show_build_plan(plan: BuildPlan, outdated: Sequence[OutdatedDays], *, as_json: bool) -> None:
    """Print what a build would do, and why, and the days that were loaded with another contract."""
    if as_json:
        document = {
            "is_empty": plan.is_empty,
            "nodes": [{"id": n.node, "name": n.name, "mode": n.mode, "reason": n.reason} for n in plan.nodes],
            "tests": [{"id": t.test, "name": t.name, "rows": t.rows, "reason": t.reason} for t in plan.tests],
            "drops": [{"name": d.name, "relation": d.relation, "keeps_history": d.keeps_history} for d in plan.drops],
            "partitions": [partition._asdict() for partition in plan.partitions],
            "outdated": [{"what": str(days), "remedy": days.remedy, "stops": days.is_conflict} for days in outdated],
        }
        print_json(document)
        return
    print_table("Nodes to build", ("node", "how", "because"), [(n.name, n.mode, n.reason) for n in plan.made()])
    print_table("Tests to run", ("test", "rows", "because"), [(t.name, t.rows, t.reason) for t in plan.run_tests()])
    if plan.drops:
        print_table("To drop", ("relation",), [(d.relation.replace('"', ""),) for d in plan.drops])
    counts = f"{len(plan.made())} of {len(plan.nodes)} nodes, {len(plan.run_tests())} of {len(plan.tests)} tests"
    sys.stdout.write("nothing to build\n" if plan.is_empty else f"{counts}, {len(plan.partitions)} partitions\n")
    for days in outdated:
        sys.stdout.write(f"{days}; {days.remedy}, {days.consequence}\n")


def show_health(found: Mapping[str, Any], *, as_json: bool) -> int:
    """Print the health, and return the exit code: 0 if there is no problem."""
    if as_json:
        print_json(found)
    else:
        columns = (
            *("source", "resource", "last_day", "age_hours", "published_day", "gold_age_hours"),
            *("state", "limit_hours", "owner"),
        )
        rows = [
            [
                f"{row[name]:.0f}" if name.endswith("age_hours") and row[name] is not None else row[name]
                for name in columns
            ]
            for row in found["freshness"]
        ]
        print_table("Freshness", columns, rows)
        sys.stdout.write(f"version {found['version']}, built {found['built_at_utc']}; ")
        sys.stdout.write(f"{found['partitions']} partitions, {found['rows_in_quarantine']} rows in quarantine\n")
        for problem in found["problems"]:
            sys.stdout.write(f"{problem}\n")
    return 0 if found["ok"] else DataError.exit_code


def show_run(store: Store, outcomes: Sequence[Outcome], done: BuildResult, *, as_json: bool) -> None:
    """Print the row counts of each partition of a run and of each model."""
    state = read_status(store)
    asked = {outcome.partition for outcome in outcomes}
    rows = [row for row in state.partitions if (row.source, row.resource, row.day) in asked]
    if as_json:
        print_json(
            {
                "partitions": [row._asdict() for row in rows],
                "models": [dataclasses.asdict(row) for row in state.models],
                "build": _build_document(done),
                "errors": [{"partition": str(o.partition), "error": str(o.error)} for o in outcomes if o.error],
                "problems": state.problems,
            }
        )
    else:
        _show_partitions(rows)
        _show_models(state.models)
        sys.stdout.write(_build_line(done))
    _show_errors(outcomes)
    _show_problems(state)


def show_plan(planned: Sequence[Planned], due: Sequence[Partition], *, as_json: bool) -> None:
    """Print the state of each partition of a range, and how many partitions a backfill would load."""
    wanted = set(due)
    if as_json:
        print_json(
            {
                "partitions": [
                    {**item.partition._asdict(), "state": item.state, "will_load": item.partition in wanted}
                    for item in planned
                ],
                "loaded": sum(item.state == "loaded" for item in planned),
                "to_load": len(due),
            }
        )
        return
    rows = [(*item.partition, item.state, "load" if item.partition in wanted else "skip") for item in planned]
    print_partitions("Plan", ("source", "resource", "day", "state", "plan"), rows)
    if any(item.state == "outdated" and item.partition not in wanted for item in planned):
        sys.stdout.write("outdated days were loaded with another contract; `--outdated` loads them again\n")
    days = len({item.partition.day for item in planned})
    loaded = sum(item.state == "loaded" for item in planned)
    sys.stdout.write(f"{days} days, {len(planned)} partitions: {loaded} loaded, {len(due)} to load\n")


def show_due(found: Due, *, as_json: bool) -> int:
    """Print what is due, and why; return the exit code, which is 7 if something waits for a person."""
    if as_json:
        print_json(found.as_document())
    else:
        rows = [(*item.partition, item.state, item.waits_for or f"{item.step} now") for item in found.work]
        if rows:
            print_partitions("Due", ("source", "resource", "day", "state", "next"), rows)
        for reason in found.build.reasons:
            sys.stdout.write(f"build: {reason}\n")
        if found.build.waits_for:
            sys.stdout.write(f"the build waits for {found.build.waits_for}\n")
        for name, error in found.broken.items():
            sys.stdout.write(f"contract {name}: {error}\n")
        if not (rows or found.build.reasons or found.broken):
            sys.stdout.write("nothing is due\n")
    return _exit_code_of_due(found)


def show_reconciled(done: Reconciled, *, as_json: bool) -> int:
    """Print what a reconciling run did and what is still due, and return the exit code."""
    if as_json:
        print_json(
            {
                "loaded": [str(outcome.partition) for outcome in done.outcomes if outcome.error is None],
                "errors": {str(outcome.partition): str(outcome.error) for outcome in done.outcomes if outcome.error},
                "build": _build_document(done.build) if done.build else None,
                "build_error": str(done.error) if done.error else None,
                "stays": done.stays.as_document(),
            }
        )
    else:
        if done.outcomes:
            show_outcomes(done.outcomes, as_json=False)
        if done.build:
            sys.stdout.write(_build_line(done.build))
        show_due(done.stays, as_json=False)
    if done.error:
        return fail(done.error)
    return exit_code(done.outcomes) or _exit_code_of_due(done.stays)


def _exit_code_of_due(found: Due) -> int:
    if found.broken:
        return ContractError.exit_code
    return DataError.exit_code if found.problems or found.build.waits_for else 0


def show_status(state: Status, overdue: Sequence[Problem], *, as_json: bool) -> int:
    """Print a status and what is overdue, and return the exit code: 0 if the row counts add up."""
    if as_json:
        print_json(
            {
                "version": state.version,
                "partitions": [row._asdict() for row in state.partitions],
                "models": [dataclasses.asdict(row) for row in state.models],
                "problems": state.problems,
                "overdue": [problem.text for problem in overdue],
            }
        )
    else:
        _show_partitions(state.partitions)
        if state.models:
            _show_models(state.models)
        sys.stdout.write(f"published version: {state.version or 'none yet'}\n")
        for problem in overdue:
            sys.stdout.write(f"overdue: {one_line(problem.text)}\n")
    return _show_problems(state)


def show_quarantine(found: Sequence[tuple[Partition, Sequence[QuarantinedRow]]], *, as_json: bool) -> None:
    """Print the number of quarantined rows by partition and rule, with an example."""
    rows = []
    for partition, quarantined in found:
        by_rule = collections.defaultdict(list)
        for row in quarantined:
            by_rule[(row.stage, row.rule)].append(row)
        for (stage, rule), same in by_rule.items():
            rows.append((*partition, stage, rule, len(same), same[0].reason))
    header = ("source", "resource", "day", "stage", "rule", "rows", "example")
    if as_json:
        print_json([dict(zip(header, row, strict=True)) for row in rows])
    else:
        print_table("Quarantine", header, [(*row[:-1], row[-1][:_EXAMPLE]) for row in rows])


def show_replay(replayed: Sequence[Replayed], *, as_json: bool) -> None:
    """Print how many quarantined rows were admitted and how many remain."""
    rows = [(*item.partition, item.admitted, item.remaining) for item in replayed]
    header = ("source", "resource", "day", "admitted", "remaining")
    if as_json:
        print_json([dict(zip(header, row, strict=True)) for row in rows])
    else:
        print_table("Replayed", header, rows)
        if any(item.admitted for item in replayed):
            sys.stdout.write("next: `pipeline build` adds the admitted rows to Silver and Gold\n")


def show_findings(findings: Sequence[CheckResult], *, as_json: bool) -> int:
    """Print the doctor's findings, and return the exit code: 1 if there is a problem."""
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        rows = [("ok" if f.ok else "PROBLEM", f.check, f.found) for f in findings]
        print_table("Doctor", ("", "check", "found"), rows)
        for finding in findings:
            if not finding.ok:
                sys.stdout.write(f"fix {finding.check}: {finding.fix}\n")
    return int(not all(finding.ok for finding in findings))


def _show_partitions(rows: Sequence[PartitionStatus]) -> None:
    print_partitions(
        "Partitions", _PARTITION_COLUMNS, [[getattr(row, column) for column in _PARTITION_COLUMNS] for row in rows]
    )
    sums = {column: sum(getattr(row, column) or 0 for row in rows) for column in ("fetched", "bronze", "quarantined")}
    sign = "=" if sums["fetched"] == sums["bronze"] + sums["quarantined"] else "!="
    sys.stdout.write(
        f"fetched {sums['fetched']} {sign} Bronze {sums['bronze']} + quarantined {sums['quarantined']}\n\n"
    )


def _show_models(models: Sequence[ModelStatus]) -> None:
    print_table(
        "Models",
        ("layer", "model", "rows", "expected", "because"),
        [(row.layer, row.model, row.rows, row.expected, row.explanation) for row in models],
    )


def _build_line(done: BuildResult) -> str:
    if done.is_empty:
        return "nothing to build\n"
    tests = [node for node in done.results if node.kind == "test"]
    passed = sum(node.status == "pass" for node in tests)
    warned = sum(node.status == "warn" for node in tests)
    names = [relation.replace('"', "") for relation in done.dropped]
    dropped = f", dropped {', '.join(names)}" if names else ""
    return (
        f"published version {done.version} in {done.seconds:.1f} s: {len(done.partitions)} partitions processed,"
        f" {passed} tests passed, {warned} warned{dropped}\n"
    )


def _build_document(done: BuildResult) -> dict[str, object]:
    return {
        "version": done.version,
        "seconds": round(done.seconds, 2),
        "partitions": [partition._asdict() for partition in done.partitions],
        "nodes": [node._asdict() for node in done.results],
        "dropped": list(done.dropped),
    }


def _show_errors(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.error is not None:
            fail(outcome.error)


def _show_problems(state: Status) -> int:
    for note in state.notes:
        sys.stderr.write(f"note: {note}\n")
    for problem in state.problems:
        sys.stderr.write(f"error: {problem}\n")
    return DataError.exit_code if state.problems else 0
