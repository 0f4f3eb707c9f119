"""Rows of resources without a path: from a Python generator, a Singer tap or a dlt resource."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import requests

from scripts.config import variable
from scripts.contracts.templates import fill
from scripts.errors import PipelineError, SettingsError, SourceRejectedError, SourceUnavailableError
from scripts.extract import retries
from scripts.extract.functions import load_function
from scripts.security.redaction import register_secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from scripts.contracts.request import Singer
    from scripts.contracts.source import Resource
    from scripts.extract.client import Client

_PAGE = 1000
_ENCODER = msgspec.json.Encoder(decimal_format="number", enc_hook=str)
_SNIPPET = 300


class Caller:
    """The client for a generator: it uses the contract's address, authentication, rate limit and retries."""

    def __init__(self, client: Client, attempts: retries.Retries) -> None:
        """Keep the client of the source."""
        self._client, self._attempts = client, attempts

    def get_json(self, path: str, params: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 — any JSON
        """Return the JSON at a path of the source, or at a full URL of the source.

        Raises:
            SourceRejectedError, SourceUnavailableError: See `retries.fetch`.
        """
        return self.request("GET", path, params=params)

    def request(self, method: str, path: str, **arguments: Any) -> Any:  # noqa: ANN401 — the arguments of requests
        """Return the JSON of the answer to a request; `arguments` are those of `requests`."""
        url = path if path.startswith(self._client.base_url) else self._client.base_url + path

        def send(address: str, **more: Any) -> requests.Response:  # noqa: ANN401 — the arguments of requests
            return self._client.send(method, address, **{**more, **arguments})

        params = arguments.pop("params", None)
        return retries.fetch(
            send, url, lambda response: msgspec.json.decode(response.content), params=params, retries=self._attempts
        )


def generated_pages(resource: Resource, day: dt.date, client: Client, attempts: retries.Retries) -> Iterator[bytes]:
    """Yield the rows of a resource without a path, as JSON lists of at most a thousand rows.

    Raises:
        SourceRejectedError: The generator or the tap fails, or yields a value that is not a row.
        SourceUnavailableError: The generator cannot reach the source.
    """
    name = resource.python or resource.dlt or (resource.singer.command[0] if resource.singer else "")
    try:
        rows = iter(_rows(resource, day, client, attempts))
        while chunk := list(itertools.islice(rows, _PAGE)):
            yield _ENCODER.encode(chunk)
    except PipelineError:
        raise
    except requests.RequestException as error:
        raise SourceUnavailableError(retries.describe(error), where=name) from error
    except Exception as error:
        raise SourceRejectedError(
            f"{type(error).__name__}: {error}", where=name, expected="rows, each a mapping", hint=f"correct {name}"
        ) from error


def _rows(resource: Resource, day: dt.date, client: Client, attempts: retries.Retries) -> Iterable[object]:
    if resource.python is not None:
        return load_function(resource.python)(day, Caller(client, attempts))  # type: ignore[no-any-return]
    if resource.dlt is not None:
        return _flat(load_function(resource.dlt)(day))
    if resource.singer is not None:
        return _tapped(resource.singer, day)
    return ()


def _flat(items: Iterable[Any]) -> Iterator[object]:
    for item in items:
        yield from item if isinstance(item, list) else [item]


def _tapped(tap: Singer, day: dt.date) -> Iterator[object]:
    midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
    values: dict[str, object] = {"day": midnight, "next_day": midnight + dt.timedelta(days=1)}
    with tempfile.TemporaryDirectory(prefix="singer-") as folder:
        config = Path(folder) / "config.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps(_with_secrets(fill(tap.config, values))))
        command = [fill(part, {**values, "config": config}) for part in tap.command]
        with (Path(folder) / "stderr").open("w+b") as said:
            yield from _records(command, tap.stream, said)


def _records(command: list[str], stream: str, said: Any) -> Iterator[object]:  # noqa: ANN401 — a file
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said)  # noqa: S603 — from the contract
    except OSError as error:
        raise SourceRejectedError(
            f"the tap does not start: {error.strerror}", where=command[0], hint="install it, or give its full path"
        ) from None
    try:
        for line in process.stdout or ():
            message = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            kind = msgspec.json.decode(message.get("type", msgspec.Raw(b'""')))
            if kind == "RECORD" and msgspec.json.decode(message["stream"]) == stream:
                yield message["record"]
        if process.wait():
            said.seek(0)
            text = " ".join(said.read().decode(errors="replace").split())[-_SNIPPET:]
            raise SourceRejectedError(f"the tap ended with exit code {process.returncode}: {text}", where=command[0])
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _with_secrets(config: Any) -> Any:  # noqa: ANN401 — any JSON
    if isinstance(config, dict):
        return {key: _with_secrets(value) for key, value in config.items()}
    if isinstance(config, list):
        return [_with_secrets(value) for value in config]
    if not isinstance(config, str) or not config.startswith("env:"):
        return config
    name = config.removeprefix("env:")
    value = variable(name)
    if not value:
        raise SettingsError(f"{name} is not set", where="singer", hint=f"set {name} in the environment or in .env")
    register_secret(value)
    return value
