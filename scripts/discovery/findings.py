"""Findings: facts about a source, how certain they are, and why."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

Sure = Literal["proven", "likely", "unknown"]


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One fact about a source.

    Attributes:
        about: Subject of the fact: records, pages, total, key.
        sure: `proven` by a further request, `likely` from what was seen, or `unknown`.
        text: The fact and its reason.
    """

    about: str
    sure: Sure
    text: str


@dataclasses.dataclass(slots=True)
class Discovered:
    """A discovered resource.

    Attributes:
        name: Its name.
        keys: The keys of the contract.
        findings: The facts from which the keys follow.
        choices: Lines for the contract that a person has to decide about.
        rows: Some of its rows.
    """

    name: str
    keys: dict[str, Any]
    findings: list[Finding] = dataclasses.field(default_factory=list)
    choices: list[str] = dataclasses.field(default_factory=list)
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
