# SPDX-License-Identifier: Apache-2.0
"""Where the replicas of an account, container, object or partition are, and commands to look there.

Lines and columns are those of OpenStack Swift's swift-get-nodes, so scripts that cut them go on.
"""
from __future__ import annotations

import itertools
import os
from typing import Any
from urllib.parse import quote

from swift.common.ring import Ring
from swift.common.ring.devices import bracket
from swift.common.storage import hash_path, policy_datadir, storage_directory
from swift.common.timestamp import Timestamp

DATADIRS = {"account": "accounts", "container": "containers", "object": "objects"}


def moment(timestamp: str | int | None) -> str:
    """A stored time in words, and as it is stored."""
    return f"{Timestamp(timestamp or 0).isoformat} ({timestamp or 0})"


def kind_of(names: list[str]) -> str:
    """`account`, `container` or `object`, by how many names there are."""
    return ("account", "container", "object")[len(names) - 1]


def open_ring(swift_dir: str, name: str) -> Ring | None:
    """A ring of that name (`account`, `object-1`); None when there is no such file."""
    path = f"{swift_dir}/{name}.ring.gz"
    return Ring(path) if os.path.exists(path) else None


def split_ring_name(path: str) -> tuple[str, int]:
    """(kind, policy index) a ring file is for, by its name; ValueError for another name."""
    name = os.path.basename(path).removesuffix(".ring.gz")
    kind, dash, index = name.partition("-")
    if kind not in DATADIRS or (dash and (kind != "object" or not index.isdigit())):
        raise ValueError(f"{name} is none of account, container, object, object-1, ...")
    return kind, int(index or 0)


def show(ring: Ring, kind: str, names: list[str], part: int | None = None,
         index: int | None = None, every: bool = False) -> None:
    """Print partition, hash, devices and commands for names, or for a partition without names.

    `index` is a storage policy's, told to object servers when it is given; as many handoffs are
    shown as there are primaries, or all with `every`.
    """
    name_hash = None
    if names:
        name_hash = hash_path(*names)
        part = ring.get_part(*names)
    assert part is not None
    print(f"Partition\t{part}\nHash     \t{name_hash}\n")
    primaries = ring.get_part_nodes(part)
    handoffs = ring.get_more_nodes(part)
    spare = list(handoffs if every else itertools.islice(handoffs, len(primaries)))
    nodes = [(node, "") for node in primaries] + [(node, "[Handoff]") for node in spare]
    for node, mark in nodes:
        print(f"Server:Port Device\t{bracket(node['ip'])}:{node['port']} {node['device']}"
              + (f"\t {mark}" if mark else ""))
    print("\n")
    header = "" if index is None or kind != "object" else \
        f' -H "X-Backend-Storage-Policy-Index: {index}"'
    for node, mark in nodes:
        print(f'curl -g -I -XHEAD "{_url(node, part, names)}"{header} --path-as-is'
              + (f" # {mark}" if mark else ""))
    print('\n\nUse your own device location of servers:\nsuch as "export DEVICE=/srv/node"')
    datadir = policy_datadir(DATADIRS[kind], index or 0)
    path = storage_directory(datadir, part, name_hash) if name_hash else f"{datadir}/{part}"
    for node, mark in nodes:
        print(f'ssh {node["ip"]} "ls -lah ${{DEVICE:-/srv/node*}}/{node["device"]}/{path}"'
              + (f" # {mark}" if mark else ""))
    print("\nnote: /srv/node* stands for the option `devices` of the storage servers.")


def _url(node: dict[str, Any], part: int, names: list[str]) -> str:
    path = "/".join([node["device"], str(part), *names])
    return (f"http://{bracket(node['ip'])}:{node['port']}/"
            + quote(path.encode("utf-8", "surrogateescape")))
