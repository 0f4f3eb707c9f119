"""Conversion of texts of contracts for files of the dbt project."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence


def plain_text(text: str) -> str:
    """Return a text of a contract, escaped so that dbt and its site show it literally: no Jinja, no HTML, no links."""
    shown = re.sub(r"([\[\]])", r"\\\1", html.escape(text, quote=False))
    return re.sub(r"\{(?=[{%#])", "{{ '{' }}", shown)


def yaml_text(document: dict[str, Any]) -> str:
    """Return a document as YAML with short lines."""
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
    return text


def python_list(names: Sequence[str]) -> str:
    """Return names as a list in Jinja."""
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"
