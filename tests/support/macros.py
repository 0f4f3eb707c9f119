"""Macros of the dbt project without dbt: what they write for DuckDB."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jinja2

from scripts.config import PROJECT_DIR

if TYPE_CHECKING:
    from collections.abc import Mapping


def render(file: str, macro: str, *arguments: object, known: Mapping[str, object]) -> str:
    """Return what a macro of `dbt/macros` writes for DuckDB.

    Args:
        file: The file, which has everything that the macro calls.
        macro: Its name.
        arguments: What it is called with.
        known: Functions of dbt and macros of other files.
    """
    adapter = SimpleNamespace()
    environment = jinja2.Environment(extensions=["jinja2.ext.do"], autoescape=False)
    text = (PROJECT_DIR / "dbt" / "macros" / file).read_text()
    module: Any = environment.from_string(text, globals={"adapter": adapter, **known}).module
    adapter.dispatch = lambda name: getattr(module, f"default__{name}")
    return str(getattr(module, macro)(*arguments))
