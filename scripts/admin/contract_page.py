"""The reference page of the contract's keys, `docs/contract.md`: generated from the models, so it is always correct."""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic_core import PydanticUndefined

from scripts.config import PROJECT_DIR
from scripts.contracts.contract_model import ContractModel
from scripts.contracts.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

PAGE = PROJECT_DIR / "docs" / "contract.md"
EXAMPLES = Path(__file__).with_name("contract_examples.yml")
_HEAD = """# Contract reference

`pipeline sources generate` makes this page from `scripts/contracts/`: change the models instead.

A contract is one YAML file in `scripts/sources/`. It describes an API, its resources, columns and rules.
[Adding a source](adding-a-source.md) explains the keys; this page lists all of them, with examples.
A key without a default is required.
"""
_TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "any value"}


def contract_page() -> str:
    """Return the page: one table for each part of a contract, in the order in which the parts first appear."""
    parts: list[type[ContractModel]] = []
    _collect(Source, parts)
    examples = example_texts()
    return _HEAD + "".join(_section(part) + _examples(examples[part.__name__]) for part in parts)


def example_texts() -> dict[str, list[str]]:
    """Return the examples of each part of a contract, as they are written."""
    examples: dict[str, list[str]] = {}
    name = ""
    for line in EXAMPLES.read_text(encoding="utf-8").splitlines():
        if re.fullmatch(r"\w+:", line):
            name = line.removesuffix(":")
            examples[name] = []
        elif line.startswith("- "):
            examples[name].append(line[2:])
        elif name:
            examples[name][-1] += "\n" + line[2:]
    return examples


def _examples(texts: list[str]) -> str:
    return "".join(f"\n```yaml\n{text}\n```\n" for text in texts)


def _collect(model: type[ContractModel], found: list[type[ContractModel]]) -> None:
    if model in found:
        return
    found.append(model)
    for field in model.model_fields.values():
        for part in _models(field.annotation):
            _collect(part, found)


def _models(annotation: Any) -> Iterator[type[ContractModel]]:  # noqa: ANN401 — a type, however it is written
    if isinstance(annotation, type) and issubclass(annotation, ContractModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _section(model: type[ContractModel]) -> str:
    summary = " ".join((model.__doc__ or "").split())
    rows = "".join(_row(name, field) for name, field in model.model_fields.items())
    return f"\n## {model.__name__}\n\n{summary}\n\n| key | values | default | meaning |\n|---|---|---|---|\n{rows}"


def _row(name: str, field: FieldInfo) -> str:
    if field.default_factory is not None:
        default = "none"
    elif field.default is PydanticUndefined:
        default = "required"
    elif isinstance(field.default, ContractModel):
        default = f"[{type(field.default).__name__}](#{type(field.default).__name__.lower()})"
    else:
        default = "none" if field.default in (None, (), "") else f"`{_plain(field.default)}`"
    meaning = " ".join((field.description or "").split())
    return f"| `{name}` | {_values(field.annotation)} | {default} | {meaning} |\n".replace("  |", " |")


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _values(annotation: Any) -> str:  # noqa: ANN401, PLR0911 — one return for each form of a type
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _values(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{_plain(value)}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_values(part) for part in arguments if part is not type(None)))
    if origin is tuple:
        return f"list of {_values(arguments[0])}"
    if origin is dict:
        return f"mapping of names to {_values(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, ContractModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return _TYPES.get(annotation, getattr(annotation, "__name__", "text"))
