"""The doctor's checks for `make up`: Docker, free ports, memory, disk, and the owner of the files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from scripts.admin import compose_owner
from scripts.admin.check_result import CheckResult
from scripts.admin.env_file import is_free, ports
from scripts.config import PROJECT_DIR, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_LEAST_MEMORY_BYTES = 4e9
_LEAST_DISK_BYTES = 5e9
_LEAST_COMPOSE = (2, 24)


def examine(env_file: Path = PROJECT_DIR / ".env") -> Sequence[CheckResult]:
    """Return the findings; without Docker, one finding that says so: only `make up` needs Docker."""
    engine = _ask("docker", "info", "--format", "{{json .}}")
    if engine is None:
        advice = "`make up` needs Docker, everything else works without it: https://docs.docker.com/engine/install/"
        known = shutil.which("docker") is not None
        return [
            CheckResult(
                "docker",
                ok=not known,
                found=f"no Docker engine answers; {advice}",
                fix="start Docker, or add your user to its group: `sudo usermod -aG docker $USER`",
            )
        ]
    facts = json.loads(engine)
    checks: Sequence[Callable[[], CheckResult]] = (
        _compose,
        lambda: _env(env_file),
        lambda: _ports(env_file),
        lambda: _memory(int(facts.get("MemTotal", 0))),
        lambda: _disk(str(facts.get("DockerRootDir", "/"))),
        lambda: _owners(env_file),
        lambda: _workers(env_file),
    )
    return [
        CheckResult("docker", ok=True, found=f"engine {facts.get('ServerVersion')}"),
        *(check() for check in checks),
    ]


def _compose() -> CheckResult:
    version = (_ask("docker", "compose", "version", "--short") or "").strip()
    numbers = tuple(int(part) for part in version.lstrip("v").split(".")[:2] if part.isdigit())
    return CheckResult(
        "compose",
        ok=numbers >= _LEAST_COMPOSE,
        found=version or "docker compose is missing",
        fix=f"install the plugin Docker Compose {'.'.join(map(str, _LEAST_COMPOSE))} or newer",
    )


def _env(env_file: Path) -> CheckResult:
    if not env_file.exists():
        return CheckResult("secrets", ok=False, found=f"{env_file} is missing", fix="`make init`")
    mode = env_file.stat().st_mode & 0o777
    return CheckResult(
        "secrets", ok=not mode & 0o077, found=f"{env_file.name} has mode {mode:o}", fix=f"chmod 600 {env_file}"
    )


def _ports(env_file: Path) -> CheckResult:
    project = compose_owner.project_name(env_file, os.environ)
    if problem := compose_owner.problem(project, env_file):
        return CheckResult("ports", ok=False, found=problem, fix=compose_owner.ways_out(project))
    command = ("docker", "compose", "--env-file", str(env_file), "-f", str(PROJECT_DIR / "infra/docker-compose.yml"))
    if (_ask(*command, "ps", "--quiet") or "").strip():
        return CheckResult("ports", ok=True, found="used by this stack, which runs")
    taken = [f"{port} ({name})" for name, port in ports(env_file).items() if not is_free(port)]
    return CheckResult(
        "ports",
        ok=not taken,
        found=f"taken by another program: {', '.join(taken)}" if taken else "free",
        fix="set another *_PORT in .env, or delete its line: `make init` then finds a free port",
    )


def _memory(found: int) -> CheckResult:
    fix = "give Docker more memory, or lower DUCKDB_MEMORY_LIMIT and SCHEDULER_MEMORY in .env"
    return _size_check("memory", found, _LEAST_MEMORY_BYTES, "for Docker", fix)


def _disk(root: str) -> CheckResult:
    try:
        free = shutil.disk_usage(root).free
    except OSError:
        return CheckResult("disk", ok=True, found=f"{root} is not on this machine")
    fix = "`docker system prune` removes unused images"
    return _size_check("disk", free, _LEAST_DISK_BYTES, "free for images", fix)


def _size_check(check: str, found: int, wanted: float, purpose: str, fix: str) -> CheckResult:
    shown = f"{found / 1e9:.1f} GB {purpose}, {wanted / 1e9:.0f} GB wanted"
    return CheckResult(check, ok=found >= wanted, found=shown, fix=fix)


def _owners(env_file: Path) -> CheckResult:
    folder = settings().data_dir
    wanted = int((dotenv_values(env_file) if env_file.exists() else {}).get("HOST_UID") or os.getuid())
    paths = [folder, *(path for name in ("bronze", "warehouse", "docs") for path in (folder / name).rglob("*"))]
    strangers = [path for path in paths if path.exists() and path.lstat().st_uid != wanted]
    return CheckResult(
        "file owners",
        ok=not strangers,
        found=f"{len(strangers)} files do not belong to user {wanted}: {strangers[0]}"
        if strangers
        else f"user {wanted}",
        fix=f"sudo chown -R {wanted} {folder}",
    )


def _workers(env_file: Path) -> CheckResult:
    count = (dotenv_values(env_file) if env_file.exists() else {}).get("WORKERS") or ""
    if not count:
        return CheckResult("workers", ok=True, found="none: the scheduler runs all tasks")
    config = settings()
    is_number = count.isdigit() and int(count) > 0
    return CheckResult(
        "workers",
        ok=is_number and config.is_in_bucket,
        found=f"WORKERS={count}, with Bronze in {config.bronze_location}",
        fix="set BRONZE_DIR to a bucket: workers share no folder" if is_number else "set a number, such as WORKERS=3",
    )


def _ask(*command: str) -> str | None:
    try:
        done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=30)  # noqa: S603 — our own
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
