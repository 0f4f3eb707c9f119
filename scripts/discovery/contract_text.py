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
    """Return the YAML of a contract; comments contain what a person has to check."""
    lines = [f"{key}: {flow_text(value)}" for key, value in head.items()]
    lines += [f"default_resource: {resources[0].name}", "", "resources:"]
    for found in resources:
        lines += [f"  {line}" for line in resource_lines(found)] + [""]
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"


def resource_lines(found: Discovered) -> list[str]:
    """Return a resource as lines of a contract, without the indent of `resources`."""
    return [
        f"{found.name}:",
        *(f"  # {item.about} ({item.sure}): {' '.join(item.text.split())}" for item in found.findings),
        *_resource(found.keys, "  "),
        *(f"  # {choice}" for choice in found.choices),
    ]


def _resource(keys: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for key, value in keys.items():
        if key in {"columns", "rules"}:
            lines += [f"{indent}{key}:", *(f"{indent}  - {flow_text(item)}" for item in value)]
        elif key == "children":
            lines.append(f"{indent}children:")
            for name, child in value.items():
                lines += [f"{indent}  {name}:", *_resource(child, indent + "    ")]
        else:
            lines.append(f"{indent}{key}: {flow_text(value)}")
    return lines


def flow_text(value: Any) -> str:  # noqa: ANN401 — any JSON
    """Return a value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow_text(str(key))}: {flow_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow_text(item) for item in value) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    is_plain = re.fullmatch(r"[A-Za-z_/][\w ./-]*", value) and yaml.safe_load(value) == value and ": " not in value
    return value if is_plain and not value.endswith(" ") else json.dumps(value, ensure_ascii=False)
