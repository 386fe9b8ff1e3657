# SPDX-License-Identifier: Apache-2.0
"""nova-manage floating: the public addresses of a pool."""

import argparse
import ipaddress

from nova.cmd.manage import table
from nova.cmd.manage.network import find
from nova.db import floating_ips, networks
from nova.exception import BadRequest

DESCRIPTION = "Public addresses of the pools"
LARGEST = 65536


def commands(category) -> None:
    """Define create, list and delete."""
    create = category.add("create", _create, "Add addresses to a pool")
    create.add_argument("pool", help="id or name of an external network")
    create.add_argument("addresses", type=_range,
                        help="an address, FIRST-LAST, or a network whose hosts are meant")
    table.json_option(category.add("list", _list, "Show all public addresses"))
    delete = category.add("delete", _delete, "Take free addresses out of their pools")
    delete.add_argument("addresses", type=_range)


def _range(text: str) -> list[str]:
    first, dash, last = text.partition("-")
    if dash:
        low, high = ipaddress.IPv4Address(first), ipaddress.IPv4Address(last)
        if not 0 <= int(high) - int(low) < LARGEST:
            raise ValueError(text)
        return [str(low + n) for n in range(int(high) - int(low) + 1)]
    if "/" in text:
        network = ipaddress.IPv4Network(text)
        if network.num_addresses > LARGEST:
            raise ValueError(text)
        return [str(address) for address in network.hosts()]
    return [str(ipaddress.IPv4Address(text))]


def _create(args: argparse.Namespace) -> None:
    pool = find(args.pool)
    if not pool.external:
        raise BadRequest(f"{args.pool}: is a network of guests, not a pool")
    cidr = ipaddress.IPv4Network(pool.cidr)
    for address in args.addresses:
        if ipaddress.IPv4Address(address) not in cidr:
            raise BadRequest(f"{address} is not in {pool.cidr}")
    gateway = {pool.gateway}
    print(floating_ips.add(pool.id, [a for a in args.addresses if a not in gateway]))


def _list(args: argparse.Namespace) -> None:
    names = {row.id: row.name for row in networks.find(external=True)}
    table.show(("address", "pool", "project", "port", "host"),
               [(row.address, names.get(row.network_id), row.project_id, row.port_id, row.host)
                for row in floating_ips.find(allocated=None)], args.json)


def _delete(args: argparse.Namespace) -> None:
    gone = floating_ips.remove(args.addresses)
    print(gone)
    if gone < len(args.addresses):
        raise BadRequest(f"{len(args.addresses) - gone} of them are in use or in no pool")
