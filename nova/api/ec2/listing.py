# SPDX-License-Identifier: Apache-2.0
"""What the Describe actions share: filters, pages, and the way from EC2 ids to UUIDs."""

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from nova.api.ec2.errors import Ec2Error, invalid
from nova.db import ec2_ids

T = TypeVar("T")
MAX_RESULTS = 1000
MAX_FILTER_VALUES = 200
# prefix of an id: (code of AWS, what AWS calls the thing)
_KINDS = {"i": ("InvalidInstanceID", "instance"), "ami": ("InvalidAMIID", "image"),
          "aki": ("InvalidAMIID", "image"), "ari": ("InvalidAMIID", "image"),
          "sg": ("InvalidGroup", "security group"),
          "eipalloc": ("InvalidAllocationID", "allocation"),
          "eipassoc": ("InvalidAssociationID", "association"), "vpc": ("InvalidVpcID", "vpc"),
          "subnet": ("InvalidSubnetID", "subnet"), "key": ("InvalidKeyPair", "key pair"),
          "vol": ("InvalidVolume", "volume"), "snap": ("InvalidSnapshot", "snapshot"),
          "eni": ("InvalidNetworkInterfaceID", "network interface"),
          "sgr": ("InvalidSecurityGroupRuleId", "security group rule")}
# What is looked for: texts of a thing, or of tags their mapping.
Known = Mapping[str, Callable[[Any], Any]]


def fits(text: str, pattern: str) -> bool:
    """Tell whether a text fits a pattern of ``*`` (any text) and ``?`` (any one character)."""
    at = inside = 0
    star, mark = -1, 0
    while at < len(text):
        if inside < len(pattern) and pattern[inside] == "*":
            star, mark = inside, at
            inside += 1
        elif inside < len(pattern) and pattern[inside] in ("?", text[at]):
            at, inside = at + 1, inside + 1
        elif star >= 0:
            mark += 1
            at, inside = mark, star + 1
        else:
            return False
    return not pattern[inside:].strip("*")


class Filters:
    """``Filter.N``: every filter has to be met, by one of its values."""

    def __init__(self, asked: Sequence[Mapping[str, Any]] | None, known: Known) -> None:
        self._asked: list[tuple[Callable[[Any], Any], Sequence[str]]] = []
        for one in asked or ():
            name, values = one.get("Name"), one.get("Values") or []
            if not name:
                raise Ec2Error("MissingParameter", "The request must contain the parameter "
                                                   "Filter.Name")
            if len(values) > MAX_FILTER_VALUES:
                raise Ec2Error("FilterLimitExceeded", f"{MAX_FILTER_VALUES} values a filter.")
            self._asked.append((self._getter(name, known), values))

    @staticmethod
    def _getter(name: str, known: Known) -> Callable[[Any], Any]:
        if name in known:
            return known[name]
        if "tags" in known:
            tags = known["tags"]
            if name.startswith("tag:"):
                return lambda thing: tags(thing).get(name[4:])
            if name == "tag-key":
                return lambda thing: list(tags(thing))
            if name == "tag-value":
                return lambda thing: list(tags(thing).values())
        raise Ec2Error("InvalidParameterValue",
                       f"The filter {ascii(name[:128])} is invalid")

    def __bool__(self) -> bool:
        return bool(self._asked)

    def met(self, thing: Any) -> bool:
        """Tell whether a thing is wanted."""
        return all(any(fits(text, value) for text in _texts(get(thing)) for value in values)
                   for get, values in self._asked)


def _texts(found: Any) -> Iterable[str]:
    if found is None:
        return ()
    if isinstance(found, bool):
        return ("true" if found else "false",)
    if isinstance(found, (list, tuple, set)):
        return [str(one) for one in found if one is not None]
    return (str(found),)


def encode_token(key: str) -> str:
    """Return a NextToken that means "after this"."""
    return base64.urlsafe_b64encode(key.encode()).decode("ascii")


def decode_token(params: Mapping[str, Any]) -> str | None:
    """Return what the NextToken of a request means; None without one."""
    token = params.get("NextToken")
    if not token:
        return None
    try:
        return base64.b64decode(token.encode("ascii"), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise invalid("NextToken", token) from None


def limit_of(params: Mapping[str, Any]) -> int | None:
    """Return MaxResults; None without one."""
    limit = params.get("MaxResults")
    if limit is not None and not 1 <= limit <= MAX_RESULTS:
        raise invalid("MaxResults", limit, f"It is from 1 to {MAX_RESULTS}.")
    return limit


def page(things: Sequence[T], params: Mapping[str, Any],
         key: Callable[[T], str]) -> tuple[list[T], str | None]:
    """Return one page of things, ordered by ``key``, and the NextToken when there are more."""
    after, limit = decode_token(params), limit_of(params)
    left = [one for one in sorted(things, key=key) if after is None or key(one) > after]
    if limit is None or len(left) <= limit:
        return left, None
    return left[:limit], encode_token(key(left[limit - 1]))


def not_found(kind: str, missing: Iterable[str]) -> Ec2Error:
    """Return the refusal of ids nothing of the caller's has."""
    shown = ", ".join(ascii(one[:64])[1:-1] for one in missing)
    code, name = _KINDS[kind]
    return Ec2Error(f"{code}.NotFound", f"The {name} ID '{shown}' does not exist")


def uuids_of(kind: str, wanted: Sequence[str]) -> dict[str, str]:
    """Return ``{EC2 id: uuid}`` in the order asked; Malformed, or NotFound when one is unknown.

    Whose they are is not said here.
    """
    for one in wanted:
        if not one.startswith(kind + "-"):
            raise Ec2Error(f"{_KINDS[kind][0]}.Malformed",
                           f"Invalid id: {ascii(one[:64])} (expecting \"{kind}-...\")")
    found = ec2_ids.uuids_of(kind, wanted)
    if missing := [one for one in wanted if one not in found]:
        raise not_found(kind, missing)
    return {one: found[one] for one in wanted}


def chosen(kind: str, wanted: Sequence[str], rows: Sequence[Any]) -> list[Any]:
    """Return those of the caller's rows that are asked for by id; NotFound names the others."""
    asked = uuids_of(kind, wanted)
    known = {row.id for row in rows}
    if missing := [one for one, row_id in asked.items() if row_id not in known]:
        raise not_found(kind, missing)
    return [row for row in rows if row.id in asked.values()]


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as the shapes have them."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
