"""The checks of a running Airflow: files that did not load, and a missing pool for which builds would wait.

The doctor asks Airflow's API; the plugin `installation` notes the same for health.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests
from dotenv import dotenv_values

from scripts.admin.check_result import CheckResult
from scripts.admin.env_file import ENV_FILE, port_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

POOL = "warehouse"
_TIMEOUT_SECONDS = 20
_MADE, _REFUSED = 201, 401


def examine(env_file: Path = ENV_FILE, url: str = "") -> Sequence[CheckResult]:
    """Return the findings about the Airflow of this installation; empty if it does not run."""
    root = url or f"http://127.0.0.1:{port_of('AIRFLOW_PORT', env_file)}"
    password = (dotenv_values(env_file) if env_file.exists() else {}).get("AIRFLOW_ADMIN_PASSWORD")
    if not password:
        return []
    try:
        answer = _ask("POST", f"{root}/auth/token", json={"username": "admin", "password": password})
    except requests.RequestException:
        return []
    if answer.status_code == _REFUSED:
        found = f"{root} refuses the account admin"
        fix = "restart Airflow, so that it reads the password in .env; or stop another program that uses its port"
        return [CheckResult("airflow", ok=False, found=found, fix=fix)]
    if answer.status_code != _MADE:
        # another program uses the port
        return []
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    try:
        files = {one["filename"]: one["stack_trace"] for one in _get(root, "importErrors", headers)["import_errors"]}
        broken = _get(root, "plugins/importErrors", headers)["import_errors"]
        has_pool = _ask("GET", f"{root}/api/v2/pools/{POOL}", headers=headers).ok
    except (requests.RequestException, ValueError, KeyError) as error:
        return [CheckResult("airflow", ok=False, found=f"{root}: {type(error).__name__}", fix="read Airflow's logs")]
    return findings(files, {one["source"]: one["error"] for one in broken}, has_pool=has_pool)


def findings(files: Mapping[str, str], plugins: Mapping[str, str], *, has_pool: bool) -> Sequence[CheckResult]:
    """Return the findings about DAG files and plugins, with the traces of those that did not load, and the pool."""
    pool = f"{POOL} {'exists' if has_pool else 'is missing, and builds wait for it'}"
    return [
        _loaded("DAG files", files, fix="correct the file; Airflow reads it again within seconds"),
        _loaded("Airflow plugins", plugins, fix="correct the file, then restart Airflow"),
        CheckResult("Airflow pool", ok=has_pool, found=pool, fix="restart Airflow, which creates it"),
    ]


def _loaded(check: str, errors: Mapping[str, str], fix: str) -> CheckResult:
    lines = [f"{name}: {_last_line(text)}" for name, text in sorted(errors.items())]
    return CheckResult(check, ok=not lines, found="; ".join(lines) or "all are loaded", fix=fix)


def _get(root: str, path: str, headers: dict[str, str]) -> dict[str, Any]:
    answer = _ask("GET", f"{root}/api/v2/{path}", headers=headers)
    answer.raise_for_status()
    return dict(answer.json())


def _ask(method: str, url: str, **options: Any) -> requests.Response:  # noqa: ANN401 — what requests takes
    return requests.request(method, url, timeout=_TIMEOUT_SECONDS, allow_redirects=False, **options)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason given"
