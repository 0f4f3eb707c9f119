"""Masking of secrets, in every form in which they appear, before a text is cut, logged, stored or sent.

Every text that leaves the process goes through `redact`: error messages when the error is created, log lines when they
are written, alerts when their text is written. A secret is masked from the moment when the process reads it.
"""

from __future__ import annotations

import base64
import re
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable

MASK = "***"
_SHORTEST_SECRET = 4
_SHORTEST_BASE64 = 5
_URL_CREDENTIALS = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
_URL = re.compile(r"(?i)\bhttps?://[^\s'\"<>\\)]+")
_AUTHORIZATION = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")
_BASE64 = r"[A-Za-z0-9+/_=-]{0,4}"

_lock = threading.Lock()
_secrets: dict[str, re.Pattern[str]] = {}
_listeners: list[Callable[[str], None]] = []
_patterns: tuple[re.Pattern[str], ...] = ()
"""Patterns of longer secrets come first, since one secret may contain another."""


def register_secret(value: str) -> None:
    """Mask a value from now on, in every form. Values of fewer than four characters are not masked."""
    global _patterns  # noqa: PLW0603 — one set of secrets per process
    for secret in {value, value.strip()}:
        if len(secret) < _SHORTEST_SECRET or secret in _secrets:
            continue
        pattern = re.compile(_any_form(secret))
        with _lock:
            _secrets[secret] = pattern
            _patterns = tuple(_secrets[known] for known in sorted(_secrets, key=len, reverse=True))
        for tell in _listeners:
            _send_usual_forms(tell, secret)


def on_secret(tell: Callable[[str], None]) -> None:
    """Call a function with the usual forms of every current and later secret, for a tool that masks its own logs."""
    if tell not in _listeners:
        _listeners.append(tell)
        for secret in list(_secrets):
            _send_usual_forms(tell, secret)


def redact(text: str) -> str:
    """Return a text with every secret, the credentials and queries of URLs, and authorization headers masked."""
    for pattern in _patterns:
        text = pattern.sub(MASK, text)
    text = _URL.sub(_without_query, _URL_CREDENTIALS.sub(MASK, text))
    return _AUTHORIZATION.sub(rf"\1 {MASK}", text)


def longest_secret() -> int:
    """Return the number of characters of the longest registered secret."""
    return max(map(len, list(_secrets)), default=0)


def without_secrets(error: BaseException) -> BaseException:
    """Return an error without secrets in it or in the errors that caused it; the same objects if possible.

    A tool that stores or shows the error and its causes then stores and shows no secret.
    """
    chain = _chain(error)
    for link in chain:
        link.args = tuple(_masked(value) for value in link.args)
        # requests keeps the request, with its headers, in its errors
        for name, value in list(vars(link).items()):
            vars(link)[name] = None if name in {"request", "response"} else _masked(value)
    if all(str(link) == redact(str(link)) for link in chain):
        return error
    return RuntimeError(redact(f"{type(error).__name__}: {error}"))


def _without_query(found: re.Match[str]) -> str:
    place, mark, query = found[0].partition("?")
    return f"{place}?{MASK}" if mark and query and "#" not in place else found[0]


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        link = waiting.pop()
        if all(link is not known for known in found):
            found.append(link)
            members = link.exceptions if isinstance(link, BaseExceptionGroup) else ()
            waiting += [other for other in (link.__cause__, link.__context__, *members) if other is not None]
    return found


def _masked(value: object) -> object:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, BaseException):
        return without_secrets(value)
    if value is None or isinstance(value, (int, float, type)):
        return value
    shown = str(value)
    return value if shown == (masked := redact(shown)) else masked


def _send_usual_forms(tell: Callable[[str], None], secret: str) -> None:
    for form in _usual_forms(secret):
        tell(form)


def _usual_forms(secret: str) -> set[str]:
    escaped = repr(secret)[1:-1], repr(secret.encode())[2:-1], secret.encode("unicode_escape").decode()
    slashes = secret.replace("\\", "\\\\").replace('"', '\\"')
    return {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        slashes,
        *escaped,
        *_base64_cores(secret),
    }


def _any_form(secret: str) -> str:
    """Return a pattern of a secret as plain text, percent-encoded, escaped for JSON, Python or HTML, hex or base64."""
    forms = ["".join(_any_form_of_character(character) for character in secret)]
    forms += [f"(?i:{secret.encode().hex()})"]
    forms += [f"{_BASE64}{re.escape(core)}{_BASE64}" for core in _base64_cores(secret)]
    return "|".join(forms)


def _any_form_of_character(character: str) -> str:
    data, code = character.encode("utf-8", "surrogatepass"), ord(character)
    utf16 = character.encode("utf-16-be", "surrogatepass")
    units = [utf16[at : at + 2].hex() for at in range(0, len(utf16), 2)]
    forms = [
        r"\\{0,7}" + re.escape(character) if not character.isalnum() else re.escape(character),
        # percent-encoded once or several times
        "(?i:" + "".join(f"%(?:25){{0,7}}{byte:02x}" for byte in data) + ")",
        "(?i:" + "".join(rf"\\{{1,7}}u{unit}" for unit in units) + ")",
        "(?i:" + "".join(rf"\\{{1,7}}x{byte:02x}" for byte in data) + ")",
        rf"(?i:\\{{1,7}}(?:x0*|u0*){code:x})",
        rf"(?i:&#(?:0*{code}|x0*{code:x});)",
        *_SPECIAL.get(character, ()),
    ]
    return f"(?:{'|'.join(forms)})"


_SPECIAL = {
    " ": (r"\+",),
    "&": ("&amp;",),
    "<": ("&lt;",),
    ">": ("&gt;",),
    '"': ("&quot;",),
    "\n": (r"\\{1,7}n",),
    "\r": (r"\\{1,7}r",),
    "\t": (r"\\{1,7}t",),
    "\b": (r"\\{1,7}b",),
    "\f": (r"\\{1,7}f",),
}
"""Further encodings of a character in forms, HTML and JSON."""


def _base64_cores(secret: str) -> set[str]:
    """Return the parts of a secret in base64 that do not depend on the bytes before and after the secret."""
    cores = set()
    data = secret.encode("utf-8", "surrogatepass")
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        last = -1 if (before + len(data)) % 3 else None
        core = encoded[(0, 2, 3)[before] : last]
        if len(core) >= _SHORTEST_BASE64:
            cores |= {core, core.translate(str.maketrans("+/", "-_"))}
    return cores
