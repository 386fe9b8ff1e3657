# SPDX-License-Identifier: Apache-2.0
"""The API versions this service speaks, as clients discover them.

All minor versions of v2 up to the one that brought the locations API (2.17) are listed: clients
look there for tasks, imports, several stores, the cache and metadata definitions.
"""

from __future__ import annotations

from typing import Any

V2_MINORS = 17
V1_MINORS = 1

_VERSIONS: tuple[tuple[int, int, str], ...] = (
    *((2, minor, "CURRENT" if minor == V2_MINORS else "SUPPORTED")
      for minor in range(V2_MINORS, -1, -1)),
    *((1, minor, "DEPRECATED") for minor in range(V1_MINORS, -1, -1)),
)
_KNOWN = frozenset((major, minor) for major, minor, _status in _VERSIONS)


def is_known(major: str, minor: str | None) -> bool:
    """Whether ``v<major>[.<minor>]`` is one of ours."""
    return (int(major), int(minor or 0)) in _KNOWN


def document(base_url: str) -> dict[str, Any]:
    """The list of versions with links below `base_url`."""
    return {"versions": [
        {"id": f"v{major}.{minor}", "status": status,
         "links": [{"rel": "self", "href": f"{base_url}/v{major}/"}]}
        for major, minor, status in _VERSIONS]}
