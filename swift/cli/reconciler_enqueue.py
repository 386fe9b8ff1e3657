# SPDX-License-Identifier: Apache-2.0
"""swift-reconciler-enqueue POLICY_INDEX /ACCOUNT/CONTAINER/OBJECT TIMESTAMP [-X PUT|DELETE] [-f]

Has the container reconciler look at an object that is in the storage policy with this index.
"""
from __future__ import annotations

import argparse
import os
import sys

from swift.common import node_client
from swift.common.concurrency import Timeout
from swift.common.conf import SWIFT_DIR
from swift.common.exceptions import ConfigError
from swift.common.ring import Ring
from swift.common.ring.format import RingFileError
from swift.common.storage_policy import policies
from swift.common.timestamp import Timestamp
from swift.container.misplaced_queue import ACCOUNT, entry_headers, entry_name, queue_container


def enqueue(ring: Ring, name: str, container: str, headers: dict[str, str]) -> bool:
    """Put an entry into the queue; whether a majority of the servers took it."""
    part, nodes = ring.get_nodes(ACCOUNT, container)
    taken = 0
    for node in nodes:
        try:
            taken += node_client.request(
                node.get("replication_ip") or node["ip"],
                node.get("replication_port") or node["port"], "PUT",
                node_client.path_of(node["device"], part, ACCOUNT, container, name), headers, b"",
                5, 15).status // 100 == 2
        except (OSError, ValueError, Timeout) as exc:
            print(f"{node['ip']}:{node['port']}/{node['device']}: {exc}", file=sys.stderr)
    return taken > len(nodes) // 2


def main(argv: list[str] | None = None) -> int:
    """Enter one object; prints the queue's container."""
    parser = argparse.ArgumentParser(prog="swift-reconciler-enqueue", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy_index", type=int)
    parser.add_argument("path")
    parser.add_argument("timestamp", help="of the object's data file or tombstone")
    parser.add_argument("-X", "--op", choices=("PUT", "DELETE"), default="PUT",
                        help="what was done to the object")
    parser.add_argument("-f", "--force", action="store_true",
                        help="enter it again, although it has been dealt with")
    args = parser.parse_args(argv)
    parts = args.path.split("/", 3)
    if len(parts) != 4 or parts[0] or not all(parts[1:]):
        parser.error(f"{args.path!r} is not /account/container/object")
    try:
        if policies().by_index(args.policy_index) is None:
            parser.error(f"there is no storage policy {args.policy_index}")
        stamp = Timestamp(args.timestamp).internal
        ring = Ring(os.environ.get("SWIFT_DIR", SWIFT_DIR), ring_name="container")
    except ValueError as exc:
        parser.error(f"timestamp: {exc}")
    except (ConfigError, RingFileError, OSError) as exc:
        print(f"ERROR: {exc}", file=sys.stderr)
        return 1
    container = queue_container(stamp)
    headers = entry_headers(args.op, stamp, Timestamp.now().internal if args.force else stamp)
    if not enqueue(ring, entry_name(args.policy_index, *parts[1:]), container, headers):
        print("ERROR: too few container servers took it", file=sys.stderr)
        return 1
    print(container)
    return 0


if __name__ == "__main__":
    sys.exit(main())
