"""The plan of a build: which nodes are built and how, which tests run over which rows, and why.

It is a pure function of the project (from dbt's manifest), of the state of the warehouse file, and of the partitions
that the file does not hold yet. A node is up to date if its fingerprint has not changed, it was built from the present
data of each node that it reads, and it holds the validated content of each partition that it reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from scripts.bronze.ledger import Partition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from scripts.warehouse.project import Layer, Node, Project, Test

Mode = Literal["skip", "incremental", "full", "history"]
"""`history`: dbt adds to the existing rows, since they cannot be computed again."""
Rows = Literal["skip", "changed", "all"]
LAST_SEEN = "last_seen_date"


class NodeState(msgspec.Struct, frozen=True):
    """The record of a node in the warehouse file."""

    fingerprint: str
    data_version: str
    """Changes with the data."""
    changes_from: str | None
    """The data version from which its table of changes is complete; None if there is no such table."""
    relation: str
    keeps_history: bool
    name: str
    consumed: dict[str, str]
    """The data version of each node that it read when it was built."""
    columns: frozenset[str] = frozenset()
    types: dict[str, dict[str, str]] = {}
    """By resource of Bronze below it (`source/resource`): the type of each column when it was last built in full; if it
    keeps history, when it was last built."""


class TestState(msgspec.Struct, frozen=True):
    """The last result of a test."""

    fingerprint: str
    status: str
    consumed: dict[str, str]


class PendingPartition(msgspec.Struct, frozen=True):
    """A partition whose validated content a node does not hold."""

    partition: Partition
    is_new: bool
    """The node holds no content of it."""
    is_removed: bool = False
    is_in_order: bool = False
    """It is new, and its day is after all days of its resource that the node holds."""


class State(msgspec.Struct, frozen=True):
    """What a warehouse file holds, and the partitions that it does not hold yet."""

    nodes: dict[str, NodeState] = {}
    tests: dict[str, TestState] = {}
    pending: dict[str, list[PendingPartition]] = {}
    """By node."""
    types: dict[str, dict[str, str]] = {}
    """By resource of Bronze: the present type of each column."""


class NodePlan(msgspec.Struct, frozen=True):
    """How a build treats a node, and why."""

    node: str
    name: str
    mode: Mode
    reason: str


class TestPlan(msgspec.Struct, frozen=True):
    """Over which rows a test runs, and why."""

    test: str
    name: str
    rows: Rows
    reason: str


class Drop(msgspec.Struct, frozen=True):
    """A table or view that the project no longer builds."""

    name: str
    relation: str
    keeps_history: bool


class BuildPlan(msgspec.Struct, frozen=True):
    """Everything that a build does."""

    nodes: tuple[NodePlan, ...] = ()
    tests: tuple[TestPlan, ...] = ()
    drops: tuple[Drop, ...] = ()
    partitions: tuple[Partition, ...] = ()
    """The partitions that it processes."""
    compare_last_seen: frozenset[str] = frozenset()
    """Nodes whose `last_seen_date` a downstream node reads."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.made() or self.run_tests() or self.drops)

    def made(self) -> Sequence[NodePlan]:
        """Return the nodes that the build builds, each after those that it reads."""
        return [node for node in self.nodes if node.mode != "skip"]

    def run_tests(self) -> Sequence[TestPlan]:
        """Return the tests that run."""
        return [test for test in self.tests if test.rows != "skip"]


def plan_build(
    project: Project,
    state: State,
    *,
    layers: Iterable[Layer] = ("silver", "gold"),
    full_tests: bool = False,
    refreshed: frozenset[str] = frozenset(),
) -> BuildPlan:
    """Return what a build has to do.

    Args:
        project: The nodes and tests, with their fingerprints.
        state: The state of the file that the build starts from.
        layers: The layers to build.
        full_tests: Run every test, over all rows.
        refreshed: Rebuild these nodes in full, by `unique_id`; a node that keeps history keeps its rows.
    """
    wanted = frozenset(layers)
    plans: dict[str, NodePlan] = {}
    for node in project.nodes.values():
        mode, reason = _decide(node, project, state, plans) if node.layer in wanted else ("skip", "not asked for")
        if node.layer in wanted and node.id in refreshed and mode != "full" and not node.keeps_history:
            mode, reason = "full", "its refresh was asked for"
        plans[node.id] = NodePlan(node.id, node.name, mode, reason)
    drops = _drops(project, state)
    if drops or any(plan.mode != "skip" for plan in plans.values()):
        for node in project.nodes.values():
            if node.materialized == "external" and plans[node.id].mode == "skip" and node.layer in wanted:
                plans[node.id] = NodePlan(node.id, node.name, "full", "its file is written for each version")
    is_idle = not drops and all(plan.mode == "skip" for plan in plans.values())
    tests = [
        _test_plan(test, project, state, plans, full_tests=full_tests, is_idle=is_idle)
        for test in project.tests.values()
        if test.layer in wanted
    ]
    made = {unique_id for unique_id, plan in plans.items() if plan.mode != "skip"}
    partitions = {item.partition for unique_id in made for item in state.pending.get(unique_id, ())}
    return BuildPlan(
        nodes=tuple(plans.values()),
        tests=tuple(tests),
        drops=tuple(drops),
        partitions=tuple(sorted(partitions)),
        compare_last_seen=_compare_last_seen(project, state),
    )


def _decide(node: Node, project: Project, state: State, plans: Mapping[str, NodePlan]) -> tuple[Mode, str]:
    known = state.nodes.get(node.id)
    full: Mode = "history" if node.keeps_history else "full"
    if known is None:
        return full, "it is new"
    if known.relation != node.relation:
        return full, f"its name was {known.relation}"
    if known.fingerprint != node.fingerprint:
        return full, "its definition has changed"
    whole, partial = _changes_upstream(node, known, project, state, plans)
    bronze_whole, bronze_partial = _changes_in_bronze(node, state)
    whole, partial = [*whole, *bronze_whole], [*partial, *bronze_partial]
    if whole or (partial and not node.strategy):
        reason = f"{_listed([*whole, *partial])} changed"
        return full, f"{reason}; {node.why_full}" if node.why_full else f"{reason} as a whole"
    if partial:
        return "incremental", f"{_listed(partial)} changed"
    return "skip", "it is up to date"


def _changes_upstream(
    node: Node, known: NodeState, project: Project, state: State, plans: Mapping[str, NodePlan]
) -> tuple[list[str], list[str]]:
    """Return the parents of which the node must read all rows, and those of which it reads only the changed rows."""
    whole, partial = [], []
    for parent in node.parents:
        before = state.nodes.get(parent)
        mode = plans[parent].mode if parent in plans else "skip"
        consumed = known.consumed.get(parent)
        if mode == "skip" and before is not None and consumed == before.data_version:
            continue
        name = project.nodes[parent].name
        if parent in node.affected_by and _tells(project.nodes[parent], before, mode, consumed):
            partial.append(name)
        else:
            whole.append(name)
    return whole, partial


def _tells(parent: Node, before: NodeState | None, mode: Mode, consumed: str | None) -> bool:
    """Return whether the table of changes of a node holds all changes since the data version that was consumed."""
    if before is None or not parent.strategy or consumed is None:
        return False
    is_told = mode == "incremental" or (mode == "skip" and before.changes_from is not None)
    return is_told and consumed == (before.changes_from or before.data_version)


def _changes_in_bronze(node: Node, state: State) -> tuple[list[str], list[str]]:
    pending = state.pending.get(node.id, [])
    if not pending:
        return [], []
    if retyped := _retyped(node, state):
        return retyped, []
    words = [f"{len(pending)} partition{'s' if len(pending) > 1 else ''} of {_listed(_resources(pending))}"]
    if node.strategy == "extend_history" and not all(item.is_in_order for item in pending):
        return words, []
    return [], words


def _retyped(node: Node, state: State) -> list[str]:
    """Return the columns of Bronze whose type is another one than when the node was last built in full."""
    known = state.nodes[node.id].types
    return [
        f"the type of `{column}` of {resource}"
        for resource, types in known.items()
        for column, before in types.items()
        if state.types.get(resource, {}).get(column, before) != before
    ]


def _resources(pending: Iterable[PendingPartition]) -> list[str]:
    return sorted({f"{item.partition.source}/{item.partition.resource}" for item in pending})


def _test_plan(
    test: Test,
    project: Project,
    state: State,
    plans: Mapping[str, NodePlan],
    *,
    full_tests: bool,
    is_idle: bool,
) -> TestPlan:
    rows, reason = _rows_of_test(test, project, state, plans, full_tests=full_tests, is_idle=is_idle)
    return TestPlan(test.id, test.name, rows, reason)


def _rows_of_test(
    test: Test, project: Project, state: State, plans: Mapping[str, NodePlan], *, full_tests: bool, is_idle: bool
) -> tuple[Rows, str]:
    known = state.tests.get(test.id)
    if full_tests:
        return "all", "all tests over all rows were asked for"
    if known is None or known.fingerprint != test.fingerprint:
        return "all", "it is new" if known is None else "its definition has changed"
    if known.status not in {"pass", "warn"}:
        return "all", f"its last result was `{known.status}`"
    changed = [
        parent
        for parent in test.parents
        if plans[parent].mode != "skip" or known.consumed.get(parent) != _version(state, parent)
    ]
    if not changed:
        looks_beyond = test.always and not is_idle
        return ("all", "it reads more than nodes") if looks_beyond else ("skip", "nothing upstream changed")
    names = _listed([project.nodes[parent].name for parent in changed])
    return _rows_of_changed(test, known, project, state, plans, names)


def _rows_of_changed(
    test: Test, known: TestState, project: Project, state: State, plans: Mapping[str, NodePlan], names: str
) -> tuple[Rows, str]:
    if known.status != "pass":
        return "all", f"{names} changed, and its last result was `{known.status}`"
    if test.node is None:
        return "all", f"{names} changed, and the test is not valid for a part of the rows"
    node = project.nodes[test.node]
    if _tells(node, state.nodes.get(node.id), plans[node.id].mode, known.consumed.get(node.id)):
        return "changed", f"{names} changed"
    return "all", f"{names} changed as a whole"


def _version(state: State, node: str) -> str | None:
    return state.nodes[node].data_version if node in state.nodes else None


def _drops(project: Project, state: State) -> list[Drop]:
    present = {node.relation.lower() for node in project.nodes.values()}
    return [
        Drop(known.name, known.relation, known.keeps_history)
        for known in state.nodes.values()
        if known.relation.lower() not in present
    ]


def _compare_last_seen(project: Project, state: State) -> frozenset[str]:
    return frozenset(
        parent
        for node in project.nodes.values()
        if node.reads_last_seen or (node.id in state.nodes and LAST_SEEN in state.nodes[node.id].columns)
        for parent in node.affected_by
    )


def _listed(names: Sequence[str]) -> str:
    shown = [f"`{name}`" if " " not in name else name for name in names[:3]]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(shown) + more
