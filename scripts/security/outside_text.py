"""Text from outside (from a source, a caller or a tool), made safe for the place where it is shown.

There is one function for each kind of place. Each function masks secrets, then escapes characters that control a
terminal or a mail server, and then shortens the text if it is too long.
"""

from __future__ import annotations

import re

from scripts.security.redaction import longest_secret, redact

HIDDEN = "(hidden: sensitive)"
"""Shown instead of a value of a sensitive column."""
LONGEST_MESSAGE = 4000
_MARGIN = 1000
# control characters, line separators, characters without width, and characters that change the writing direction
_INVISIBLE = "\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff"
_COMMANDS = re.compile(f"[\x00-\x1f{_INVISIBLE}]")
_COMMANDS_BUT_LINES = re.compile(f"[\x00-\x09\x0b-\x1f{_INVISIBLE}]")
_SLACK = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def one_line(text: str, *, longest: int = LONGEST_MESSAGE) -> str:
    """Return a text as one line for a log, a message or a mail's title."""
    return cut(_COMMANDS.sub(_shown, redact(_head(text, longest))), longest)


def lines(text: str, *, longest: int = LONGEST_MESSAGE) -> str:
    """Return a text that may have several lines, for a mail or a page."""
    return cut(_COMMANDS_BUT_LINES.sub(_shown, redact(_head(text, longest))), longest)


def slack(text: str, *, longest: int = LONGEST_MESSAGE) -> str:
    """Return a text for a message in Slack, escaped so that it mentions no users and contains no links."""
    return lines(text, longest=longest).translate(_SLACK)


def cut(text: str, longest: int) -> str:
    """Return a text, shortened to a length; a shortened text ends with `…`."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _head(text: str, longest: int) -> str:
    # later text is never shown; the margin lets `redact` find a secret that the cut would split
    return text[: longest + _MARGIN + 8 * longest_secret()]


def _shown(found: re.Match[str]) -> str:
    code = ord(found[0])
    return {9: " ", 10: "\\n", 13: "\\r"}.get(code) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")  # noqa: PLR2004 — one byte
