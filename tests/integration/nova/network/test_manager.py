# SPDX-License-Identifier: Apache-2.0
"""The network worker with a real bridge, dnsmasq and iptables; guests are namespaces.

The "guest" asks for its address with udhcpc over a veth pair that bears the tap's name.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from oslo_config import cfg

from nova import db
from nova.context import RequestContext
from nova.db import floating_ips, networks, ports, security_groups
from nova.db import session as db_session
from nova.db.models import Base, Instance
from nova.linux import cleanup
from nova.linux.dnsmasq import Dnsmasq
from nova.linux.firewall import InstanceFirewall
from nova.linux.run import CommandFailed
from nova.network import audit, vifs
from nova.network.driver import FloatingRoute, HostNetwork, HostPort
from nova.network.linux import LinuxDriver
from nova.network.manager import NetworkManager, host_network

CONF = cfg.CONF
PROJECT = "project-a"
METADATA = """
import http.server, socketserver
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"you are {self.client_address[0]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
socketserver.TCPServer.allow_reuse_address = True
server = socketserver.ThreadingTCPServer(("0.0.0.0", 8775), Handler)
print("ready", flush=True)
server.serve_forever()
"""
UDHCPC = """#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip addr replace $ip/$mask dev $interface
ip route replace default via $router
echo "$ip $router $dns $domain $mtu" > %s
"""


PEER = """
import socket
server = socket.create_server(("0.0.0.0", 9000))
print("ready", flush=True)
print(server.accept()[1][0], flush=True)
"""
SNIFF = """
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
print("ready", flush=True)
while True:
    frame = s.recv(2048)
    print(frame[6:12].hex(":"), frame[:6].hex(":"), flush=True)
"""


class Rpc:
    """Casts go straight to the manager; what is for others is kept."""

    def __init__(self):
        self.casts = []

    def cast(self, context, table, method, *, host=None, **args):
        self.casts.append((table.topic, method, host, args))


class Cloud:
    def __init__(self, namespaces, directory, public="172.24.4.1/24"):
        self.namespaces, self.directory = namespaces, directory
        self.host, self.world = namespaces(), namespaces()
        self.host.cable("pub", self.world, "eth0")
        self.host("ip", "addr", "add", public, "dev", "pub")
        self.world("ip", "addr", "add", "172.24.4.9/24", "dev", "eth0")
        self.host("ip", "route", "add", "default", "via", "172.24.4.9")
        self.rpc = Rpc()
        self.firewall = InstanceFirewall(run=self.host.runner)
        self.restart()
        self.context = RequestContext(project_id=PROJECT, user_id="u")

    def restart(self):
        """A new worker, as after a crash of the old one."""
        self.manager = NetworkManager("host1", LinuxDriver(
            self.host.runner, self.directory,
            (sys.executable, "-m", "nova.cmd.dhcpbridge", "--config-file",
             f"{self.directory}/nova.conf")), self.rpc)

    def instance(self, name="vm1", **request):
        row = Instance(
            project_id=PROJECT, user_id="u", display_name=name, hostname=name,
            reservation_id="r-1", vm_state="building", desired_state="active", flavor_id="1",
            flavor_name="f", vcpus=1, memory_mb=1, root_gb=1, host="host1",
            build_request={"networks": None, "security_groups": [], **request})
        with db.writer() as session:
            session.add(row)
        return row

    def boot(self, name="vm1", dhcp=True, **request):
        """Allocate, filter and plug as a compute worker would; returns (instance, vif, guest)."""
        row = self.instance(name, **request)
        self.manager.allocate_for_instance(self.context, row.id)
        [vif] = vifs.of_instances([row.id])[row.id]
        self.firewall.apply(row.id, [vif])
        guest = self.namespaces()
        guest("ip", "link", "add", "eth0", "address", vif.mac, "type", "veth",
              "peer", "name", vif.tap, "netns", self.host.name)
        guest("ip", "link", "set", "eth0", "up")
        self.host("ip", "link", "set", vif.tap, "master", vif.bridge, "up")
        self.host("ip", "link", "set", vif.tap, "alias", f"nova:port:{vif.port_id}")
        if dhcp:
            guest.lease = self.dhcp(guest)
        return row, vif, guest

    def dhcp(self, guest):
        told = Path(self.directory) / f"{guest.name}.lease"
        script = Path(self.directory) / f"{guest.name}.udhcpc"
        script.write_text(UDHCPC % told)
        script.chmod(0o755)
        guest("busybox", "udhcpc", "-n", "-q", "-f", "-t", "8", "-T", "1", "-O", "mtu",
              "-i", "eth0", "-s", str(script), timeout=30)
        return told.read_text().split()

    def unplug(self, row, vif):
        """What a compute worker does when a guest is gone."""
        self.host("ip", "link", "del", vif.tap, check=False)
        self.firewall.remove(row.id, [vif])

    def refresh(self, row):
        """What a compute worker does when it is told so."""
        self.firewall.apply(row.id, vifs.of_instances([row.id])[row.id])

    def problems(self):
        return audit.audit("host1", self.manager.driver)


def open_port(port, protocol="tcp"):
    group = security_groups.ensure_default(PROJECT)
    [rule] = security_groups.add_rules(group, [{
        "project_id": PROJECT, "direction": "ingress", "ethertype": "IPv4",
        "protocol": protocol, "port_min": port, "port_max": port}])
    return rule


def make_network(**more):
    return networks.create({"name": "private", "cidr": "10.0.0.0/24", "gateway": "10.0.0.1",
                            "bridge": "br100", **more})


def make_floating(*addresses):
    row = networks.create({"name": "public", "cidr": "172.24.4.0/24", "gateway": "172.24.4.1",
                           "external": True, "shared": False})
    floating_ips.add(row.id, addresses)
    return row


def eventually(check, seconds=30):
    give_up_at = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < give_up_at, "it never came true"
        time.sleep(0.1)


@pytest.fixture
def directory():
    # Not pytest's own, which nobody but root may enter: dnsmasq drops its rights.
    with tempfile.TemporaryDirectory(prefix="nova-net-") as path:
        Path(path).chmod(0o755)
        yield path


@pytest.fixture
def cloud(directory, namespaces, monkeypatch):
    url = f"sqlite:///{directory}/nova.db"
    Path(directory, "nova.conf").write_text(f"[database]\nconnection = {url}\n")
    CONF([], project="nova", default_config_files=[])
    db.configure(url)
    Base.metadata.create_all(db.engine())
    made = Cloud(namespaces, directory)
    yield made
    for bridge in made.manager.driver.inventory().dhcp_servers:
        Dnsmasq(directory, bridge, made.host.runner).stop()
    db.engine().dispose()
    monkeypatch.setattr(db_session, "_database", None)
    CONF.reset()


def test_guest_gets_its_address_and_its_lease_reaches_the_row(cloud):
    network = make_network()
    cloud.manager.start()
    row, vif, guest = cloud.boot("web")
    assert guest.lease == ["10.0.0.2", "10.0.0.1", "10.0.0.1", "novalocal", "1500"]
    eventually(lambda: networks.leases(network.id) == [(vif.mac, "10.0.0.2")])
    assert guest.pings("10.0.0.1")
    answer = guest("busybox", "nslookup", "web.novalocal", "10.0.0.1").stdout
    assert "10.0.0.2" in answer
    eventually(lambda: cloud.problems() == [])
    cloud.unplug(row, vif)
    cloud.manager.deallocate_for_instance(cloud.context, row.id)
    assert ports.find() == []
    # The lease is still there, so the next guest gets another address.
    _, second, _ = cloud.boot("next", dhcp=False)
    assert second.addresses[0].address == "10.0.0.3"


def test_metadata_is_reached_and_nothing_else_of_the_host(cloud):
    """N21: of the host a guest reaches DHCP, DNS, metadata and nothing else."""
    make_network()
    cloud.manager.start()
    _, _, guest = cloud.boot()
    process = cloud.host.popen(sys.executable, "-c", METADATA, stdout=-1, text=True)
    assert process.stdout.readline() == "ready\n"
    cloud.host.serve(22)
    fetched = guest("busybox", "wget", "-q", "-O-", "http://169.254.169.254/latest").stdout
    assert fetched == "you are 10.0.0.2"
    assert guest.is_kept_from("10.0.0.1", 22)
    assert guest.is_kept_from("172.24.4.1", 22)
    assert guest.is_kept_from("10.0.0.1", 8775), "the port itself is not open to guests"
    assert guest.is_kept_from("10.0.0.1", 53), "DNS says no hello, but it is open:"
    assert "10.0.0.2" in guest("busybox", "nslookup", "vm1.novalocal", "10.0.0.1").stdout


def test_guest_reaches_the_world_behind_the_host(cloud):
    make_network()
    cloud.manager.start()
    _, _, guest = cloud.boot()
    cloud.world.serve(80)
    assert guest.reaches("172.24.4.9", 80)


def test_floating_ip_from_the_world_and_back(cloud):
    make_network()
    external = make_floating("172.24.4.100", "172.24.4.101")
    cloud.manager.start()
    row, _, guest = cloud.boot()
    neighbour_row, _, neighbour = cloud.boot("vm2")
    guest.serve(22)
    floating = floating_ips.allocate(external.id, PROJECT)
    assert cloud.world.is_kept_from("172.24.4.100", 22)
    cloud.manager.api.associate_floating_ip(cloud.context, "172.24.4.100", row.id)
    cloud.manager.apply_floating_ip(cloud.context, floating.id)
    assert cloud.world.is_kept_from("172.24.4.100", 22), "the group does not allow it yet"
    open_port(22)
    cloud.refresh(row)
    assert cloud.world.reaches("172.24.4.100", 22)
    assert cloud.host.reaches("172.24.4.100", 22), "from the host itself"
    assert neighbour.reaches("172.24.4.100", 22), "from a neighbour"
    # Who the world sees is the floating address.
    ear = cloud.world.popen(sys.executable, "-S", "-c", PEER, stdout=-1, text=True)
    assert ear.stdout.readline() == "ready\n"
    guest("busybox", "nc", "-w", "3", "172.24.4.9", "9000", stdin=subprocess.DEVNULL, check=False)
    assert ear.stdout.readline() == "172.24.4.100\n"
    eventually(lambda: cloud.problems() == [])
    assert floating_ips.get(floating.id).host == "host1"
    before = cloud.manager.driver.tables.read("ipv4")
    cloud.manager.reconcile()
    assert cloud.manager.driver.tables.read("ipv4") == before

    cloud.manager.api.disassociate_floating_ip(cloud.context, "172.24.4.100", row.id)
    cloud.manager.apply_floating_ip(cloud.context, floating.id)
    assert cloud.world.is_kept_from("172.24.4.100", 22)
    assert floating_ips.get(floating.id).host is None
    assert "172.24.4.100" not in cloud.host("iptables-save").stdout \
        + cloud.host("ip", "addr").stdout
    assert neighbour_row.id


def test_security_n23_connection_ends_with_its_floating_ip(cloud):
    """N23: taken away, a floating address carries no packet of an old connection either."""
    make_network()
    external = make_floating("172.24.4.100")
    cloud.manager.start()
    row, vif, guest = cloud.boot()
    open_port(22)
    cloud.refresh(row)
    floating = floating_ips.allocate(external.id, PROJECT)
    cloud.manager.api.associate_floating_ip(cloud.context, "172.24.4.100", row.id)
    cloud.manager.apply_floating_ip(cloud.context, floating.id)
    ear = guest.popen("nc", "-l", "-p", "22", stdout=-1, stdin=-1)
    time.sleep(0.3)
    client = cloud.world.popen("nc", "172.24.4.100", "22", stdin=-1)
    client.stdin.write(b"first\n")
    client.stdin.flush()
    assert ear.stdout.readline() == b"first\n"
    cloud.manager.api.release_floating(cloud.context, floating)
    cloud.manager.apply_floating_ip(cloud.context, floating.id)
    client.stdin.write(b"second\n")
    client.stdin.flush()
    time.sleep(0.5)
    ear.kill()
    assert b"second" not in ear.stdout.read()
    assert vif.addresses[0].floating == ()


def test_security_n23_floating_ip_that_moves_takes_no_connection_along(cloud):
    """N23: led to another guest, an address carries no packet of the first one's connections."""
    make_network()
    external = make_floating("172.24.4.100")
    cloud.manager.start()
    open_port(22)
    row, _, first = cloud.boot()
    other, _, second = cloud.boot("vm2")
    cloud.refresh(row)
    floating = floating_ips.allocate(external.id, PROJECT)
    cloud.manager.api.associate_floating_ip(cloud.context, "172.24.4.100", row.id)
    cloud.manager.apply_floating_ip(cloud.context, floating.id)
    ear = first.popen("nc", "-l", "-p", "22", stdout=-1, stdin=-1)
    time.sleep(0.3)
    client = cloud.world.popen("nc", "172.24.4.100", "22", stdin=-1)
    client.stdin.write(b"first\n")
    client.stdin.flush()
    assert ear.stdout.readline() == b"first\n"
    second.serve(22)
    cloud.manager.api.associate_floating_ip(cloud.context, "172.24.4.100", other.id)
    cloud.manager.apply_floating_ip(cloud.context, floating.id)
    client.stdin.write(b"second\n")
    client.stdin.flush()
    assert cloud.world.reaches("172.24.4.100", 22)
    ear.kill()
    assert b"second" not in ear.stdout.read()
    eventually(lambda: cloud.problems() == [])


def test_restart_finds_everything_as_it_was(cloud):
    """P4: a worker that comes back touches no guest and starts no second dnsmasq."""
    network = make_network()
    external = make_floating("172.24.4.100")
    cloud.manager.start()
    row, vif, guest = cloud.boot()
    floating = floating_ips.allocate(external.id, PROJECT)
    cloud.manager.api.associate_floating_ip(cloud.context, "172.24.4.100", row.id)
    cloud.manager.apply_floating_ip(cloud.context, floating.id)
    pid = cloud.manager.driver.inventory().dhcp_servers["br100"]
    calls = []
    cloud.restart()
    real = cloud.manager.driver.tables.run

    def run(*command, **more):
        calls.append(command)
        return real(*command, **more)

    cloud.manager.driver.tables.run = run
    cloud.manager.start()
    assert cloud.manager.driver.inventory().dhcp_servers == {"br100": pid}
    assert not [call for call in calls if "restore" in call[0]]
    assert networks.leases(network.id) == [(vif.mac, "10.0.0.2")]
    assert guest.pings("10.0.0.1")


def test_reconciler_makes_good_what_was_broken(cloud):
    """N4: after flush, kill and lost bridge addresses all is as the rows say again."""
    make_network()
    external = make_floating("172.24.4.100", "172.24.4.101")
    cloud.manager.start()
    row, _, guest = cloud.boot()
    floating = floating_ips.allocate(external.id, PROJECT)
    cloud.manager.api.associate_floating_ip(cloud.context, "172.24.4.100", row.id)
    cloud.manager.reconcile()
    assert floating_ips.get(floating.id).host == "host1"
    cloud.host("iptables", "-t", "nat", "-F")
    cloud.host("ip", "addr", "del", "172.24.4.100/32", "dev", "pub")
    cloud.host("ip", "addr", "add", "172.24.4.101/32", "dev", "pub", "label", "pub:nova")
    cloud.host("ip", "addr", "del", "10.0.0.1/24", "dev", "br100")
    Dnsmasq(cloud.directory, "br100", cloud.host.runner).stop()
    kinds = {kind for kind, _, _ in cloud.problems()}
    assert kinds == {"dnsmasq", "floating-ip", "floating-ip-rule"}
    cloud.manager.reconcile()
    eventually(lambda: cloud.problems() == [])
    assert guest.pings("10.0.0.1")
    assert cloud.dhcp(guest)[0] == "10.0.0.2"


def test_network_is_removed_with_all_that_is_its(cloud):
    network = make_network()
    cloud.manager.start()
    assert "br100" in cloud.host("ip", "link").stdout
    networks.delete_network(network.id)
    cloud.manager.remove_network(cloud.context, network.id, "br100")
    assert "br100" not in cloud.host("ip", "link").stdout
    assert "br100" not in cloud.host("iptables-save").stdout
    assert cloud.manager.driver.inventory().dhcp_servers == {}
    eventually(lambda: cloud.problems() == [])


def test_two_networks_do_not_see_each_other(cloud):
    make_network(shared=True)
    other = make_network(name="own", cidr="10.1.0.0/24", gateway="10.1.0.1", bridge="br101",
                         shared=False, project_id=PROJECT)
    shared = next(row for row in networks.find() if row.id != other.id)
    cloud.manager.start()
    open_port(22)
    row, _, one = cloud.boot("vm1", networks=[{"network_id": shared.id}])
    second, _, two = cloud.boot("vm2", networks=[{"network_id": other.id}])
    assert (one.lease[0], two.lease[0]) == ("10.0.0.2", "10.1.0.2")
    two.serve(22)
    assert cloud.host.reaches("10.1.0.2", 22)
    assert one.is_kept_from("10.1.0.2", 22)


def test_interface_moves_into_the_bridge_with_its_address(cloud):
    """FlatDHCP over a real card: what the host had there, it has on the bridge."""
    make_network(bridge_interface="pub", cidr="172.24.4.0/24", gateway="172.24.4.1")
    cloud.manager.start()
    addresses = json.loads(cloud.host("ip", "-j", "addr", "show", "dev", "br100").stdout)
    assert [one["local"] for one in addresses[0]["addr_info"]] == ["172.24.4.1"]
    assert "via 172.24.4.9 dev br100" in cloud.host("ip", "route").stdout
    cloud.world.serve(80)
    cloud.host.serve(22)
    assert cloud.host.reaches("172.24.4.9", 80)
    assert cloud.world.reaches("172.24.4.1", 22), "the machine's own network is no guest"
    cloud.manager.reconcile()
    assert cloud.host.reaches("172.24.4.9", 80)


def test_network_over_the_hosts_own_routes_is_refused_and_harms_no_other(cloud):
    """N19: what cannot be served is logged; the rest is served, and the host keeps its routes."""
    make_network()
    bad = make_network(name="bad", cidr="172.24.4.0/25", gateway="172.24.4.1", bridge="br666",
                       shared=False, project_id=PROJECT)
    cloud.manager.start()
    assert cloud.host("ip", "route", "get", "172.24.4.9").stdout.split()[2] == "pub"
    assert {(kind, name) for kind, name, _ in cloud.problems()} == {
        ("bridge", "br666"), ("dnsmasq", "br666")}
    row = cloud.instance(networks=[{"network_id": bad.id}])
    with pytest.raises(CommandFailed, match="overlaps"):
        cloud.manager.allocate_for_instance(cloud.context, row.id)
    second, _, guest = cloud.boot("vm2", networks=[{
        "network_id": next(one.id for one in networks.find() if one.id != bad.id)}])
    assert guest.lease[0] == "10.0.0.2"
    assert second.id


def test_given_up_cloud_leaves_nothing_and_takes_nothing_of_others(cloud):
    make_network()
    external = make_floating("172.24.4.100")
    before = cloud.host("ip", "-br", "addr").stdout
    cloud.manager.start()
    cloud.host("iptables", "-A", "FORWARD", "-s", "192.0.2.1", "-j", "DROP")
    row, vif, _ = cloud.boot()
    floating = floating_ips.allocate(external.id, PROJECT)
    cloud.manager.api.associate_floating_ip(cloud.context, "172.24.4.100", row.id)
    cloud.manager.apply_floating_ip(cloud.context, floating.id)
    removed = cleanup.clear(cloud.host.runner, "nova", cloud.directory)
    assert {"dnsmasq of br100", "br100", "172.24.4.100", vif.tap} <= set(removed)
    for command in (("iptables-save",), ("ip6tables-save",), ("ebtables-nft-save",)):
        assert "nova" not in cloud.host(*command).stdout
    assert "192.0.2.1" in cloud.host("iptables-save").stdout
    assert cloud.host("ip", "-br", "addr").stdout == before
    assert cleanup.clear(cloud.host.runner, "nova", cloud.directory) == []
    cloud.manager.reconcile()       # and all of it can be made again
    assert cloud.host.pings("10.0.0.1")


def test_security_n22_n14_bridges_are_switches_without_addresses_of_their_own(cloud):
    """N14, N22: a bridge learns where guests are, and has no link-local address to reach it by."""
    make_network()
    cloud.manager.start()
    _, vif, guest = cloud.boot()
    cloud.boot("vm2")
    [info] = json.loads(cloud.host("ip", "-j", "-d", "link", "show", "dev", "br100").stdout)
    assert info["linkinfo"]["info_data"]["ageing_time"] > 0
    assert "fe80" not in cloud.host("ip", "-6", "addr", "show", "dev", "br100").stdout
    # A frame for one guest does not come to another.
    third = cloud.boot("vm3")[2]
    assert guest.pings("10.0.0.1")
    ear = third.popen("busybox", "timeout", "2", sys.executable, "-S", "-c", SNIFF, stdout=-1)
    assert ear.stdout.readline() == b"ready\n"
    for _ in range(3):
        guest.pings("10.0.0.1")
    assert vif.mac.encode() not in ear.stdout.read()


def six_of(vif, guest):
    """The IPv6 address of a guest, once it has made it itself."""
    expected = next(one.address for one in vif.addresses if one.version == 6)
    eventually(lambda: f"{expected}/64 scope global" in guest(
        "ip", "-6", "addr", "show", "dev", "eth0", "-tentative").stdout, 20)
    return expected


def test_guest_makes_its_ipv6_address_of_the_routers_advertisement(cloud):
    make_network(cidr_v6="fd00:100::/64", gateway_v6="fd00:100::1", subnet_v6_id="six")
    cloud.manager.start()
    row, vif, guest = cloud.boot()
    expected = six_of(vif, guest)
    eventually(lambda: guest.pings("fd00:100::1"))
    eventually(lambda: cloud.problems() == [])
    _, other, second = cloud.boot("vm2")
    six_of(other, second)
    assert second.hears_nothing_from(expected), "the rules of the first know nothing of it yet"
    cloud.refresh(row)
    eventually(lambda: second.pings(expected))
    # A hypervisor's own look at the bridge leaves its IPv6 alone.
    cloud.manager.driver.bridges.ensure_bridge("br100", vif.network_id)
    assert guest.pings("fd00:100::1")


def test_two_hosts_of_the_same_names_side_by_side(directory, namespaces):
    """Two namespaces, the same bridge, addresses and prefix in both: neither sees the other."""
    CONF([], project="nova", default_config_files=[])
    network = HostNetwork("net", "br100", "10.0.0.0/24", "10.0.0.1/24")
    drivers, guests = [], []
    for number in (1, 2):
        host, guest = namespaces(), namespaces()
        place = Path(directory, str(number))
        place.mkdir(mode=0o755)
        driver = LinuxDriver(host.runner, str(place), ())
        driver.init_host()
        mac = f"fa:16:3e:00:00:0{number}"
        driver.ensure_network(network, [HostPort(mac, f"10.0.0.{number + 5}", f"vm{number}")])
        driver.apply_rules([network], [])
        guest("ip", "link", "add", "eth0", "address", mac, "type", "veth",
              "peer", "name", "tap1", "netns", host.name)
        guest("ip", "link", "set", "eth0", "up")
        host("ip", "link", "set", "tap1", "master", "br100", "up")
        drivers.append(driver)
        guests.append(guest)
    try:
        for number, guest in enumerate(guests, 1):
            lease = Cloud.dhcp(SimpleNamespace(directory=directory), guest)
            assert lease[0] == f"10.0.0.{number + 5}"
            assert guest.pings("10.0.0.1")
            assert guest.hears_nothing_from(f"10.0.0.{8 - number}")
        pids = [driver.inventory().dhcp_servers["br100"] for driver in drivers]
        assert len(set(pids)) == 2
        drivers[0].remove_network("br100")
        assert drivers[1].inventory().dhcp_servers == {"br100": pids[1]}
        assert guests[1].pings("10.0.0.1")
    finally:
        for driver in drivers:
            driver.remove_network("br100")
        CONF.reset()


def on_the_wire(cloud, mac, address):
    """A machine on the cable that a bridge's interface hangs on: another host's guest, or not."""
    machine = cloud.namespaces()
    switch = cloud.switch
    name = f"p{len(switch.ports)}"
    switch.ports.append(name)
    switch.cable(name, machine, "eth0")
    switch("ip", "link", "set", name, "master", "sw0")
    machine("ip", "link", "set", "eth0", "address", mac)
    machine("ip", "addr", "add", f"{address}/24", "dev", "eth0")
    machine("ip", "route", "add", "default", "via", "10.0.0.1")
    return machine


@pytest.fixture
def spread(cloud):
    """The cloud's network goes on over a cable to a switch other hosts hang on."""
    cloud.switch = cloud.namespaces()
    cloud.switch.ports = []
    cloud.switch("ip", "link", "add", "sw0", "type", "bridge", "forward_delay", "0")
    cloud.switch("ip", "link", "set", "sw0", "up")
    cloud.host.cable("wire", cloud.switch, "up0")
    cloud.switch("ip", "link", "set", "up0", "master", "sw0")
    make_network(bridge_interface="wire")
    cloud.manager.start()
    return cloud


def test_security_n21_guests_on_other_hosts_get_no_more_of_this_one_than_its_own(spread):
    """N21: a guest elsewhere comes in by the same card as the machine's own neighbours do."""
    guest = on_the_wire(spread, "fa:16:3e:00:00:07", "10.0.0.7")
    neighbour = on_the_wire(spread, "52:54:00:00:00:08", "10.0.0.8")
    spread.host.serve(22)
    assert guest.pings("10.0.0.1")
    assert guest.is_kept_from("10.0.0.1", 22)
    assert guest.is_kept_from("172.24.4.1", 22), "nor by another address of the host"
    assert neighbour.reaches("10.0.0.1", 22), "the machine's own network is no guest"
    spread.world.serve(80)
    assert guest.reaches("172.24.4.9", 80), "the world it may see"
    row, _vif, local = spread.boot()
    local_address = local.lease[0].partition("/")[0]
    open_port(None, "icmp")
    spread.refresh(row)
    assert guest.pings(local_address), "and its neighbours on this host"
    spread.restart()
    spread.manager.start()
    assert guest.is_kept_from("10.0.0.1", 22)
    assert spread.problems() == []


@pytest.mark.parametrize("seen", ["1", "0"])
def test_guests_on_other_hosts_reach_each_other_by_floating_addresses(spread, seen):
    """Whether or not iptables sees bridged packets; and no frame but theirs goes back the way."""
    one = on_the_wire(spread, "fa:16:3e:00:00:07", "10.0.0.7")
    two = on_the_wire(spread, "fa:16:3e:00:00:08", "10.0.0.8")
    bare = on_the_wire(spread, "fa:16:3e:00:00:09", "10.0.0.9")
    spread.host("sh", "-c", f"echo {seen} > /proc/sys/net/bridge/bridge-nf-call-iptables")
    driver = spread.manager.driver
    [network] = map(host_network, networks.find(host="host1", external=False))
    routes = [FloatingRoute(f"172.24.4.{number}", f"10.0.0.{number - 10}", "br100")
              for number in (17, 18)]
    for route in routes:
        driver.bind_floating(route.floating)
    driver.apply_rules([network], routes)
    two.serve(80)
    for guest in (one, bare):
        for _ in range(2):      # the first finds two's MAC unknown, the second does not
            assert guest.reaches("172.24.4.18", 80)
    assert "DUP" not in one("busybox", "ping", "-c", "3", "10.0.0.8").stdout
    # The switch knows each guest where it is, not where what it said came back from.
    for mac, port in (("07", "p0"), ("08", "p1"), ("09", "p2")):
        known = spread.switch("bridge", "fdb", "get", f"fa:16:3e:00:00:{mac}", "br", "sw0").stdout
        assert f"dev {port} " in known
    driver.apply_rules([network], [])
    assert one.is_kept_from("172.24.4.18", 80)


def test_security_n21_guests_do_not_reach_what_else_the_host_is_connected_to(cloud):
    """N21: a network of the operator's own, with the database in it, is not the world."""
    make_network()
    management = cloud.namespaces()
    cloud.host.cable("mgmt", management, "eth0")
    cloud.host("ip", "addr", "add", "10.20.0.1/24", "dev", "mgmt")
    management("ip", "addr", "add", "10.20.0.9/24", "dev", "eth0")
    management("ip", "route", "add", "default", "via", "10.20.0.1")
    management.serve(3306)
    cloud.world.serve(3306)
    cloud.manager.start()
    _row, _vif, guest = cloud.boot()
    assert cloud.host.reaches("10.20.0.9", 3306)
    assert guest.reaches("172.24.4.9", 3306)
    assert guest.is_kept_from("10.20.0.9", 3306)
