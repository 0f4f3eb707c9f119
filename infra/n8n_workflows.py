"""Export the workflows of n8n to the repository, or import the repository's workflows into the n8n of `make n8n-up`.

    python infra/n8n_workflows.py export [NAME…]         exports the project's workflows and the named ones
    python infra/n8n_workflows.py import [--overwrite]   imports workflows that differ; keeps workflows that were
                                                         changed in n8n, unless --overwrite is given

If n8n runs in Docker (`make up`), it exports from there; the import of Docker is `make up`. An exported workflow is
normalized, so that a diff shows only what a person changed; what is left out is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

import containers  # noqa: E402 — in the same folder
import n8n_expressions  # noqa: E402 — the same
from n8n_local import environment, launched  # noqa: E402 — the same
from scripts.admin import compose_owner  # noqa: E402 — the repository has to be on the path
from scripts.admin.env_file import ENV_FILE, port_of  # noqa: E402 — the same

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = REPOSITORY / "n8n" / "workflows"
KEPT = ("id", "name", "description")
SETTINGS = {
    "airflow_url": "AIRFLOW_URL",
    "ui_url": "AIRFLOW_UI_URL",
    "webhook_url": "BACKFILL_WEBHOOK_URL",
    "alert_url": "ALERT_URL",
    "max_days": "BACKFILL_MAX_DAYS",
}
"""The variable that gives a value of the nodes called Settings, as in n8n/plan.js."""
EXPORT = 'file=$(mktemp) && n8n export:workflow --all --output="$file" >/dev/null && cat "$file" && rm "$file"'
SECRET = re.compile(
    r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{12,}"
    r"|://[^/\s:@]+:[^/\s@]+@"
    r"|hooks\.slack\.com/services/T"
    r"|\b(sk|pk|rk|ghp|gho|ghs|glpat|xox[abpr]|AKIA|AIza|ya29)[-_A-Za-z0-9]{12,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
)
SECRET_NAME = re.compile(r"(?i)(api[-_ ]?key|token|secret|passw|authorization|credential)")
"""Names of fields whose value is a secret, unless it is an expression."""


def normalised(exported: dict[str, Any], known: dict[str, Any] | None) -> dict[str, Any]:
    """Return a workflow without values that change by themselves: times, versions, addresses of this installation.

    Args:
        exported: The workflow from n8n's export.
        known: The workflow in the repository; the values in its node Settings stay.
    """
    nodes = json.loads(json.dumps(exported["nodes"]))
    values = _settings(known)
    for node in nodes:
        if node["name"] == "Settings":
            for setting in _assignments(node["parameters"]):
                setting["value"] = values.get(setting["name"], setting["value"])
    return {key: exported.get(key) for key in KEPT} | {
        "active": False,
        "nodes": nodes,
        "connections": exported["connections"],
        "settings": exported["settings"],
        "pinData": {},
        "meta": {"templateCredsSetupCompleted": True},
        "tags": [],
    }


def left_out(exported: dict[str, Any], known: dict[str, Any] | None, environ: Mapping[str, str]) -> list[str]:
    """Return, in words, what a person has set in n8n and an export leaves out.

    Args:
        exported: The workflow from n8n's export.
        known: The workflow in the repository.
        environ: The environment of n8n, whose values the import writes into the nodes called Settings.
    """
    found = []
    if exported.get("pinData"):
        found.append("its pinned data, since it may be personal data")
    if tags := [str(tag["name"]) for tag in exported.get("tags") or []]:
        found.append(f"its tags: {', '.join(tags)}")
    values = _settings(known)
    for name, value in _settings(exported).items():
        if name in values and str(value) not in {str(values[name]), environ.get(SETTINGS.get(name, ""))}:
            advice = f"; set {SETTINGS[name]} instead" if name in SETTINGS else ""
            found.append(f"the value {value!r} of {name} in Settings{advice}")
    return found


def secrets_in(value: Any, name: str = "") -> list[str]:  # noqa: ANN401 — a part of a JSON document
    """Return the places of a document that hold a value that looks like a secret."""
    if isinstance(value, str):
        is_literal = len(value) > 5 and not value.startswith("=")  # noqa: PLR2004 — shorter ones are words such as "none"
        found = SECRET.search(value) or (is_literal and SECRET_NAME.search(name))
        return [name or "a text"] if found else []
    if isinstance(value, dict):
        # headers and assignments are pairs of a name and a value
        pair = str(value.get("name", "")) if "value" in value else ""
        return [found for key, part in value.items() for found in secrets_in(part, pair if key == "value" else key)]
    return [found for part in value for found in secrets_in(part, name)] if isinstance(value, list) else []


def export_workflows(environ: Mapping[str, str], names: list[str], container: containers.Container | None) -> None:
    """Write the project's workflows and the named ones to the repository; refuse a workflow that holds a secret."""
    known = {document["id"]: document for path in FOLDER.glob("*.json") if (document := json.loads(path.read_text()))}
    inside = ["docker", "exec", container["Id"]] if container else []
    done = subprocess.run([*inside, "sh", "-c", EXPORT], env=environ, check=True, text=True, stdout=subprocess.PIPE)
    if container:
        environ = dict(line.split("=", 1) for line in container["Config"]["Env"])
    refused = []
    for exported in sorted(json.loads(done.stdout), key=lambda workflow: str(workflow["id"])):
        mine = known.get(exported["id"])
        if mine is None and exported["name"] not in names:
            print(f"left out {exported['name']!r}: it is not of this project; NAMES='{exported['name']}' exports it")
            continue
        document = normalised(exported, mine)
        if found := [place for node in document["nodes"] for place in secrets_in(node["parameters"])]:
            refused.append(f"{exported['name']}: {', '.join(found)}")
            continue
        for what in left_out(exported, mine, environ):
            print(f"{exported['name']}: left out {what}")
        _write(document, mine)
    if refused:
        sys.exit(f"refused, since it looks like a secret, which must be in a credential: {'; '.join(refused)}")


def _write(document: dict[str, Any], known: dict[str, Any] | None) -> None:
    # a workflow that was renamed in n8n keeps its file
    name = (known or document)["name"]
    target = FOLDER / f"{re.sub(r'[^A-Za-z0-9_-]+', '_', name)}.json"
    for file in n8n_expressions.take_out(document, REPOSITORY / "n8n" / "expressions"):
        print(f"n8n/expressions/{file}")
    target.write_text(n8n_expressions.document(document), encoding="utf-8")
    print(target.relative_to(REPOSITORY))


def _settings(workflow: dict[str, Any] | None) -> dict[str, Any]:
    nodes = [node for node in (workflow or {}).get("nodes", []) if node["name"] == "Settings"]
    return {setting["name"]: setting["value"] for node in nodes for setting in _assignments(node["parameters"])}


def _assignments(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    found = parameters.get("assignments", {})
    return list(found.get("assignments", [])) if isinstance(found, dict) else []


def main() -> None:
    """Export or import workflows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("direction", choices=("export", "import"))
    parser.add_argument("names", nargs="*", help="other workflows to export, by name")
    parser.add_argument("--overwrite", action="store_true", help="replace what was changed in n8n")
    parser.add_argument("--env-file", type=Path, default=ENV_FILE)
    arguments = parser.parse_args()
    container = containers.find(compose_owner.project_name(arguments.env_file, os.environ), "n8n")
    if container and containers.is_running(container):
        if arguments.direction == "import":
            sys.exit(
                "n8n runs in Docker: `make up` imports, and `make up OVERWRITE=yes` also replaces what was changed"
            )
        export_workflows(os.environ, arguments.names, container)
        return
    # the values of the last start of n8n; before the first start, the values that it will use
    known: dict[str, Any] = {
        "port": port_of("N8N_PORT", arguments.env_file),
        "airflow_url": f"http://127.0.0.1:{port_of('AIRFLOW_PORT', arguments.env_file)}",
        "alert_url": "",
    } | launched()
    environ = environment(known["port"], known["airflow_url"], known["alert_url"], arguments.env_file)
    if arguments.direction == "export":
        export_workflows(environ, arguments.names, None)
    else:
        overwrite = {"OVERWRITE": "yes"} if arguments.overwrite else {}
        subprocess.run(["sh", str(REPOSITORY / "n8n" / "init.sh")], env=environ | overwrite, check=True)


if __name__ == "__main__":
    main()
