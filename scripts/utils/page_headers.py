"""HTTP headers of pages that show text from outside; they limit what a browser may do there."""

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
"""For the pipeline's own pages, which have no scripts: the browser runs no script there."""
PORTAL: Mapping[str, str] = _ALL | {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; {_END}"
    )
}
"""For the portal: its own script runs there, and it sends no requests."""
SQL_PAGE: Mapping[str, str] = _ALL | {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self';"
        f" style-src 'unsafe-inline'; img-src 'self' data:; {_END}"
    )
}
"""For the SQL page and its parts: DuckDB is WebAssembly in a worker, and it reads files of this server only."""
DBT_SITE: Mapping[str, str] = _ALL | {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:;"
        f" font-src data:; {_END}; sandbox allow-scripts"
    )
}
"""For dbt's site, which is one file with scripts: it runs in an origin of its own, without the user's session, and
sends no requests."""
GUIDES: Mapping[str, str] = _ALL | {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
        f" worker-src 'self' blob:; {_END}"
    )
}
"""For the guides, which are part of this repository: their search uses their own scripts."""
