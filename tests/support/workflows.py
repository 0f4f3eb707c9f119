"""What can be wrong with a workflow file of n8n, without n8n."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from dotenv import dotenv_values
from py_mini_racer import JSEvalException, MiniRacer

from n8n_workflows import SECRET
from scripts.config import PROJECT_DIR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Node = Mapping[str, Any]
    Nodes = Mapping[str, Node]

NODES = json.loads(dotenv_values(PROJECT_DIR / "infra" / "n8n.env")["NODES_INCLUDE"] or "[]")
"""The node types that n8n loads."""
OUTPUTS = {"if": 2, "httpRequest": 2}
ENDS = {"respondToWebhook", "stopAndError", "stickyNote"}
STARTS = {"webhook", "errorTrigger", "manualTrigger", "scheduleTrigger", "stickyNote"}
engine = MiniRacer()


def strings(value: object) -> Iterator[str]:
    """Yield every string in a document."""
    if isinstance(value, str):
        yield value
    parts: Iterable[object] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        yield from strings(part)


def problems(workflow: Node) -> list[str]:
    """Return what is wrong with a workflow, in words."""
    nodes = {node["name"]: node for node in workflow["nodes"]}
    found = [
        f"two nodes are called {name!r}" for name, n in Counter(x["name"] for x in workflow["nodes"]).items() if n > 1
    ]
    found += [
        f"two nodes have the id {name!r}" for name, n in Counter(x["id"] for x in workflow["nodes"]).items() if n > 1
    ]
    if not re.fullmatch(r"[A-Za-z0-9]{16}", workflow.get("id", "")):
        found.append("the workflow has no fixed id of 16 letters and digits")
    if workflow.get("active") or workflow.get("pinData"):
        found.append("a file is neither active nor has it pinned data")
    errors, successes = (workflow["settings"].get(f"saveData{kind}Execution") for kind in ("Error", "Success"))
    is_alert = any(node["type"].endswith(".errorTrigger") for node in nodes.values())
    if successes != "none" or (errors != "none" and not is_alert):
        found.append("execution data would keep the caller's secret and Airflow's token")
    if is_alert and errors != "all":
        found.append("nobody would find an alert that could not be sent")
    if not any(node["type"].endswith(".stickyNote") for node in nodes.values()):
        found.append("no sticky note says what the workflow does")
    found += _links(workflow, nodes)
    found += _crossings(workflow, nodes)
    for name, node in nodes.items():
        found += [f"{name!r}: {problem}" for problem in _node(node, nodes)]
    return found


def _links(workflow: Node, nodes: Nodes) -> Iterator[str]:
    reached = set()
    # where nobody waits for an answer, a last node may be of any type
    answers = any(node["type"].endswith(".webhook") for node in nodes.values())
    for source, kinds in workflow["connections"].items():
        if source not in nodes:
            yield f"a connection comes from {source!r}, which does not exist"
        for target in (link["node"] for output in kinds["main"] for link in output or []):
            reached.add(target)
            if target not in nodes:
                yield f"{source!r} is connected to {target!r}, which does not exist"
    for name, node in nodes.items():
        kind = node["type"].removeprefix("n8n-nodes-base.")
        outputs = [bool(output) for output in workflow["connections"].get(name, {}).get("main", [])]
        rules = node["parameters"].get("rules", {}).get("values", [])
        wanted = len(rules) + 1 if rules else OUTPUTS.get(kind, 1)
        may_end = kind in ENDS or (kind == "set" and not answers)
        if not may_end and (len(outputs) < wanted or not all(outputs)):
            yield f"{name!r}: an output leads nowhere"
        if kind not in STARTS and name not in reached:
            yield f"nothing leads to {name!r}"


def _crossings(workflow: Node, nodes: Nodes) -> Iterator[str]:
    """Yield wires that cross, as straight lines between the nodes."""
    wires = [
        (source, link["node"])
        for source, kinds in workflow["connections"].items()
        for output in kinds["main"]
        for link in output or []
        if source in nodes and link["node"] in nodes
    ]
    for (a, b), (c, d) in itertools.combinations(wires, 2):
        p, q, r, s = (nodes[name]["position"] for name in (a, b, c, d))
        if len({a, b, c, d}) == 4 and _side(p, q, r) != _side(p, q, s) and _side(r, s, p) != _side(r, s, q):
            yield f"the wires {a!r} to {b!r} and {c!r} to {d!r} cross"


def _side(start: Sequence[float], end: Sequence[float], point: Sequence[float]) -> int:
    turn = (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])
    return (turn > 0) - (turn < 0)


def _node(node: Node, nodes: Nodes) -> Iterator[str]:
    kind, parameters = node["type"].removeprefix("n8n-nodes-base."), node["parameters"]
    if node["type"] not in NODES:
        yield f"node type {node['type']} is not loaded"
    if kind == "webhook" and (parameters.get("authentication") != "basicAuth" or not node.get("webhookId")):
        yield "a webhook needs basicAuth and a webhookId"
    if kind == "httpRequest" and (
        not parameters.get("options", {}).get("timeout") or node.get("onError") != "continueErrorOutput"
    ):
        yield "a request needs a time-out and an output for errors"
    for credential in (node.get("credentials") or {}).values():
        if set(credential) != {"id", "name"}:
            yield "a credential in a file has an id and a name and no more"
    for text in strings(parameters):
        yield from _text(text, nodes)


def _text(text: str, nodes: Nodes) -> Iterator[str]:
    if SECRET.search(text):
        yield "holds what looks like a secret"
    if "{{" in text and not text.startswith("="):
        yield f"an expression without a leading =: {text[:40]!r}"
    if re.search(r"\$(env|vars|secrets)\b", text):
        yield "$env, $vars and $secrets are not there"
    for name in re.findall(r"\$\(\s*'([^']+)'\s*\)", text):
        if name not in nodes:
            yield f"an expression names the node {name!r}, which does not exist"
    if text.startswith("="):
        parts = text[1:].split("{{")[1:]
        for part in parts:
            expression, end, _ = part.partition("}}")
            try:
                engine.eval(f"(function () {{ return ({expression}\n) }})")
            except JSEvalException as error:
                yield f"an expression does not parse: {str(error).splitlines()[0]}"
            if not end:
                yield f"an expression does not end: {part[:40]!r}"
