# SPDX-License-Identifier: Apache-2.0
"""What dnsmasq runs when a lease comes or goes; the rows learn of it here and nowhere else.

    nova-dhcpbridge [--config-file FILE] add|old|del MAC ADDRESS [HOSTNAME]
    nova-dhcpbridge [--config-file FILE] init

NETWORK_ID in the environment says which network.  ``init`` prints what is leased as dnsmasq's
own lease file would have it, for one that runs with --leasefile-ro.  dnsmasq waits for this, and
a host's guests all come at once after a power cut: import as little as can be.
"""

import os
import sys
import time

from oslo_config import cfg

from nova import db
from nova.db import networks

USAGE = "usage: nova-dhcpbridge [--config-file FILE] {add|old|del MAC ADDRESS [HOSTNAME] | init}"
_ACTIONS = {"add": True, "old": True, "del": False}


def run(arguments: list[str], network_id: str) -> int:
    """Carry one event out; 2 for a call that makes no sense."""
    action = arguments[0] if arguments else ""
    if action == "init" and len(arguments) == 1:
        expires = int(time.time()) + networks.LEASE_SECONDS
        for mac, address in networks.leases(network_id):
            print(expires, mac, address, "*", "*")
        return 0
    if action not in _ACTIONS or len(arguments) < 3 or not network_id:
        print(USAGE, file=sys.stderr)
        return 2
    mac, address = arguments[1].lower(), arguments[2]
    if ":" not in address:      # guests make their IPv6 addresses themselves
        networks.set_leased(network_id, address, mac, _ACTIONS[action])
    return 0


def main() -> None:
    """Read the options up to the action, then do it."""
    words = sys.argv[1:]
    at = next((n for n, word in enumerate(words) if word in ("init", *_ACTIONS)), len(words))
    cfg.CONF(words[:at], project="nova", prog="nova-dhcpbridge")
    db.configure()
    sys.exit(run(words[at:], os.environ.get("NETWORK_ID", "")))


if __name__ == "__main__":
    main()
