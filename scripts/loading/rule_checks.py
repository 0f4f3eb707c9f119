"""Rules: evaluates a contract's checks on the rows of a partition, one Arrow batch after another.

The same code checks rows while they are loaded and rows that are in Bronze. The results do not depend on how the rows
are split into batches.
"""

from __future__ import annotations

import array
import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from scripts.bronze.parquet import read_batches
from scripts.loading import custom_checks
from scripts.loading.predicates import compile_predicates
from scripts.loading.uniqueness import RepeatedKeys
from scripts.security.outside_text import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from scripts.contracts.rules import Range, Rule
    from scripts.contracts.source import Resource

_MAX_EXAMPLES = 3
_SHOWN_LENGTH = 200
_KEY_BYTES = 64 << 20
"""Bytes of keys of one `unique` rule that are kept in memory."""


class RuleViolations:
    """The rows of a partition that break one rule.

    Attributes:
        rule: The rule.
        rows: Number of rows; for `row_count` 1 when it is broken.
        positions: Position of each row in the Bronze file, if the rule moves rows to quarantine.
        columns: The columns whose values are shown.
    """

    def __init__(self, rule: Rule, columns: Sequence[str] = (), sensitive: Collection[str] = ()) -> None:
        """Start without rows; the values of sensitive columns are not shown."""
        self.rule = rule
        self.rows = 0
        self.positions = array.array("q")
        self.columns = tuple(columns)
        self._sensitive = frozenset(sensitive)
        self._examples: dict[int, list[str]] = {}

    def add(self, positions: np.ndarray) -> None:
        """Add rows by their positions in the Bronze file."""
        self.rows += len(positions)
        if self.rule.severity == "quarantine":
            self.positions.frombytes(positions.astype(np.int64).tobytes())

    def add_examples(self, batch: pa.RecordBatch, places: np.ndarray, part: int = 0) -> None:
        """Add values of rows of a batch as examples, until there are enough."""
        shown = self._examples.setdefault(part, [])
        if (missing := _MAX_EXAMPLES - len(shown)) > 0:
            shown += [self.shown(row) for row in batch.select(self.columns).take(places[:missing]).to_pylist()]

    def add_count(self, rows: int) -> None:
        """Record that the number of rows breaks the rule."""
        self.rows = 1
        self._examples[0] = [str(rows)]

    def shown(self, row: Mapping[str, object]) -> str:
        """Return the values of a row that the rule is about, as text."""
        texts = [HIDDEN if column in self._sensitive else _shown(row[column]) for column in self.columns]
        return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"

    @property
    def examples(self) -> list[str]:
        """A few of the values, in the order of the rule's bounds and of the rows."""
        return [text for part in sorted(self._examples) for text in self._examples[part]][:_MAX_EXAMPLES]

    @property
    def expectation(self) -> str:
        """What the rule expects, as text."""
        return expectation(self.rule)


class RuleChecker:
    """Checks the rows of one partition, batch after batch in the order of the file."""

    def __init__(self, resource: Resource) -> None:
        """Compile the rules.

        Raises:
            ContractError: A rule cannot be evaluated on its column's type.
        """
        self._resource = resource
        self._predicates = compile_predicates(resource)
        self._custom = [rule for rule in resource.rules if rule.check is not None]
        for rule in self._custom:
            custom_checks.load(rule)
        sensitive = resource.sensitive_columns
        self._findings = {
            rule.name: RuleViolations(rule, _columns(rule, resource), sensitive) for rule in resource.rules
        }
        self._repeated = {
            rule.name: RepeatedKeys(rule.unique, _KEY_BYTES) for rule in resource.rules if rule.unique is not None
        }
        self.rows = 0
        """Rows that were checked."""

    @property
    def columns(self) -> Sequence[str]:
        """The columns that the rules read."""
        if self._custom:
            return [column.name for column in self._resource.columns]
        return sorted({name for finding in self._findings.values() for name in finding.columns})

    def check(self, batch: pa.RecordBatch) -> None:
        """Check the next rows."""
        for predicate in self._predicates:
            broken = predicate.broken(batch.column(predicate.column))
            if pc.any(broken).as_py():
                places = pc.indices_nonzero(broken).to_numpy()
                self._findings[predicate.rule].add(places + self.rows)
                self._findings[predicate.rule].add_examples(batch, places, predicate.part)
        for rule in self._custom:
            if len(places := custom_checks.broken_rows(rule, batch)):
                self._findings[rule.name].add(places + self.rows)
                self._findings[rule.name].add_examples(batch, places)
        for keys in self._repeated.values():
            keys.add(batch)
        self.rows += batch.num_rows

    def finish(self, path: Path, folder: Path) -> list[RuleViolations]:
        """Return the violations of each rule that rows break, in contract order.

        Args:
            path: The file with all the rows.
            folder: Folder for temporary files of keys that do not fit into memory.
        """
        for name, keys in self._repeated.items():
            positions = keys.positions(path, folder)
            self._findings[name].add(positions)
            _add_examples_from_file(self._findings[name], positions[:_MAX_EXAMPLES], path)
        for rule in self._resource.rules:
            if rule.row_count is not None and not _within(self.rows, rule.row_count):
                self._findings[rule.name].add_count(self.rows)
        return [finding for finding in self._findings.values() if finding.rows]


def check_file(path: Path, resource: Resource) -> RuleChecker:
    """Return a checker that has checked all rows of a Bronze file."""
    checker = RuleChecker(resource)
    for batch in read_batches(path, columns=checker.columns):
        checker.check(batch)
    return checker


def rules_version(resource: Resource) -> str:
    """Return a short hash of the rules and of the Python files that they name."""
    rules = [rule.model_dump(mode="json", exclude_defaults=True) for rule in resource.rules]
    digest = hashlib.sha256(json.dumps(rules, sort_keys=True).encode())
    for rule in resource.rules:
        if rule.check is not None and (file := custom_checks.file_of(rule)).is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def expectation(rule: Rule) -> str:  # noqa: PLR0911 — one for each check
    """Return what a rule expects, as text."""
    if rule.range is not None:
        return f"{rule.column} {_bounds(rule.range)}"
    if rule.length is not None:
        return f"length of {rule.column} {_bounds(rule.length)}"
    if rule.accepted_values is not None:
        return f"{rule.column} one of {', '.join(map(str, rule.accepted_values))}"
    if rule.pattern is not None:
        return f"{rule.column} like {rule.pattern}"
    if rule.unique is not None:
        return f"{', '.join(rule.unique)} once in a day"
    if rule.row_count is not None:
        return f"number of rows {_bounds(rule.row_count)}"
    if rule.check is not None:
        return rule.description or f"true from {rule.check.rpartition(':')[2]}"
    return f"{rule.column} not null"


def _add_examples_from_file(finding: RuleViolations, positions: np.ndarray, path: Path) -> None:
    if len(positions) == 0:
        return
    first = 0
    for batch in read_batches(path, columns=finding.columns):
        here = positions[(positions >= first) & (positions < first + batch.num_rows)]
        finding.add_examples(batch, here - first)
        first += batch.num_rows
        if first > positions[-1]:
            return


def _columns(rule: Rule, resource: Resource) -> Sequence[str]:
    if rule.unique is not None:
        return rule.unique
    if rule.column is not None:
        return (rule.column,)
    # the primary key helps a person to find a row that a custom check refuses
    return tuple(column for column in resource.primary_key if column != "dt") if rule.check is not None else ()


def _shown(value: object) -> str:
    text = "null" if value is None else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 1] + "…"


def _within(value: float, bounds: Range) -> bool:
    return (bounds.min is None or value >= bounds.min) and (bounds.max is None or value <= bounds.max)


def _bounds(bounds: Range) -> str:
    if bounds.min is None:
        return f"at most {bounds.max:g}"
    if bounds.max is None:
        return f"at least {bounds.min:g}"
    return f"from {bounds.min:g} to {bounds.max:g}"
