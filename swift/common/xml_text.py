# SPDX-License-Identifier: Apache-2.0
"""Text in XML listings."""
from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr


def xml_escape(value: str) -> str:
    """Text for XML; characters XML 1.0 cannot hold become U+FFFD so that it stays well-formed."""
    return escape(_clean(value))


def xml_attribute(value: str) -> str:
    """A quoted attribute value."""
    return quoteattr(_clean(value))


def _clean(value: str) -> str:
    if value.isprintable():
        return value
    return "".join(
        char if char in "\t\n\r" or "\x20" <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd"
        or char >= "\U00010000" else "\ufffd" for char in value)
