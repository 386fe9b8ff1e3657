# SPDX-License-Identifier: Apache-2.0
"""The PROXY protocol, version 1: the line in which a balancer says whose connection it passes on.

A server with require_proxy_protocol takes it from whoever connects: only balancers may reach it.
"""
from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swift.common.wsgi import Connection

MAX = 107                         # bytes of the line, with its CR LF
_FAMILIES = {"TCP4": ipaddress.IPv4Address, "TCP6": ipaddress.IPv6Address}


def parse(line: bytes) -> dict[str, Any]:
    """What a connection's environ has to say instead, by the line without its CR LF.

    Nothing for a connection of the balancer's own (UNKNOWN: its health checks). ValueError for
    what is no such line.
    """
    words = line.decode("ascii").split(" ")
    if words[:2] == ["PROXY", "UNKNOWN"]:
        return {}
    if len(words) != 6 or words[0] != "PROXY" or words[1] not in _FAMILIES:
        raise ValueError("it is not PROXY, the family, two addresses and two ports")
    family = _FAMILIES[words[1]]
    client, here = (str(family(word)) for word in words[2:4])
    ports = words[4:]
    if not all(port.isdecimal() and int(port) < 65536 for port in ports):
        raise ValueError("a port is no number below 65536")
    said: dict[str, Any] = {"REMOTE_ADDR": client, "REMOTE_PORT": ports[0],
                            "SERVER_ADDR": here, "SERVER_PORT": ports[1]}
    if ports[1] == "443":                 # it was TLS up to the balancer
        said["wsgi.url_scheme"], said["HTTPS"] = "https", "on"
    return said


def read(connection: Connection) -> bool:
    """Have a connection know for whom it is; whether anybody said so in time. ValueError."""
    while (end := connection.buffer.find(b"\r\n", 0, MAX)) < 0:
        if len(connection.buffer) >= MAX:
            raise ValueError("it is too long")
        try:
            if not connection.fill():
                return False
        except TimeoutError:
            return False
    connection.base.update(parse(connection.buffer[:end]))
    connection.buffer = connection.buffer[end + 2:]
    return True
