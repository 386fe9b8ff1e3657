# SPDX-License-Identifier: Apache-2.0
"""Where a container may be synchronised to."""
from __future__ import annotations

from urllib.parse import urlsplit


def check_sync_to(value: str, allowed_hosts: list[str]) -> str | None:
    """What is wrong with an X-Container-Sync-To; None if nothing.

    A path as `//realm/cluster/account/container` is judged by whoever synchronises; an URL must be
    plain, name a container, and a host the operator allows.
    """
    if value.startswith("//"):
        parts = value.split("/")
        if len(parts) != 6 or not all(parts[2:]):
            return "Invalid X-Container-Sync-To format; use //realm/cluster/account/container"
        return None
    try:
        url = urlsplit(value)
        host = url.hostname
    except ValueError:
        return "Invalid URL in X-Container-Sync-To"
    if url.scheme not in ("http", "https"):
        return f"Invalid scheme {url.scheme[:20]!r} in X-Container-Sync-To"
    if not url.path or url.path == "/":
        return "Path required in X-Container-Sync-To"
    if url.query or url.fragment:
        return "Queries and fragments are not allowed in X-Container-Sync-To"
    if host not in allowed_hosts:
        return f"Invalid host {host!r} in X-Container-Sync-To"
    return None
