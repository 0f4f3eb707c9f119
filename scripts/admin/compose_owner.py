"""The owner of the containers and volumes of a Docker Compose project: this folder, another one, or an unknown one."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from scripts.config import PROJECT_DIR
from scripts.utils.files import make_dir, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DEFAULT_PROJECT = "data-pipeline"
_LABEL = "com.docker.compose.project"
_SECRETS = ("POSTGRES_PASSWORD", "N8N_ENCRYPTION_KEY", "AIRFLOW_FERNET_KEY")
"""Secrets without which nobody can read the data in the volumes."""


def project_name(env_file: Path, environ: Mapping[str, str]) -> str:
    """Return the name of the project that Compose uses."""
    found = dotenv_values(env_file).get("COMPOSE_PROJECT_NAME") if env_file.exists() else None
    return environ.get("COMPOSE_PROJECT_NAME") or found or DEFAULT_PROJECT


def problem(project: str, env_file: Path, folder: Path = PROJECT_DIR) -> str:
    """Return why this folder must not change a project: what exists, and who made it; empty if it may change it.

    If containers of this folder exist, their volumes are noted as its own.
    """
    others, mine = _folders(project, folder)
    if others:
        return f"containers of the project {project} were made by {', '.join(sorted(others))}"
    volumes = _lines("docker", "volume", "ls", "--quiet", "--filter", f"label={_LABEL}={project}")
    if not volumes:
        return ""
    known = _note(folder).read_text(encoding="utf-8").split() if _note(folder).exists() else []
    if known == [project, _fingerprint(env_file)]:
        return ""
    if known[:1] == [project] and not mine:
        return f"volumes of the project {project} ({volumes[0]}, …) were made with other secrets than those in .env"
    if mine:
        note_volumes(project, env_file, folder)
        return ""
    return f"volumes of the project {project} ({volumes[0]}, …) were made by another folder, or by one that was deleted"


def ways_out(project: str) -> str:
    """Return what to do about a project that does not belong to this folder."""
    return (
        f"either give this folder its own name, COMPOSE_PROJECT_NAME={project}-2 in .env; or remove the project "
        "with its data: make reset CONFIRM=yes (if the volumes belong to this folder: make up ADOPT=yes)"
    )


def note_volumes(project: str, env_file: Path, folder: Path = PROJECT_DIR) -> None:
    """Note that the volumes of a project belong to this folder and were made with its present secrets."""
    make_dir(_note(folder).parent)
    write_atomically(_note(folder), f"{project}\n{_fingerprint(env_file)}\n".encode(), mode=0o600)


def failures(project: str) -> Sequence[str]:
    """Return each failed service of a project, with the line of its log that gives the reason."""
    ids = _lines("docker", "ps", "--all", "--quiet", "--filter", f"label={_LABEL}={project}")
    found = json.loads(_run("docker", "inspect", *ids) or "[]") if ids else []
    failed = []
    for container in found:
        state, name = container["State"], container["Config"]["Labels"].get("com.docker.compose.service", "?")
        is_red = state.get("Health", {}).get("Status") == "unhealthy"
        ended = state["Status"] in {"exited", "restarting", "dead"} and state.get("ExitCode", 0) != 0
        if not (is_red or ended):
            continue
        what = f"ended with code {state['ExitCode']}" if ended else "is not healthy"
        failed.append(f"{name} {what}: {error_line(_logs(container['Id']))}; the full log: make logs SERVICE={name}")
    return failed


def error_line(log: Sequence[str]) -> str:
    """Return the line of a log that gives the reason of a failure: the last one that names an error, or the last."""
    words = ("error", "fatal", "exception", "failed", "refused", "mismatching", "denied", "not set")
    lines = [line.strip() for line in log if line.strip()]
    # these lines are part of a traceback
    frames = ("File ", "(Background on this error")
    said = [line for line in lines if any(word in line.lower() for word in words) and not line.startswith(frames)]
    return ((said or lines or ["its log is empty"])[-1])[:500]


def _folders(project: str, folder: Path) -> tuple[set[str], bool]:
    """Return the other folders that made containers of a project, and whether this folder made some."""
    label = f'{{{{.Label "{_LABEL}.working_dir"}}}}'
    command = ("docker", "ps", "--all", "--filter", f"label={_LABEL}={project}", "--format", label)
    found = {line for line in _lines(*command) if line}
    # Compose's label holds the folder of its file
    own = {str(folder), str(folder / "infra"), str(folder.resolve()), str(folder.resolve() / "infra")}
    return found - own, bool(found & own)


def _note(folder: Path) -> Path:
    return folder / "data" / ".docker-volumes"


def _fingerprint(env_file: Path) -> str:
    known = dotenv_values(env_file) if env_file.exists() else {}
    return hashlib.sha256("\0".join(known.get(name) or "" for name in _SECRETS).encode()).hexdigest()


def _logs(container: str) -> Sequence[str]:
    done = subprocess.run(  # noqa: S603 — our own
        ["docker", "logs", "--tail", "200", container],  # noqa: S607 — as everywhere
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.stdout.splitlines()


def _lines(*command: str) -> Sequence[str]:
    return _run(*command).splitlines()


def _run(*command: str) -> str:
    done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=60)  # noqa: S603 — our own
    return done.stdout if done.returncode == 0 else ""
