# SPDX-License-Identifier: Apache-2.0
"""Take everything of one cloud off this host's network: for a cloud that is given up.

    python -m nova.linux.cleanup --prefix nova --directory /var/lib/nova/networks

Known by their names and labels, not by any row: DHCP servers, taps, bridges, rules of all packet
filters, and floating addresses.  A bridge that holds a stranger's interface stays: the host's own
addresses are on it.  May be run again, and on a host with nothing of ours.
"""

import argparse
import json
from pathlib import Path

from nova.linux.bridge import Bridges
from nova.linux.dnsmasq import Dnsmasq
from nova.linux.iptables import FAMILIES, Iptables
from nova.linux.run import Runner

WORKERS = ("compute", "network")


def clear(run: Runner, prefix: str, directory: str | Path) -> list[str]:
    """Remove what there is and return the names of it, bridges that had to stay left out."""
    removed = _dhcp_servers(run, prefix, Path(directory))
    removed += _devices(Bridges(run, prefix))
    removed += _addresses(run, prefix)
    _no_way_back(Bridges(run, prefix))
    for worker in WORKERS:
        tables = Iptables(worker, run, prefix)
        for family in FAMILIES:
            chains = [name for table in tables.read(family).values() for name in table
                      if name.startswith(f"{prefix}-")]
            if chains:
                tables.clear(family)
                removed += chains
    return removed


def _dhcp_servers(run: Runner, prefix: str, directory: Path) -> list[str]:
    removed = []
    for conf in sorted(directory.glob(f"{prefix}-*.conf")):
        bridge = conf.name[len(prefix) + 1:-len(".conf")]
        Dnsmasq(directory, bridge, run, prefix=prefix).remove()
        removed.append(f"dnsmasq of {bridge}")
    return removed


def _devices(bridges: Bridges) -> list[str]:
    links = bridges.links().values()
    taps = [link.name for link in links if link.kind == "port"]
    strangers = {link.bridge for link in links if link.kind != "port"}
    own = [link.name for link in links if link.kind == "network" and link.name not in strangers]
    return [name for name in (*taps, *own) if bridges.remove(name)]


def _no_way_back(bridges: Bridges) -> None:
    """End what sends frames out of the card they came in by, before the rule that restricts it."""
    links = bridges.links()
    for link in links.values():
        if link.hairpin and link.bridge in links and links[link.bridge].kind == "network":
            bridges.run("ip", "link", "set", "dev", link.name, "type", "bridge_slave",
                        "hairpin", "off")


def _addresses(run: Runner, prefix: str) -> list[str]:
    removed = []
    for device in json.loads(run("ip", "-j", "-4", "addr", "show") or "[]"):
        for info in device.get("addr_info", ()):
            if info.get("label") == f"{device['ifname']}:{prefix}":
                run("ip", "addr", "del", f"{info['local']}/{info['prefixlen']}",
                    "dev", device["ifname"])
                removed.append(info["local"])
    return removed


def main() -> None:
    """Clear this host and say what went."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prefix", default="nova", help="host_prefix of nova.conf (nova)")
    parser.add_argument("--directory", required=True, help="networks_path of nova.conf")
    args = parser.parse_args()
    for name in clear(Runner(), args.prefix, args.directory):
        print(name)


if __name__ == "__main__":
    main()
