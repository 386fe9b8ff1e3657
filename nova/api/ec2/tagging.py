# SPDX-License-Identifier: Apache-2.0
"""Tags as requests have them, checked."""

from collections.abc import Mapping
from typing import Any

from nova.api.ec2.errors import invalid, unsupported


def tags_for(params: Mapping[str, Any], kind: str, *others: str) -> dict[str, str]:
    """Return the tags that something is to be made with; ``others`` are made along with it."""
    found: dict[str, str] = {}
    for one in params.get("TagSpecifications") or ():
        if one.get("ResourceType") not in (kind, *others):
            raise unsupported(f"Tags on {ascii(str(one.get('ResourceType'))[:32])} here")
        tags = {key_of(tag): value_of(tag) for tag in one.get("Tags") or ()}
        if one["ResourceType"] == kind:
            found |= tags
    return found


def key_of(tag: Mapping[str, Any]) -> str:
    """Return a tag's key; InvalidParameterValue."""
    key = tag.get("Key", "")
    if not 1 <= len(key) <= 127 or key.startswith("aws:"):
        raise invalid("Tag.Key", key, "It has 1 to 127 characters and does not start with aws:.")
    return key


def value_of(tag: Mapping[str, Any]) -> str:
    """Return a tag's value; InvalidParameterValue."""
    value = tag.get("Value", "")
    if len(value) > 255:
        raise invalid("Tag.Value", value, "It has at most 255 characters.")
    return value
