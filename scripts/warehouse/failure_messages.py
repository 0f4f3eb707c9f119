"""dbt's failures as messages for the person who has to correct them: file, line, node, reason, remedy."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from scripts.config import settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scripts.warehouse.runner import NodeResult

_SHOWN_FAILURES = 5
_NOTHING_CHANGED = "the published version has not changed"
_MISSING_VARIABLE = re.compile(r"Env var required but not provided: '([^']+)'")
_MISSING_NAME = re.compile(r"'(\w+)' is undefined")
_REMEDIES = {
    re.compile(r'Run "dbt deps"'): "`pipeline dbt deps`",
    re.compile(r"Permission Error: Cannot access"): (
        "move the file into dbt/, or add its folder to DUCKDB_ALLOWED_DIRS; builds read nothing from the network"
    ),
    re.compile(r"exists in the \w+ extension|Permission Error: Loading external extensions"): (
        "write the SQL without the extension: builds load no extensions"
    ),
    re.compile(r"Cannot change configuration option"): (
        "set it in dbt/profiles.yml, under `config_options`: builds cannot change settings of DuckDB"
    ),
}
"""The remedies by the text of the error: of packages that are not installed, and of SQL that a build may not run."""
_NOISE = re.compile(r"Encountered an error|^Runtime Error$|^Compilation Error$|^Parsing Error$")


def describe_failures(bad: Sequence[NodeResult], complaints: Sequence[str], code: int, target: Path) -> tuple[str, str]:
    """Return one line that says what failed, and what to do next."""
    if bad:
        nodes = manifest_nodes(target)
        shown = [_describe_node(result, nodes.get(result.id), target) for result in bad[:_SHOWN_FAILURES]]
        more = f"; and {len(bad) - _SHOWN_FAILURES} more" if len(bad) > _SHOWN_FAILURES else ""
        return "; ".join(shown) + more, f"{_remedy(bad, nodes)}, then `pipeline build`; {_NOTHING_CHANGED}"
    useful = [line for line in complaints if line and not _NOISE.search(line)]
    what = useful[0] if useful else _last_words(complaints) or "no message"
    if found := _MISSING_VARIABLE.search(" ".join(complaints)):
        name = found.group(1)
        if name in os.environ:
            return (
                f"the environment variable {name} is not passed to dbt, since its name does not start with DBT_",
                f"rename it to DBT_{name}; {_NOTHING_CHANGED}",
            )
        where = "; ".join(_lines_with(re.compile(rf"env_var\(\s*['\"]{re.escape(found.group(1))}['\"]")))
        return (
            f"the environment variable {found.group(1)} is not set, and {where or 'the dbt project'} reads it",
            f"set it, or give `env_var` a default; {_NOTHING_CHANGED}",
        )
    remedy = _known_remedy(complaints) or "correct the project"
    return f"dbt ended with code {code}: {what}", f"{remedy}, then `pipeline build`; {_NOTHING_CHANGED}"


def one_line(text: str) -> str:
    """Return a text on one line: each sequence of white space becomes one space."""
    return " ".join(text.split())


def _describe_node(result: NodeResult, node: Mapping[str, Any] | None, target: Path) -> str:
    text = f"{result.kind} `{result.name}` {result.status}: {_without_repeats(result.message, node)}"
    if node is None:
        return text
    places = [node["original_file_path"] + _line_of(result.message, node)]
    if (compiled := compiled_file(node, target)).is_file():
        places.append(f"compiled: {compiled}")
    return f"{text} ({', '.join(places)})"


def compiled_file(node: Mapping[str, Any], target: Path) -> Path:
    """Return the file with the SQL that dbt ran for a node of its manifest; it may not exist."""
    if node.get("compiled_path"):
        return settings().dbt_dir / str(node["compiled_path"])
    return target / "compiled" / str(node["package_name"]) / str(node["original_file_path"])


def _without_repeats(message: str, node: Mapping[str, Any] | None) -> str:
    # dbt writes the kind of the error, the node and the file before the reason, and the compiled file after it
    message = re.sub(r"\s*> in macro .*$", "", message)
    if node is not None:
        name, path = re.escape(node["name"]), re.escape(node["original_file_path"])
        message = re.sub(rf"^\w+ Error in \w+ {name} \({path}\)\s*", "", message)
    return re.sub(r"\s*compiled code at \S+$", "", message)


def _line_of(message: str, node: Mapping[str, Any]) -> str:
    """Return the line of the model's file that contains the text in DuckDB's error."""
    # dbt adds its own statement before the model's SQL, so DuckDB's line number would be wrong
    wanted = [found.strip() for found in re.findall(r"LINE \d+: (?:\.\.\.)?(.*?)(?:\.\.\.)?\s*\^", message)]
    # an error without that text names the column or function that DuckDB does not find
    wanted += re.findall(r"(?:column|function|name|table) (?:with name )?[\"'`]?(\w+)[\"'`]?", message, re.IGNORECASE)
    lines = [one_line(line) for line in (node.get("raw_code") or "").splitlines()]
    return next((f":{place}" for text in wanted if text for place, line in enumerate(lines, 1) if text in line), "")


def _remedy(bad: Sequence[NodeResult], nodes: Mapping[str, Mapping[str, Any]]) -> str:
    kinds = {result.kind for result in bad}
    if kinds <= {"test", "unit_test"}:
        return "correct the data, the model or the test"
    if any("out of memory" in result.message.lower() for result in bad):
        return "raise DUCKDB_MEMORY_LIMIT"
    if known := _known_remedy([result.message for result in bad]):
        return known
    if kinds == {"seed"}:
        return "correct the CSV file"
    names = {name for result in bad if (found := _MISSING_NAME.search(result.message)) for name in found.groups()}
    if names:
        return f"define {', '.join(sorted(names))}, or correct the name"
    return "correct the model" if all(result.id in nodes for result in bad) else "correct the project"


def _known_remedy(messages: Sequence[str]) -> str:
    """Return the remedy of a known error; empty for other errors."""
    found = [remedy for words, remedy in _REMEDIES.items() if any(words.search(message) for message in messages)]
    return "; ".join(found)


def _lines_with(pattern: re.Pattern[str]) -> Sequence[str]:
    root = settings().dbt_dir
    return [
        f"{path.relative_to(root).as_posix()}:{number}"
        for folder in ("models", "seeds", "snapshots", "macros", "tests", "analyses")
        for path in sorted((root / folder).rglob("*.*"))
        if path.is_file()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ] or [
        f"{path.relative_to(root).as_posix()}:{number}"
        for path in sorted(root.glob("*.yml"))
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def _last_words(complaints: Sequence[str]) -> str:
    # dbt's last message is "Encountered an error:", followed by the reason
    texts = [re.sub(r"^Encountered an error:?\s*", "", line) for line in complaints]
    return next((text for text in texts if text), "")


def manifest_nodes(target: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the nodes and unit tests of dbt's last manifest by their `unique_id`; none if it cannot be read."""
    try:
        manifest = json.loads((target / "manifest.json").read_text())
    except (OSError, ValueError):
        return {}
    return {**manifest["nodes"], **manifest.get("unit_tests", {})}
