# SPDX-License-Identifier: Apache-2.0
"""One dnsmasq a bridge: DHCP by MAC, DNS, and router advertisements where there is IPv6.

The daemon is its own master: it outlives us and is found again by its pid file, whose process has
to be running with just our configuration file.  It is restarted when that file has to change and
told (SIGHUP) when only the hosts have; leases outlive a restart in their own file.  All files are
replaced whole, never written in place.
"""

import os
import re
import shlex
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from nova.linux.run import DAEMON, CommandFailed, Runner

# The first one without the overflows of CVE-2017-14491 and its siblings.
OLDEST_VERSION = (2, 78)
STOP_TIMEOUT = 5.0      # seconds for a dnsmasq to go when asked, before it is killed


@dataclass(frozen=True)
class DhcpNetwork:
    """What a DHCP server has to know of a network.  ``lease_seconds`` is how long leases last."""

    network_id: str
    bridge: str
    listen: str
    cidr: str
    gateway: str
    lease_seconds: int
    dns_servers: tuple[str, ...] = ()
    domain: str = "novalocal"
    mtu: int = 1500
    cidr_v6: str | None = None


@dataclass(frozen=True, order=True)
class DhcpHost:
    """One guest's interface; the hostname is made fit for DNS here, whatever it is."""

    mac: str
    address: str
    hostname: str


@dataclass(frozen=True)
class Lease:
    """What a dnsmasq has leased now."""

    mac: str
    address: str
    expires: int


class Dnsmasq:
    """The dnsmasq of one bridge.

    ``directory`` keeps its files, ``script`` is the command it runs for leases that come or go:
    the words ``add`` or ``del``, MAC and address are added to it, and NETWORK_ID is in its
    environment.
    """

    def __init__(self, directory: str | Path, bridge: str, run: Runner,
                 script: Sequence[str] = (), prefix: str = "nova") -> None:
        self.run = run
        self.bridge = bridge
        self.script = tuple(script)
        base = Path(directory) / f"{prefix}-{bridge}"
        self.conf = base.with_name(base.name + ".conf")
        self.hosts = base.with_name(base.name + ".hosts")
        self.pid_file = base.with_name(base.name + ".pid")
        self.lease_file = base.with_name(base.name + ".leases")
        self.hook = base.with_name(base.name + ".hook")

    def ensure(self, network: DhcpNetwork, hosts: Iterable[DhcpHost]) -> bool:
        """Have the daemon run with this configuration and these hosts; False: nothing to do."""
        self.conf.parent.mkdir(parents=True, exist_ok=True)
        new_hosts = write(self.hosts, render_hosts(hosts, network.domain))
        new_hook = write(self.hook, self._render_hook(network), mode=0o755)
        new_conf = write(self.conf, self._render(network))
        pid = self.pid()
        # A dnsmasq that has dropped its rights reads the hosts again only if everybody may.
        readable = all(place.stat().st_mode & 0o001 for place in self.hosts.resolve().parents)
        if pid is not None and (new_conf or (new_hosts and not readable)):
            self.stop()
            pid = None
        if pid is None:
            self._start()
        elif new_hosts:
            os.kill(pid, signal.SIGHUP)
        return new_hosts or new_conf or new_hook or pid is None

    def pid(self) -> int | None:
        """Return the daemon's process id while it lives, else None.

        A zombie is dead, and a number that another process got by now is not ours.
        """
        try:
            pid = int(self.pid_file.read_text())
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            return None
        ours = f"--conf-file={self.conf}".encode()
        return pid if state not in "ZX" and ours in command else None

    def stop(self) -> None:
        """End the daemon and wait until it is gone; success when there is none."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            give_up_at = time.monotonic() + STOP_TIMEOUT
            while (pid := self.pid()) is not None:
                try:
                    os.kill(pid, sign)
                except ProcessLookupError:
                    return
                if time.monotonic() > give_up_at:
                    break
                time.sleep(0.02)
            else:
                return
        raise CommandFailed(command=f"kill {pid}", reason="dnsmasq does not go")

    def remove(self) -> None:
        """End the daemon and remove its files."""
        self.stop()
        for path in (self.conf, self.hosts, self.pid_file, self.lease_file, self.hook):
            path.unlink(missing_ok=True)

    def leases(self) -> list[Lease]:
        """Return the IPv4 leases dnsmasq has written down that have not run out."""
        try:
            lines = self.lease_file.read_text().splitlines()
        except FileNotFoundError:
            return []
        found, now = [], time.time()
        for words in (line.split() for line in lines):
            if len(words) >= 4 and words[0].isdigit() and ":" not in words[2]:
                lease = Lease(words[1], words[2], int(words[0]))
                if lease.expires > now:
                    found.append(lease)
        return found

    def _start(self) -> None:
        self.lease_file.touch()
        self.run("dnsmasq", f"--conf-file={self.conf}", timeout=DAEMON)

    def _render(self, network: DhcpNetwork) -> str:
        cidr = ip_network(network.cidr)
        lines = [
            "# Written by nova-network; changes are lost.",
            "bind-dynamic", f"interface={self.bridge}", "except-interface=lo",
            f"listen-address={network.listen}",
            f"pid-file={self.pid_file}",
            "no-hosts", "domain-needed", "bogus-priv", "no-poll",
            f"domain={network.domain}", f"local=/{network.domain}/",
            f"dhcp-range={cidr.network_address},static,{cidr.netmask},{network.lease_seconds}s",
            f"dhcp-lease-max={max(cidr.num_addresses, 16)}",
            "dhcp-authoritative", "no-ping",
            f"dhcp-hostsfile={self.hosts}", f"dhcp-leasefile={self.lease_file}",
            f"dhcp-option=option:router,{network.gateway}",
            f"dhcp-option=option:mtu,{network.mtu}",
        ]
        if network.dns_servers:
            lines.append(f"dhcp-option=option:dns-server,{','.join(network.dns_servers)}")
        if self.script:
            lines.append(f"dhcp-script={self.hook}")
        if network.cidr_v6:
            prefix = ip_network(network.cidr_v6)
            lines += ["enable-ra",
                      f"dhcp-range={prefix.network_address},ra-only,{prefix.prefixlen}"]
        return "\n".join(lines) + "\n"

    def _render_hook(self, network: DhcpNetwork) -> str:
        # "old" comes for each lease at each SIGHUP and says nothing new: no Python for that.
        return ("#!/bin/sh\n"
                '[ "$1" = old ] && exit 0\n'
                f"NETWORK_ID={shlex.quote(network.network_id)}\nexport NETWORK_ID\n"
                f'exec {shlex.join(self.script or ("true",))} "$@"\n')


def render_hosts(hosts: Iterable[DhcpHost], domain: str) -> str:
    """Return the hosts file: one line an interface, nothing in it but what belongs there."""
    return "".join(f"{host.mac},{host.address},{dns_label(host.hostname, host.address)}.{domain}\n"
                   for host in sorted(set(hosts)))


def dns_label(text: str, address: str) -> str:
    """Return a name as one label of DNS (RFC 1123); what has none is named by its address."""
    label = re.sub(r"[^a-z0-9-]+", "-", text.lower())[:63].strip("-")
    return label or "host-" + re.sub(r"[^0-9a-f]", "-", address.lower())


def write(path: Path, text: str, mode: int = 0o644) -> bool:
    """Replace a file as a whole; False when it says that already.

    Nothing here has to outlive a power cut, so nothing is synced.
    """
    try:
        if path.read_text() == text and path.stat().st_mode & 0o777 == mode:
            return False
    except (OSError, UnicodeDecodeError):
        pass        # not there, or not what we wrote: it is written now
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.chmod(mode)
    temporary.replace(path)
    return True


def running(directory: str | Path, run: Runner, prefix: str = "nova") -> dict[str, int]:
    """Return ``{bridge: pid}`` of the daemons whose files are in a directory and that live."""
    found = {}
    for conf in sorted(Path(directory).glob(f"{prefix}-*.conf")):
        bridge = conf.name[len(prefix) + 1:-len(".conf")]
        pid = Dnsmasq(directory, bridge, run, prefix=prefix).pid()
        if pid is not None:
            found[bridge] = pid
    return found


def check_version(run: Runner) -> None:
    """CommandFailed unless dnsmasq is there and new enough to be let near guests."""
    first = run("dnsmasq", "--version").splitlines()[0]
    version = re.search(r"(\d+)\.(\d+)", first)
    if version is None or (int(version[1]), int(version[2])) < OLDEST_VERSION:
        raise CommandFailed(f"dnsmasq is too old, {'.'.join(map(str, OLDEST_VERSION))} is the "
                            f"oldest allowed: {first[:80]}")
