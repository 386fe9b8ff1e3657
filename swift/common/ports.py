# SPDX-License-Identifier: Apache-2.0
"""servers_per_port: processes of the object server that work for one disk each, so that one that
hangs takes no other along. For that each device of the node has a port of its own in the rings.
"""
from __future__ import annotations

import os

from swift.common.conf import SWIFT_DIR
from swift.common.devices import local_addresses
from swift.common.exceptions import ConfigError
from swift.common.ring import Ring
from swift.common.storage_policy import policies


def object_ports(conf: dict[str, str]) -> list[int]:
    """The ports of this node's devices in the object rings of all policies; ConfigError without."""
    addresses = local_addresses(conf)
    folder = conf.get("swift_dir") or os.environ.get("SWIFT_DIR", SWIFT_DIR)
    found = set()
    for policy in policies():
        try:
            devices = Ring(folder, ring_name=policy.ring_name).devs
        except (OSError, ValueError) as exc:
            raise ConfigError(f"servers_per_port: ring {policy.ring_name}: {exc}") from exc
        found |= {device["port"] for device in devices if device and device["ip"] in addresses}
    if not found:
        raise ConfigError("servers_per_port: no device of the object rings has an address of this "
                          "node (bind_ip, ring_ip)")
    return sorted(found)
