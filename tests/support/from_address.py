"""Requests that come from another address of this machine."""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter


class _From(HTTPAdapter):
    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, source_address=(self._address, 0), **options)


def session_from(address: str) -> requests.Session:
    """Return a session whose requests come from an address such as 127.0.0.2."""
    session = requests.Session()
    session.mount("http://", _From(address))
    return session
