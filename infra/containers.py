"""The containers of a Docker Compose project: their state, their log lines, and commands in them."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Container = Mapping[str, Any]

_LABEL = "com.docker.compose"


def find(project: str, service: str) -> Container | None:
    """Return what Docker knows about the container of a service; None without one, or without Docker."""
    # without the containers of `docker compose run`
    labels = (f"project={project}", f"service={service}", "oneoff=False")
    options = [option for label in labels for option in ("--filter", f"label={_LABEL}.{label}")]
    try:
        ids = docker("ps", "--all", "--quiet", *options).stdout.split()
    except FileNotFoundError:
        return None
    found: list[Container] = json.loads(docker("inspect", ids[0]).stdout or "[]") if ids else []
    return found[0] if found else None


def is_running(container: Container | None) -> bool:
    """Return whether there is a container, and it runs."""
    return bool(container and container["State"]["Status"] == "running")


def lines(container: Container) -> Sequence[str]:
    """Return the lines that a container has logged since its last start."""
    done = docker("logs", "--since", container["State"]["StartedAt"], container["Id"])
    return [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line of Docker."""
    return subprocess.run(["docker", *arguments], text=True, capture_output=True, check=False, timeout=300)
