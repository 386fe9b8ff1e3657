# SPDX-License-Identifier: Apache-2.0
"""What clients say in a security-group rule, checked and brought into its one stored form."""

import re
from ipaddress import ip_network
from typing import Any

from nova import exception
from nova.linux.firewall import InexpressibleRule, protocol_number, render
from nova.network.model import FirewallRule

_ETHERTYPES = {"ipv4": "IPv4", "ipv6": "IPv6"}


def columns_of(values: dict[str, Any]) -> dict[str, Any]:
    """Return a rule's columns; BadRequest names the field that makes no sense.

    Protocols are lower case, or the number as text; networks canonical; "any" is None.
    """
    direction = str(values["direction"]).lower()
    if direction not in ("ingress", "egress"):
        raise exception.BadRequest("direction: is neither ingress nor egress.")
    ethertype = _ETHERTYPES.get(str(values.get("ethertype") or "IPv4").lower())
    if ethertype is None:
        raise exception.BadRequest("ethertype: is neither IPv4 nor IPv6.")
    version = int(ethertype[-1])
    protocol = _protocol(values.get("protocol"), version)
    low, high = (_number(values.get(name)) for name in ("port_range_min", "port_range_max"))
    _check_ports(protocol, version, low, high)
    remote = values.get("remote_ip_prefix")
    if remote is not None and values.get("remote_group_id"):
        raise exception.BadRequest(
            "remote_ip_prefix: only one of it and remote_group_id can be given.")
    cidr = _network(remote, version)
    try:    # what the host will be told
        render(FirewallRule(direction, ethertype, protocol, low, high, cidr), "ACCEPT")
    except InexpressibleRule as error:
        raise exception.BadRequest(f"protocol, port_range_min, port_range_max: {error}.") from None
    return {"direction": direction, "ethertype": ethertype, "protocol": protocol,
            "port_min": low, "port_max": high, "remote_cidr": cidr,
            "remote_group_id": values.get("remote_group_id") or None}


def _protocol(value: Any, version: int) -> str | None:
    if value is None:
        return None
    text = str(value).strip().lower()
    try:
        if text in ("", "any", "all") or protocol_number(text, version) is None:
            return None
    except InexpressibleRule:
        raise exception.BadRequest(f"protocol: {str(value)[:32]!r} is no IP protocol.") from None
    return str(int(text)) if text.isdigit() else text


def _number(value: Any) -> int | None:
    return None if value is None else int(value)


def _check_ports(protocol: str | None, version: int, low: int | None, high: int | None) -> None:
    if low is None and high is None:
        return
    number = protocol_number(protocol, version)
    if number in (1, 58):
        for name, value in (("port_range_min", low), ("port_range_max", high)):
            if value is not None and not 0 <= value <= 255:
                raise exception.BadRequest(f"{name}: of ICMP it is from 0 to 255.")
        if low is None:
            raise exception.BadRequest(
                "port_range_min: an ICMP code (port_range_max) needs a type.")
        return
    if number is None:
        raise exception.BadRequest("port_range_min: a range of ports needs a protocol.")
    if low is None or high is None:
        raise exception.BadRequest("port_range_min: is needed along with port_range_max.")
    if not 0 <= low <= high <= 65535:
        raise exception.BadRequest("port_range_min: is greater than port_range_max, or negative.")


def _network(text: str | None, version: int) -> str | None:
    if text is None:
        return None
    _, slash, prefix = text.partition("/")
    try:
        # A prefix and no mask: what is meant has to be beyond doubt.
        if slash and not re.fullmatch(r"[0-9]{1,3}", prefix, re.ASCII) or "%" in text:
            raise ValueError
        network = ip_network(text, strict=False)
    except ValueError:
        raise exception.BadRequest(f"remote_ip_prefix: {text[:64]!r} is no network.") from None
    if network.version != version or getattr(network[0], "ipv4_mapped", None) is not None:
        raise exception.BadRequest(f"remote_ip_prefix: {text[:64]!r} is not of the ethertype.")
    return str(network)
