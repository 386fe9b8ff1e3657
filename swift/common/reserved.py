# SPDX-License-Identifier: Apache-2.0
"""Names that clients can neither use nor see: they begin with NUL, as do their parts.

Filters keep what is theirs in containers and objects of such names, `\\0versions\\0photos` say.
Requests for them carry X-Backend-Allow-Reserved-Names, which no client can send.
"""
from __future__ import annotations

RESERVED = "\0"


def reserved_name(*parts: str) -> str:
    """The reserved name of these parts; ValueError for a part that holds NUL itself."""
    if any(RESERVED in part for part in parts):
        raise ValueError("a part of a reserved name holds NUL")
    return RESERVED + RESERVED.join(parts)


def is_reserved(name: str) -> bool:
    """Whether clients cannot use this name."""
    return name.startswith(RESERVED)


def split_reserved(name: str, count: int) -> list[str]:
    """The parts of a reserved name; ValueError unless it is one of `count` parts."""
    first, *parts = name.split(RESERVED)
    if first or len(parts) != count:
        raise ValueError(f"{name!r} is no reserved name of {count} parts")
    return parts
