# SPDX-License-Identifier: Apache-2.0
"""Who may see, change and share an image: pure functions of an identity and an image.

Image and member are the registry's plain dictionaries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glance.context import RequestContext


def is_owner(context: RequestContext, image: Mapping[str, Any]) -> bool:
    """Whether the image belongs to the caller's project."""
    return image["owner"] is not None and image["owner"] == context.project_id


def is_visible(context: RequestContext, image: Mapping[str, Any], is_member: bool) -> bool:
    """Whether the caller may know of the image.  Membership counts for shared images only."""
    if context.is_admin or is_owner(context, image):
        return True
    if image["visibility"] in ("public", "community"):
        return True
    return image["visibility"] == "shared" and is_member


def is_mutable(context: RequestContext, image: Mapping[str, Any]) -> bool:
    """Whether the caller may change or delete the image; being a member is not enough."""
    return context.is_admin or is_owner(context, image)


def is_sharable(context: RequestContext, image: Mapping[str, Any],
                membership: Mapping[str, Any] | None) -> bool:
    """Whether the caller may add members: the owner, or a member who was given that right."""
    if is_mutable(context, image):
        return True
    return image["visibility"] == "shared" and bool(membership and membership["can_share"])
