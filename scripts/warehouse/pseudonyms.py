"""Pseudonyms: keyed hashes (HMAC-SHA256) that replace values of columns with `sensitive: hash` in Silver.

The key is in two variables of a DuckDB connection, so that it is not in the SQL that dbt writes to files. The macro
`pseudonym` of the dbt project returns the SQL of the hash.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from scripts.config import settings
from scripts.contracts import catalog
from scripts.errors import SettingsError

if TYPE_CHECKING:
    import duckdb

_BLOCK = 64
"""The number of bytes of a block of SHA-256."""
_PADS = {"pseudonym_inner": 0x36, "pseudonym_outer": 0x5C}
"""The byte that HMAC combines with its key, by the variable that holds the result."""


def hand_over_key(connection: duckdb.DuckDBPyConnection, key: str) -> None:
    """Pass a key to a connection, so that its SQL can compute pseudonyms; an empty key changes nothing."""
    if not key:
        return
    material = key.encode()
    block = (material if len(material) <= _BLOCK else hashlib.sha256(material).digest()).ljust(_BLOCK, b"\0")
    for name, pad in _PADS.items():
        # a parameter, so that the key is not in a log of statements
        connection.execute(f"set variable {name} = unhex(?)", [bytes(byte ^ pad for byte in block).hex()])


def pseudonym_key() -> str:
    """Return the key of this installation; empty if none is set."""
    key = settings().pseudonym_key
    return key.get_secret_value() if key else ""


def key_id() -> str:
    """Return a short text that identifies the key; empty without a key."""
    key = pseudonym_key()
    return hashlib.pbkdf2_hmac("sha256", key.encode(), b"id of the key of pseudonyms", 1000)[:8].hex() if key else ""


def check_key() -> None:
    """Check that there is a key if a contract asks for pseudonyms.

    Raises:
        SettingsError: There is no key; the message names the first column that needs it.
    """
    if pseudonym_key():
        return
    for source in catalog.read_all().sources.values():
        for name, resource in source.resources.items():
            for column in resource.columns:
                if column.sensitive == "hash":
                    raise SettingsError(
                        f"PSEUDONYM_KEY is not set, and column `{column.name}` of {source.source}.{name} is"
                        " `sensitive: hash`",
                        hint="`pipeline init` adds it; keep it: another key changes every hash",
                    )
