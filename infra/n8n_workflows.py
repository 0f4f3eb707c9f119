"""Bring the workflows of the n8n that `make n8n-up` runs into the repository, or the repository's into it.

    python infra/n8n_workflows.py export|import [--env-file .env]

What is exported is normalised, so that a diff shows what somebody changed and nothing else.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from n8n_local import environment  # noqa: E402 — beside this file
from scripts.admin.env_file import ENV_FILE  # noqa: E402 — the repository has to be on the path

FOLDER = REPOSITORY / "n8n" / "workflows"
KEPT = ("id", "name", "description")


def normalised(exported: dict[str, Any], known: dict[str, Any] | None) -> dict[str, Any]:
    """Return a workflow without what changes by itself: times, versions, and this installation's settings.

    Args:
        exported: As n8n exports it.
        known: The file in the repository; the values of its node Settings stay.
    """
    nodes = json.loads(json.dumps(exported["nodes"]))
    settings = {node["name"]: node["parameters"] for node in (known or {}).get("nodes", [])}.get("Settings")
    for node in nodes:
        if node["name"] == "Settings" and settings is not None:
            node["parameters"] = settings
    return {key: exported.get(key) for key in KEPT} | {
        "active": False,
        "nodes": nodes,
        "connections": exported["connections"],
        "settings": exported["settings"],
        "pinData": {},
        "meta": {"templateCredsSetupCompleted": True},
        "tags": [],
    }


def export_workflows(environ: dict[str, str]) -> None:
    """Write every workflow of n8n's database to the repository."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["n8n", "export:workflow", "--all", "--separate", f"--output={folder}"]
        subprocess.run(command, env=environ, check=True)
        for path in sorted(Path(folder).glob("*.json")):
            exported = json.loads(path.read_text())
            target = FOLDER / f"{exported['name']}.json"
            known = json.loads(target.read_text()) if target.exists() else None
            target.write_text(json.dumps(normalised(exported, known), indent=2, ensure_ascii=False) + "\n")
            print(target.relative_to(REPOSITORY))


def main() -> None:
    """Export or import."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("direction", choices=("export", "import"))
    parser.add_argument("--port", type=int, default=5678)
    parser.add_argument("--airflow-url", default="http://127.0.0.1:8080")
    parser.add_argument("--env-file", type=Path, default=ENV_FILE)
    arguments = parser.parse_args()
    environ = environment(arguments.port, arguments.airflow_url, arguments.env_file)
    if arguments.direction == "export":
        export_workflows(environ)
    else:
        subprocess.run(["sh", str(REPOSITORY / "n8n" / "init.sh")], env=environ, check=True)


if __name__ == "__main__":
    main()
