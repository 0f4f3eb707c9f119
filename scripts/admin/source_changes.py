"""Changes of a source: finds differences between its answers and its contract, and adds new parts to the contract."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import yaml
from pydantic import ValidationError

from scripts.contracts import catalog
from scripts.contracts.json_path import steps_of
from scripts.contracts.source import Source
from scripts.discovery.contract_text import flow_text, resource_lines
from scripts.errors import PipelineError, UsageError
from scripts.extract.rewrite import Rewriter
from scripts.extract.rows import RowReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scripts.contracts.source import Resource
    from scripts.discovery.findings import Discovered


class Change(NamedTuple):
    """A difference between a source and its contract.

    Attributes:
        resource: The resource.
        text: A description of the difference.
        column: The column that can be added to the contract; None for other differences.
        found: The resource that can be added to the contract; None for other differences.
    """

    resource: str
    text: str
    column: dict[str, Any] | None = None
    found: Discovered | None = None

    @property
    def is_addition(self) -> bool:
        """Whether it can be added to the contract."""
        return self.column is not None or self.found is not None


def find_changes(source: Source, found: Sequence[Discovered]) -> list[Change]:
    """Return the differences between the answers of a source and its contract."""
    changes: list[Change] = []
    for discovered in found:
        resource = source.resources.get(discovered.name)
        if resource is None:
            text = f"new: resource {discovered.name} with {len(discovered.keys['columns'])} columns"
            changes.append(Change(discovered.name, text, found=discovered))
            continue
        changes += _of_columns(discovered.name, resource, discovered.keys["columns"], len(discovered.rows))
        changes += _of_paging(discovered.name, resource, discovered.keys.get("pagination", {}))
        changes += _of_rows(discovered.name, resource, discovered.rows)
        for name, child in discovered.keys.get("children", {}).items():
            if (known := source.resources.get(name)) is not None and known.nested is not None:
                own = [column for column in child["columns"] if column["name"] not in child["carry"]]
                changes += _of_columns(name, known, own, len(discovered.rows))
                changes += _of_rows(name, known, discovered.rows)
    return changes


def _of_columns(name: str, resource: Resource, columns: Sequence[dict[str, Any]], rows: int) -> Iterator[Change]:
    known = [steps_of(column.field or column.name) for column in resource.columns]
    names = {column.name.lower() for column in resource.columns}
    seen = []
    for column in columns:
        steps = steps_of(column.get("field", column["name"]))
        seen.append(steps)
        if not any(_overlap(steps, other) for other in known):
            taken = column["name"].lower() in names
            added = {**column, **({"name": f"{column['name']}_2", "field": column["name"]} if taken else {})}
            yield Change(name, f"new: {name}.{added['name']} ({column['type']})", {**added, "nullable": True})
    carried = {
        *(resource.for_each.carry if resource.for_each else ()),
        *(resource.nested.carry if resource.nested else ()),
    }
    for declared, steps in zip(resource.columns, known, strict=True):
        if declared.name not in carried and not any(_overlap(steps, other) for other in seen):
            yield Change(name, f"gone: {name}.{declared.name}: none of {rows} rows has it")


def _overlap(one: tuple[str | int, ...], other: tuple[str | int, ...]) -> bool:
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _of_paging(name: str, resource: Resource, found: dict[str, Any]) -> Iterator[Change]:
    if found and found["type"] != resource.pagination.type:
        yield Change(
            name, f"other: {name} pages by `{found['type']}` now, the contract has `{resource.pagination.type}`"
        )


def _of_rows(name: str, resource: Resource, rows: Sequence[dict[str, Any]]) -> Iterator[Change]:
    """Yield the rows of the answers that the contract does not admit, as one difference."""
    if resource.for_each is not None:
        return
    try:
        records = Rewriter(resource).rewrite([msgspec.json.encode(row) for row in rows], {})
        page = RowReader(resource).read_each([rewritten.record for rewritten in records])
    except PipelineError as error:
        yield Change(name, f"other: {name} cannot be read: {error.what}")
        return
    if page.rejects:
        count = f"{len(page.rejects)} of {page.fetched} rows"
        yield Change(name, f"other: {name}: {count} would go to quarantine, the first since {page.rejects[0].reason}")


def add_changes(path: Path, changes: Sequence[Change]) -> None:
    """Add new columns and resources to the file of a contract, and leave the rest of the file unchanged.

    Raises:
        UsageError: The form of the file does not allow it.
    """
    text = path.read_text(encoding="utf-8")
    for change in changes:
        if change.column is not None:
            columns = _node(text, [*_keys_of(yaml.safe_load(text), change.resource), "columns"])
            text = _insert(text, columns, f"- {flow_text(change.column)}".splitlines(), change)
        elif change.found is not None:
            text = _insert(text, _node(text, ["resources"]), resource_lines(change.found), change)
    try:
        Source.model_validate(yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError) as error:
        raise _by_hand(path, changes) from error
    path.write_text(text, encoding="utf-8")
    catalog.forget()


def _keys_of(document: dict[str, Any], resource: str) -> list[str]:
    """Return the keys that lead to a resource in the file: a nested list is in `children` of its parent."""
    if resource in document["resources"]:
        return ["resources", resource]
    parent = next(name for name, keys in document["resources"].items() if resource in keys.get("children", {}))
    return ["resources", parent, "children", resource]


def _node(text: str, keys: Sequence[str]) -> yaml.CollectionNode:
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for wanted in keys:
        node = next(value for key, value in node.value if key.value == wanted)
    found: yaml.CollectionNode = node
    return found


def _insert(text: str, node: yaml.CollectionNode, added: Sequence[str], change: Change) -> str:
    """Return a text with lines added after the last line of a list or mapping."""
    if node.flow_style or not node.value:
        raise _by_hand(Path("the contract"), [change])
    lines = text.splitlines()
    indent, last = node.start_mark.column, _last_line(node)
    while last + 1 < len(lines) and re.match(rf" {{{indent + 1},}}#", lines[last + 1]):
        last += 1
    lines[last + 1 : last + 1] = [f"{' ' * indent}{line}".rstrip() for line in added]
    return "\n".join(lines) + "\n"


def _last_line(node: yaml.Node) -> int:
    """Return the last line of a node; for a node of several lines, PyYAML gives the start of the next node."""
    if isinstance(node, yaml.CollectionNode) and node.value and not node.flow_style:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.line) - (node.end_mark.column == 0)


def _by_hand(path: Path, changes: Sequence[Change]) -> UsageError:
    lines = "; ".join(f"- {flow_text(change.column)}" for change in changes if change.column is not None)
    return UsageError(
        "the command cannot add lines to this form of the contract",
        where=str(path),
        expected="columns and resources on separate lines",
        hint=f"add by hand: {lines}" if lines else "add the resource by hand",
    )
