"""The page of the settings, `docs/configuration.md`: generated from their declarations, so it is always correct."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from scripts.config import PROJECT_DIR, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = PROJECT_DIR / "docs" / "configuration.md"
_HEAD = """# Configuration

`pipeline sources generate` makes this page from `scripts/config.py`: change that file instead.

Settings are environment variables, or lines in `.env` (see [.env.example](../.env.example)).
Environment variables have priority. An empty value counts as not set. Relative paths start at the repository.
Every command refuses an invalid value at its start and names the variable.
`pipeline init` adds the secrets that orchestrators need.

| variable | values | default | meaning |
|---|---|---|---|
"""
_TAIL = """
Four variables are read only from the environment, before the settings:

| variable | default | meaning |
|---|---|---|
| `PIPELINE_HOME` | the repository | Folder that holds `dbt/` and `.env`; relative paths start there. |
| `PIPELINE_RUN_ID` | the time and a random part | Id of the run, if an orchestrator chooses one. |
| `DEMO_DIR` | `data/demo` | Where `pipeline demo` writes. |
| `DEMO_BRONZE_DIR` | `bronze` in `DEMO_DIR` | Bronze of `pipeline demo`; may be a bucket. |
"""
_NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false"}


def settings_page() -> str:
    """Return the page."""
    meanings = _docstrings()
    return _HEAD + "".join(_row(name, meanings[name]) for name in Settings.model_fields) + _TAIL


def _docstrings() -> Mapping[str, str]:
    """Return the text below each field; pydantic could keep it, but that would make every start 25 ms slower."""
    (declaration,) = ast.parse(textwrap.dedent(inspect.getsource(Settings))).body
    lines = declaration.body if isinstance(declaration, ast.ClassDef) else []
    return {
        line.target.id: " ".join(text.value.value.split())
        for line, text in itertools.pairwise(lines)
        if isinstance(line, ast.AnnAssign)
        and isinstance(line.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _row(name: str, meaning: str) -> str:
    field = Settings.model_fields[name]
    default = "" if field.default in {None, ()} else f"`{field.default}`"
    return f"| `{name.upper()}` | {_values(field.annotation, field.metadata)} | {default} | {meaning} |\n"


def _values(annotation: Any, metadata: list[Any]) -> str:  # noqa: ANN401 — a type, however it is written
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) in {Union, types.UnionType}:
        return _values(next(part for part in get_args(annotation) if part is not type(None)), metadata)
    if get_origin(annotation) is tuple:
        (part, *_) = get_args(annotation)
        return {str: "names, comma-separated", Path: "paths, comma-separated"}.get(part, "addresses, comma-separated")
    name = _NAMES.get(annotation) or {"Path": "path", "SecretStr": "secret", "AnyHttpUrl": "URL"}.get(
        getattr(annotation, "__name__", ""), "address"
    )
    limits = [
        f"{word} {getattr(limit, attribute)}"
        for limit in metadata
        for attribute, word in (("gt", "above"), ("ge", "from"), ("le", "to"))
        if getattr(limit, attribute, None) is not None
    ]
    return " ".join([name, *limits])
