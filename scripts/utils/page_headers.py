"""Headers of pages that show text from outside: what a browser may do with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALL = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
_END = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE: Mapping[str, str] = _ALL | {
    "Content-Security-Policy": f"default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; {_END}"
}
"""For our own pages, which have no script: none runs there, wherever it comes from."""
DBT_SITE: Mapping[str, str] = _ALL | {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:;"
        f" font-src data:; {_END}; sandbox allow-scripts"
    )
}
"""For dbt's site, one file with its scripts in it: it runs as a site of its own, without the session of whoever looks
at it, and asks nobody."""
GUIDES: Mapping[str, str] = _ALL | {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
        f" worker-src 'self' blob:; {_END}"
    )
}
"""For the guides, which we write ourselves: they search with scripts of their own."""
