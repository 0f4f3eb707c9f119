"""Text from outside: what a source, a caller or a tool has sent, made harmless for the place where it is shown.

One function for each kind of place. All of them mask secrets, show characters that are commands to a terminal or a
mail server as what they are, and cut what is too long, in this order.
"""

from __future__ import annotations

import re

from scripts.security.redaction import longest_secret, redact

HIDDEN = "(hidden: sensitive)"
"""What stands for a value of a column that its contract calls sensitive."""
LONGEST_MESSAGE = 4000
_MARGIN = 1000
# controls, separators of lines, characters without width, and those that turn the direction of writing round
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
    """Return a text for a message in Slack, in which it mentions nobody and links nothing."""
    return lines(text, longest=longest).translate(_SLACK)


def cut(text: str, longest: int) -> str:
    """Return a text, shortened to a length with a mark where it ends."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _head(text: str, longest: int) -> str:
    # what comes later cannot be seen, and a secret that stands astride the cut is masked as a whole
    return text[: longest + _MARGIN + 8 * longest_secret()]


def _shown(found: re.Match[str]) -> str:
    code = ord(found[0])
    return {9: " ", 10: "\\n", 13: "\\r"}.get(code) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")  # noqa: PLR2004 — one byte
