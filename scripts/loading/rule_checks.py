"""Rules: a contract's checks as a pandera schema, evaluated on Bronze rows in batches."""

from __future__ import annotations

import dataclasses
import decimal
from typing import TYPE_CHECKING, Any

import pandas as pd
import pandera.pandas as pandera

from scripts.bronze.parquet import read_batches

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

    from scripts.contracts.rules import Range, Rule
    from scripts.contracts.source import Resource

_MAX_EXAMPLES = 3


@dataclasses.dataclass(slots=True)
class RuleViolations:
    """The rows of a partition that break one rule.

    Attributes:
        rule: The rule.
        rows: Number of rows; for `row_count` 1 when it is broken.
        examples: A few of the values.
        positions: Place of each row in the Bronze file, with its value.
    """

    rule: Rule
    rows: int = 0
    examples: list[str] = dataclasses.field(default_factory=list)
    positions: dict[int, str] = dataclasses.field(default_factory=dict)

    def add(self, position: int, value: object) -> None:
        """Note one row."""
        shown = "null" if value is None or value is pd.NA else repr(value) if isinstance(value, str) else str(value)
        self.rows += 1
        if len(self.examples) < _MAX_EXAMPLES:
            self.examples.append(shown)
        if self.rule.severity == "quarantine":
            self.positions[position] = shown

    @property
    def expectation(self) -> str:  # noqa: PLR0911 — one for each check
        """What the rule asks for, in words."""
        rule = self.rule
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
        return f"{rule.column} not null"


def evaluate(path: Path, resource: Resource) -> tuple[int, list[RuleViolations]]:
    """Return the number of rows of a Bronze file, and a finding for each rule that rows break, in contract order."""
    findings = {rule.name: RuleViolations(rule) for rule in resource.rules}
    schema = compile_rules(resource)
    unique = [rule for rule in resource.rules if rule.unique is not None]
    keys: list[pd.DataFrame] = []
    rows = 0
    for batch in read_batches(path):
        frame = to_frame(batch, resource, first=rows)
        rows += len(frame)
        _check_rows(schema, frame, findings)
        if unique:
            keys.append(frame[sorted({column for rule in unique for column in rule.unique or ()})])
    if keys:
        _check_unique(pd.concat(keys), unique, findings)
    for rule in resource.rules:
        if rule.row_count is not None and not _within(rows, rule.row_count):
            findings[rule.name].add(-1, rows)
    return rows, [finding for finding in findings.values() if finding.rows]


def compile_rules(resource: Resource) -> pandera.DataFrameSchema:
    """Return the column rules of a resource as a pandera schema."""
    checks: dict[str, list[pandera.Check]] = {}
    for rule in resource.rules:
        if rule.column is not None:
            checks.setdefault(rule.column, []).extend(_checks(rule, resource.column(rule.column).type))
    return pandera.DataFrameSchema(
        {column: pandera.Column(checks=listed, nullable=True) for column, listed in checks.items()}
    )


def to_frame(batch: pa.RecordBatch, resource: Resource, *, first: int = 0) -> pd.DataFrame:
    """Return Bronze rows as a data frame on Arrow memory; columns newer than the file are null."""
    frame: pd.DataFrame = batch.to_pandas(types_mapper=pd.ArrowDtype)
    frame.index = pd.RangeIndex(first, first + len(frame))
    for column in resource.columns:
        if column.name not in frame:
            frame[column.name] = None
    return frame


def _check_rows(schema: pandera.DataFrameSchema, frame: pd.DataFrame, findings: dict[str, RuleViolations]) -> None:
    try:
        schema.validate(frame, lazy=True, inplace=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases
        # a rule with two bounds is two checks, of which a value breaks one
        for name, value, index in zip(cases["check"], cases["failure_case"], cases["index"], strict=True):
            findings[str(name)].add(int(index), value)


def _check_unique(frame: pd.DataFrame, rules: Sequence[Rule], findings: dict[str, RuleViolations]) -> None:
    for rule in rules:
        columns = list(rule.unique or ())
        repeated = frame[frame.duplicated(columns, keep="last")]
        for position, values in zip(repeated.index, repeated[columns].itertuples(index=False), strict=True):
            findings[rule.name].add(int(position), values[0] if len(columns) == 1 else tuple(values))


def _checks(rule: Rule, kind: str) -> list[pandera.Check]:
    if rule.not_null is not None:
        return [pandera.Check(lambda values: values.notna(), ignore_na=False, name=rule.name, error=rule.name)]
    if rule.accepted_values is not None:
        return [pandera.Check.isin(list(rule.accepted_values), name=rule.name, error=rule.name)]
    if rule.pattern is not None:
        return [pandera.Check.str_contains(rule.pattern, name=rule.name, error=rule.name)]
    if rule.length is not None:
        low, high = rule.length.min, rule.length.max
        return [
            pandera.Check.str_length(
                None if low is None else int(low), None if high is None else int(high), name=rule.name, error=rule.name
            )
        ]
    checks = []
    if rule.range is not None and rule.range.min is not None:
        checks.append(pandera.Check.ge(_bound(rule.range.min, kind), name=rule.name, error=rule.name))
    if rule.range is not None and rule.range.max is not None:
        checks.append(pandera.Check.le(_bound(rule.range.max, kind), name=rule.name, error=rule.name))
    return checks


def _bound(value: float, kind: str) -> Any:  # noqa: ANN401 — a number of the column's own kind
    return decimal.Decimal(str(value)) if kind.startswith("decimal") else value


def _within(value: float, bounds: Range) -> bool:
    return (bounds.min is None or value >= bounds.min) and (bounds.max is None or value <= bounds.max)


def _bounds(bounds: Range) -> str:
    if bounds.min is None:
        return f"at most {bounds.max:g}"
    if bounds.max is None:
        return f"at least {bounds.min:g}"
    return f"from {bounds.min:g} to {bounds.max:g}"
