"""The file `.env`: generated values that are made once and then stay: secrets, the user, free ports."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import socket
from typing import TYPE_CHECKING

from dotenv import dotenv_values

from scripts.admin.compose_owner import DEFAULT_PROJECT
from scripts.config import PROJECT_DIR
from scripts.utils.files import storage_errors, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

ENV_FILE = PROJECT_DIR / ".env"


def _password() -> str:
    return secrets.token_urlsafe(18)


def _long_secret() -> str:
    return secrets.token_hex(32)


def _prefect_login() -> str:
    return f"admin:{_password()}"


def _broker_url() -> str:
    return f"redis://:{_password()}@redis:6379/0"


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


_SECRETS: Mapping[str, tuple[Callable[[], str], str]] = {
    "AIRFLOW_ADMIN_PASSWORD": (_password, "Airflow's accounts: admin,"),
    "AIRFLOW_OPERATOR_PASSWORD": (_password, "operator (runs, clears, backfills),"),
    "AIRFLOW_VIEWER_PASSWORD": (_password, "viewer,"),
    "AIRFLOW_SERVICE_PASSWORD": (_password, "and n8n (backfills of pipeline_bronze)"),
    "AIRFLOW_FERNET_KEY": (_fernet_key, "encrypts connections in Airflow's database"),
    "POSTGRES_PASSWORD": (_password, "PostgreSQL in Docker"),
    "AIRFLOW_JWT_SECRET": (_long_secret, "signs the tokens of Airflow's processes and users"),
    "AIRFLOW_API_SECRET": (_long_secret, "signs the sessions of Airflow's API server"),
    "BACKFILL_WEBHOOK_SECRET": (_password, "password of the user `backfill` at n8n's webhook"),
    "ALERT_SERVICE_SECRET": (_password, "password with which n8n sends alerts"),
    "N8N_ENCRYPTION_KEY": (_long_secret, "encrypts the credentials in n8n's database; a lost key cannot be replaced"),
    "N8N_OWNER_PASSWORD": (_password, "n8n's owner account"),
    "PREFECT_API_AUTH_STRING": (_prefect_login, "Prefect's login; the page asks for the whole value"),
    "DOCS_PASSWORD": (_password, "password of the user `reader` at the docs service behind the TLS proxy"),
    "BROKER_URL": (_broker_url, "address of Redis with its password, for `make up WORKERS=3`"),
    "PSEUDONYM_KEY": (
        _long_secret,
        "key of the hashes of sensitive columns; another key changes every hash",
    ),
    "GRAFANA_ADMIN_PASSWORD": (_password, "Grafana's account admin"),
}
"""Every secret that `pipeline init` makes: the function that makes it, and its purpose."""

_PORTS: Mapping[str, tuple[int, str]] = {
    "AIRFLOW_PORT": (8080, "Airflow"),
    "N8N_PORT": (5678, "n8n and the backfill webhook"),
    "DOCS_PORT": (8090, "the data documentation"),
    "PREFECT_PORT": (4200, "Prefect"),
    "GRAFANA_PORT": (3001, "Grafana"),
    "PROMETHEUS_PORT": (9090, "Prometheus"),
    "SAMPLE_API_PORT": (3000, "the sample API"),
    "SPARK_PORT": (10000, "Spark's Thrift server"),
}
"""The ports that docker compose publishes on 127.0.0.1: the default, and the service."""

SECRET_NAMES = tuple(_SECRETS)
_FOR_THE_HOST = {"BACKUP_PASSPHRASE"}
"""Values that no container gets."""
_WRITTEN = (
    ("\\", "\\\\"),
    ('"', '\\"'),
    ("\r", "\\r"),
    ("\n", "\\n"),
    # the reader expands variables also inside quotes; for a variable that is not set it uses the text after `:-`
    ("${", "${_NOT_SET_:-$}{"),
)


def init_env(path: Path = ENV_FILE) -> Sequence[str]:
    """Add the values that a file lacks, and return their names; existing values stay. The mode of the file is 0600.

    A new port is free: the default, or the next free port if the default is taken.

    Raises:
        StorageError: The file cannot be written.
    """
    with storage_errors(path):
        known = {name: value for name, value in dotenv_values(path).items() if value} if path.exists() else {}
        lines = {name: f"# {about}\n{name}={make()}" for name, (make, about) in _SECRETS.items() if name not in known}
        if "HOST_UID" not in known:
            lines["HOST_UID"] = f"# the user that owns data/; the containers run as this user\nHOST_UID={os.getuid()}"
        if "COMPOSE_PROJECT_NAME" not in known:
            # an existing installation keeps the name that it had before each folder got its own name
            name = DEFAULT_PROJECT if known else f"{DEFAULT_PROJECT}-{_short_hash(path)}"
            lines["COMPOSE_PROJECT_NAME"] = f"# Docker's name for this folder's stack\nCOMPOSE_PROJECT_NAME={name}"
        taken = {int(known[name]) for name in _PORTS if known.get(name, "").isdigit()}
        for name, (default, about) in _PORTS.items():
            if name not in known:
                port = next(port for port in range(default, default + 1000) if port not in taken and is_free(port))
                taken.add(port)
                lines[name] = f"# port on 127.0.0.1: {about}\n{name}={port}"
        if lines:
            text = path.read_text(encoding="utf-8").rstrip("\n") + "\n\n" if path.exists() else ""
            write_atomically(path, (text + "\n".join(lines.values()) + "\n").encode(), mode=0o600)
        path.chmod(0o600)
    return list(lines)


def _short_hash(path: Path) -> str:
    return hashlib.sha256(str(path.resolve().parent).encode()).hexdigest()[:6]


def port_of(name: str, path: Path = ENV_FILE) -> int:
    """Return the port that a file sets for a service by a variable such as `AIRFLOW_PORT`, or the default."""
    found = dotenv_values(path).get(name) if path.exists() else None
    return int(found or _PORTS[name][0])


def ports(path: Path = ENV_FILE) -> Mapping[str, int]:
    """Return the port of each service, from a file or the default."""
    known = dotenv_values(path) if path.exists() else {}
    return {about: int(known.get(name) or default) for name, (default, about) in _PORTS.items()}


def is_free(port: int) -> bool:
    """Return whether no process listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        # servers set this too; without it, the port of a server that has just ended would count as taken
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def quoted(value: str) -> str:
    """Return a value in the form of a `.env` file, so that a reader gets the same value back."""
    for character, written in _WRITTEN:
        value = value.replace(character, written)
    return f'"{value}"'


def write_secret_files(folder: Path, path: Path = ENV_FILE) -> Sequence[str]:
    """Write each secret of a `.env` file to its own file, which docker-compose.prod.yml mounts; return the names.

    `settings.env` holds all other values, except those for the host only. The mode of the folder is 0700. The mode of
    the files is 0644, since other users read them inside the containers.

    Raises:
        StorageError: The folder cannot be written.
    """
    with storage_errors(folder):
        values = {name: value for name, value in dotenv_values(path).items() if value}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        settings_text = "".join(
            f"{name}={quoted(value)}\n" for name, value in values.items() if name not in _SECRETS.keys() | _FOR_THE_HOST
        )
        contents = {name: values[name] for name in _SECRETS} | {"settings.env": settings_text}
        for name, text in contents.items():
            write_atomically(folder / name, text.encode(), mode=0o644)
            # whatever the umask of the user is
            (folder / name).chmod(0o644)
    return list(contents)
