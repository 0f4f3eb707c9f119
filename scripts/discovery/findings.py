"""Findings: what was found out about a source, how sure that is, and why."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

Sure = Literal["proven", "likely", "unknown"]


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found out.

    Attributes:
        about: What it is about: records, pages, total, key.
        sure: `proven` by a further request, `likely` from what was seen, or `unknown`.
        text: What it is, and why.
    """

    about: str
    sure: Sure
    text: str


@dataclasses.dataclass(slots=True)
class Discovered:
    """A resource as it was found.

    Attributes:
        name: Its name.
        keys: The keys of the contract.
        findings: How sure they are.
        choices: Lines for the contract that a person has to decide about.
        rows: Some of its rows.
    """

    name: str
    keys: dict[str, Any]
    findings: list[Finding] = dataclasses.field(default_factory=list)
    choices: list[str] = dataclasses.field(default_factory=list)
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
