"""Copy the expressions of `n8n/expressions/WORKFLOW/NODE.js` into the workflows, where n8n reads them.

    python infra/n8n_expressions.py [--check]     --check: change nothing, fail if a workflow is out of date

Each expression that is a function is in a file that has the name of its node, so that its tests need no n8n.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).resolve().parent.parent / "n8n"
START, END = "={{ (() => {", "})() }}"
"""How n8n writes an expression that is a function."""


def slug(name: str) -> str:
    """Return the name of the file that belongs to a node."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def functions(workflow: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield each expression that is a function: the name of its file, and its place in the workflow."""
    for node in workflow["nodes"]:
        for holder, key in _strings(node["parameters"]):
            if holder[key].startswith(START):
                yield f"{workflow['name']}/{slug(node['name'])}.js", holder, key


def render(workflow: dict[str, Any], folder: Path) -> set[str]:
    """Write the files' expressions into a workflow, and return the names of the files.

    Raises:
        ValueError: A file is missing, or is not one function.
    """
    used = set()
    for name, holder, key in functions(workflow):
        path = folder / name
        if not path.exists():
            raise ValueError(f"{name} is missing: the expression of its node must be in a file")
        text = path.read_text(encoding="utf-8").strip()
        if "}}" in text or not text.startswith(START.removeprefix("={{ ")) or not text.endswith("})()"):
            raise ValueError(f"{name} must be one function that is called, without two closing braces in a row")
        if re.search(r"catch\s*\{", text):
            raise ValueError(f"{name}: n8n's parser needs a name after `catch`")
        holder[key] = f"={{{{ {text} }}}}"
        used.add(name)
    return used


def take_out(workflow: dict[str, Any], folder: Path) -> list[str]:
    """Write the expressions of an exported workflow to the files that differ, and return the names of these files."""
    changed = []
    for name, holder, key in functions(workflow):
        text = holder[key].removeprefix("={{").removesuffix("}}").strip() + "\n"
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(name)
    return changed


def document(workflow: dict[str, Any]) -> str:
    """Return the content of a workflow's file."""
    return json.dumps(workflow, indent=2, ensure_ascii=False) + "\n"


def _strings(value: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 — a part of a JSON document
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in list(items):
        if isinstance(part, str):
            yield value, key
        yield from _strings(part)


def main() -> None:
    """Render every workflow, or check that all are rendered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args().check
    problems, used = [], set()
    for path in sorted((FOLDER / "workflows").glob("*.json")):
        workflow = json.loads(path.read_text(encoding="utf-8"))
        try:
            used |= render(workflow, FOLDER / "expressions")
        except ValueError as error:
            sys.exit(f"{path.name}: {error}")
        if document(workflow) != path.read_text(encoding="utf-8"):
            problems.append(f"{path.name} is out of date: python infra/n8n_expressions.py")
            if not check:
                path.write_text(document(workflow), encoding="utf-8")
                print(f"rendered {path.name}")
    files = {str(path.relative_to(FOLDER / "expressions")) for path in (FOLDER / "expressions").glob("*/*.js")}
    unused = [f"{name} belongs to no node" for name in sorted(files - used)]
    if unused or (check and problems):
        sys.exit("\n".join([*unused, *(problems if check else [])]))


if __name__ == "__main__":
    main()
