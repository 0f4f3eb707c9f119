"""The text of a contract, as a person would write it, from what was discovered."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.discovery.findings import Discovered


def contract_text(head: dict[str, Any], resources: Sequence[Discovered]) -> str:
    """Return the YAML of a contract; what is not sure stands beside it as comments."""
    lines = [f"{key}: {_flow(value)}" for key, value in head.items()]
    lines += [f"default_resource: {resources[0].name}", "", "resources:"]
    for found in resources:
        lines.append(f"  {found.name}:")
        lines += [f"    # {item.about} ({item.sure}): {item.text}" for item in found.findings]
        lines += _resource(found.keys, "    ")
        for choice in found.choices:
            lines.append(f"    # {choice}")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def column_line(column: dict[str, Any]) -> str:
    """Return a column as one line of a contract."""
    return f"- {_flow(column)}"


def _resource(keys: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for key, value in keys.items():
        if key == "columns":
            lines += [f"{indent}columns:", *(f"{indent}  {column_line(column)}" for column in value)]
        elif key == "children":
            lines.append(f"{indent}children:")
            for name, child in value.items():
                lines += [f"{indent}  {name}:", *_resource(child, indent + "    ")]
        else:
            lines.append(f"{indent}{key}: {_flow(value)}")
    return lines


def _flow(value: Any) -> str:  # noqa: ANN401 — any JSON
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(str(key))}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    is_plain = re.fullmatch(r"[A-Za-z_/][\w ./-]*", value) and yaml.safe_load(value) == value and ": " not in value
    return value if is_plain and not value.endswith(" ") else json.dumps(value, ensure_ascii=False)
