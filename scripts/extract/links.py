"""The `Link` header of RFC 8288."""

from __future__ import annotations

import re

import httplink

from scripts.errors import SourceRejectedError

_PARTS = re.compile(
    r"""
    ( <[^>]*> | "(?:[^"\\]|\\.)*" )                        # an address or a text: kept
    | ;\s* [\w!#$&+.^`|~-]+\* \s*=\s* [^;,\s]*              # a parameter such as title*=UTF-8''x
    | ;\s* [\w!#$&+.^`|~*-]* \s* (?=[;,]|$)                # a parameter without a value, or nothing after the semicolon
    """,
    re.VERBOSE,
)
"""Parts that RFC 8288 allows and the library does not read; they do not matter for the next page."""


def next_link(header: str | None) -> str | None:
    """Return the address of the next page in a `Link` header, as written there; None on the last page.

    Raises:
        SourceRejectedError: The header cannot be parsed.
    """
    if not header or not header.strip():
        return None
    try:
        links = httplink.parse_link_header(_PARTS.sub(lambda part: part[1] or "", header)).links
    except ValueError as error:
        raise SourceRejectedError(
            f"the Link header cannot be parsed ({error}): {header[:160]}",
            expected='a header of RFC 8288: <address>; rel="next"',
            hint="if the next address is elsewhere, set `next_path` or `next_header` in pagination",
        ) from None
    for link in links:
        anchored = any(name.lower() == "anchor" and value for name, value in link.attributes)
        # RFC 8288 ignores a second `rel`
        relations = next((str(value) for name, value in link.attributes if name.lower() == "rel"), "").split()
        # Sentry names a next page on the last one too, with results="false"
        is_empty = any(name.lower() == "results" and value == "false" for name, value in link.attributes)
        if is_empty:
            continue
        # some servers write rel='next'
        if "next" in {relation.strip("'").lower() for relation in relations} and not anchored:
            return str(link.target)
    return None
