"""Quarantine: rows that were received and not admitted, each with its raw JSON, the rule and the reason."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Literal

import msgspec

from scripts.errors import BronzeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


Stage = Literal["schema", "rule"]
_ENCODER = msgspec.json.Encoder()


class QuarantinedRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row of a quarantine file."""

    source: str
    resource: str
    day: str
    row: int
    """Position among all rows that the source sent for the partition."""
    stage: Stage
    """`schema` if the record did not fit the contract's columns, `rule` if the row fitted and broke a rule."""
    rule: str
    reason: str
    raw: str
    """The record as it was received; in stage `rule`, a record that gives the same row when it is read."""
    contract_version: str
    run_id: str
    raw_base64: str = ""
    """The record's bytes if they are not UTF-8; `raw` then contains U+FFFD in place of each invalid byte."""

    @property
    def raw_bytes(self) -> bytes:
        """The record as it was received, byte for byte."""
        return base64.b64decode(self.raw_base64) if self.raw_base64 else self.raw.encode()


def as_text(raw: bytes) -> tuple[str, str]:
    """Return a record as the `raw` and the `raw_base64` of a quarantined row."""
    try:
        return raw.decode(), ""
    except UnicodeDecodeError:
        return raw.decode(errors="replace"), base64.b64encode(raw).decode()


def encode(rows: Iterable[QuarantinedRow]) -> bytes:
    """Return rows as JSON Lines."""
    return _ENCODER.encode_lines(list(rows))


def read(path: Path) -> Iterator[QuarantinedRow]:
    """Yield the rows of a quarantine file in the order received; no rows if there is no file.

    Raises:
        BronzeError: A line is not a quarantined row.
    """
    if path.exists():
        with path.open("rb") as file:
            yield from decode(file, str(path))


def decode(lines: Iterable[bytes], where: str) -> Iterator[QuarantinedRow]:
    """Yield the rows in the lines of a quarantine file; `where` is its place, for messages.

    Raises:
        BronzeError: A line is not a quarantined row.
    """
    decoder = msgspec.json.Decoder(QuarantinedRow)
    for number, line in enumerate(lines, start=1):
        try:
            yield decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BronzeError(
                f"line {number} is not a quarantined row: {error}",
                where=where,
                hint="load the day again with `pipeline run`",
            ) from None
