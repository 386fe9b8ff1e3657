# SPDX-License-Identifier: Apache-2.0
"""nova-manage network: the networks guests are on, and the pools of floating addresses."""

import argparse
import ipaddress
import re
from typing import Any

from nova import rpc
from nova.cmd.manage import table
from nova.context import admin_context
from nova.db import networks
from nova.db.models import Network, new_id
from nova.exception import BadRequest, NetworkNotFound
from nova.network.api import API

DESCRIPTION = "Networks of guests and pools of floating addresses"
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}\Z")


def commands(category) -> None:
    """Define create, list, modify and delete."""
    create = category.add("create", _create, "Make a network")
    create.add_argument("name")
    create.add_argument("cidr", type=_cidr, help="IPv4 network, 10.0.0.0/24 say")
    create.add_argument("--external", action="store_true",
                        help="a pool of floating addresses in place of a network of guests")
    create.add_argument("--bridge", type=_interface, default="br100", help="(br100)")
    create.add_argument("--bridge-interface", type=_interface,
                        help="interface of the host to put into the bridge")
    create.add_argument("--gateway", type=_address, help="(the first address)")
    create.add_argument("--dns", type=_address, action="append", default=[],
                        help="name server told to guests; may be repeated")
    create.add_argument("--project", help="the only project that may use it (everybody)")
    create.add_argument("--mtu", type=int, default=1500, choices=range(68, 65536), metavar="N")
    create.add_argument("--cidr-v6", type=_cidr_v6)
    create.add_argument("--reserve", type=_address, action="append", default=[],
                        help="address never given to a guest; may be repeated")
    table.json_option(category.add("list", _list, "Show all networks"))
    modify = category.add("modify", _modify, "Change a network")
    modify.add_argument("network", help="id or name")
    modify.add_argument("--name")
    modify.add_argument("--host", help="the worker that serves it; '' for any")
    modify.add_argument("--dns", type=_address, action="append")
    delete = category.add("delete", _delete, "Remove a network nobody is on")
    delete.add_argument("network", help="id or name")


def _cidr(text: str) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(text)


def _cidr_v6(text: str) -> ipaddress.IPv6Network:
    return ipaddress.IPv6Network(text)


def _address(text: str) -> str:
    return str(ipaddress.IPv4Address(text))


def _interface(text: str) -> str:
    if not _INTERFACE.match(text):
        raise ValueError(text)
    return text


def find(name: str) -> Network:
    """Return the one network with this id or name, or say why there is none."""
    rows = networks.find()
    found = [row for row in rows if row.id == name] or [row for row in rows if row.name == name]
    if not found:
        raise NetworkNotFound(network_id=name)
    if len(found) > 1:
        raise BadRequest(f"{name}: {len(found)} networks have this name; give an id")
    return found[0]


def _create(args: argparse.Namespace) -> None:
    if not 8 <= args.cidr.prefixlen <= 30 \
            or (not args.external and args.cidr.prefixlen < networks.LARGEST_PREFIX):
        raise BadRequest(f"cidr: a /{args.cidr.prefixlen} is too large or too small")
    gateway = args.gateway or str(args.cidr[1])
    if ipaddress.IPv4Address(gateway) not in args.cidr:
        raise BadRequest("--gateway: is not in the network")
    values: dict[str, Any] = {
        "id": new_id(), "name": args.name, "cidr": str(args.cidr), "gateway": gateway,
        "external": args.external, "project_id": args.project, "shared": args.project is None,
        "mtu": args.mtu, "dns_servers": args.dns}
    if not args.external:
        values |= {"bridge": args.bridge, "bridge_interface": args.bridge_interface,
                   "dhcp_server": gateway}
        if any(row.bridge == args.bridge for row in networks.find()):
            raise BadRequest(f"--bridge: {args.bridge} is another network's already")
    if args.cidr_v6 is not None:
        values |= {"cidr_v6": str(args.cidr_v6), "gateway_v6": str(args.cidr_v6[1]),
                   "subnet_v6_id": new_id()}
    print(networks.create(values, reserved=args.reserve).id)


def _list(args: argparse.Namespace) -> None:
    rows = networks.find()
    free = networks.availability([row.id for row in rows])
    table.show(
        ("id", "name", "cidr", "kind", "bridge", "host", "project", "addresses", "used"),
        [(row.id, row.name, row.cidr, "external" if row.external else "guests", row.bridge,
          row.host, row.project_id, *free.get(row.id, (0, 0))) for row in rows], args.json)


def _modify(args: argparse.Namespace) -> None:
    values = {key: value for key, value in (
        ("name", args.name), ("dns_servers", args.dns),
        ("host", args.host or None)) if value is not None or (key == "host" and args.host == "")}
    if not values:
        raise BadRequest("nothing to change was given")
    row = networks.change(find(args.network).id, values)
    if rpc.configured_to_reach_others():
        API().refresh_network(admin_context(), row)


def _delete(args: argparse.Namespace) -> None:
    row = networks.delete_network(find(args.network).id)
    if rpc.configured_to_reach_others():
        API().remove_network(admin_context(), row)
