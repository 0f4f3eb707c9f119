"""Contracts as files of the Open Data Contract Standard: their text, and the contract that a file describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from scripts.contracts.odcs import from_odcs, to_odcs
from scripts.contracts.safe_text import yaml_text
from scripts.contracts.source import Source
from scripts.discovery.contract_text import contract_text
from scripts.discovery.findings import Discovered
from scripts.errors import ContractError, UsageError
from scripts.loading.rule_checks import expectation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def odcs_text(source: Source) -> str:
    """Return the file of a source."""
    return yaml_text(to_odcs(source, expectation))


def read_odcs(path: Path, name: str | None = None) -> tuple[Source, str, Sequence[str]]:
    """Return the source that a file describes, the text of its contract, and what a person has to fill in.

    Raises:
        UsageError: The file cannot be read, or is none of the standard.
        ContractError: What it describes is not a valid contract.
    """
    try:
        found: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"cannot be read: {' '.join(str(error).split())}", where=str(path)) from None
    if not isinstance(found, dict):
        raise UsageError(f"holds {type(found).__name__} at its top level", where=str(path), expected="a mapping")
    try:
        document, to_fill_in = from_odcs(found, name)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"is not of the standard: {type(error).__name__} {error}",
            where=str(path),
            hint="`datacontract lint` names each difference from the standard",
        ) from None
    try:
        source = Source.model_validate(document)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_url=False)
        )
        raise ContractError(f"describes no valid contract: {problems}", where=str(path)) from None
    return source, _text(document, to_fill_in), to_fill_in


def _text(document: dict[str, Any], to_fill_in: Sequence[str]) -> str:
    head = {key: value for key, value in document.items() if key not in {"default_resource", "resources"}}
    first = document["default_resource"]
    resources = document["resources"]
    ordered = [first, *(name for name in resources if name != first)]
    comments = "".join(f"# To fill in: {' '.join(item.split())}\n" for item in to_fill_in)
    return comments + contract_text(head, [Discovered(name, resources[name]) for name in ordered])
