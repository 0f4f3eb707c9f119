"""Network addresses: which of them may get a secret, and which of them the pipeline never contacts."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine itself, so that requests to it do not cross a network."""
    address = _address(host)
    return host.lower().rstrip(".") == "localhost" if address is None else address.is_loopback


def is_link_local(host: str) -> bool:
    """Return whether a host is a link-local address, where cloud providers serve a machine's credentials."""
    address = _address(host)
    if address is None:
        return host.lower().rstrip(".") == "metadata.google.internal"
    return address.is_link_local or str(address) == "fd00:ec2::254"


def keeps_secrets(url: str) -> bool:
    """Return whether a secret may be sent to a URL: it uses https, or its host is this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
