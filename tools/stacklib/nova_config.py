# SPDX-License-Identifier: Apache-2.0
"""The compute cloud of the stack: SQLite, a broker in memory, all workers in one process."""
import ipaddress
import json
import re
import socket
import subprocess
from pathlib import Path

from . import manage, outside
from .glance_config import authtoken
from .layout import REGION, Cloud, write_atomically
from .packages import CHECKOUT, PRODUCT_VENV
from .probe import http_status, tcp_open
from .progress import StackError
from .supervise import STOP_WAIT, Daemon, socket_path

CONFIG = """\
[DEFAULT]
host = {host}
state_path = {state}
region_name = {region}
transport_url = {broker}
use_stderr = true
compute_driver = {compute}
network_driver = {network}
host_prefix = {prefix}
graceful_shutdown_timeout = {drain}

[api]
auth_strategy = keystone
paste_config = {paste}
enabled_apis = compute,network,volume,metadata,ec2
compute_listen = {address}
compute_port = {compute_port}
network_listen = {address}
network_port = {network_port}
volume_listen = {address}
volume_port = {volume_port}
ec2_listen = {address}
ec2_port = {ec2_port}
# guests come by the addresses of their gateways
metadata_listen = 0.0.0.0
metadata_port = {metadata_port}

[database]
connection = {database}

[ec2]
region_name = {region}
tokens_url = {identity}/v3/ec2tokens

[libvirt]
virt_type = {virt_type}

[volume]
driver = {volumes}
iscsi_portal = {address}:{iscsi_port}
tgt_socket = {tgt_socket}

[glance]
endpoint_override = {image}
auth_type = password
auth_url = {identity}
username = nova
password = {password}
project_name = service
project_domain_id = default
user_domain_id = default

"""

# What one daemon has apart from the others, beside nova.conf.
OWN = """\
[DEFAULT]
host = {host}
state_path = {state}

[monitoring]
listen = {address}
port = {port}
"""

TGT_CONTROL = 1  # behind the name of tgtd's socket, which is this stack's alone

# name: processors, MB of memory, GB of disk
FLAVORS = {"m1.nano": (1, 128, 1), "m1.tiny": (1, 512, 1), "m1.small": (1, 2048, 20),
           "m1.medium": (2, 4096, 40), "m1.large": (4, 8192, 80)}
NETWORK, POOL = "private", "public"
POOL_CIDR, POOL_ADDRESSES = "172.24.4.0/24", "172.24.4.128-172.24.4.254"


def path(cloud: Cloud) -> Path:
    return cloud.etc / "nova/nova.conf"


def state(cloud: Cloud) -> Path:
    return cloud.data / "nova"


def choose_network(cloud: Cloud) -> None:
    """Bridge, network and name prefix of this stack, chosen once and kept.

    The first of 10.0.0.0/24, 10.1.0.0/24 ... that this machine neither has nor routes, so that a
    second stack stands beside the first.
    """
    if "cidr" in cloud.facts:
        return
    routes = json.loads(subprocess.run(
        ["ip", "-j", "-4", "route"], capture_output=True, timeout=10, check=False).stdout or "[]")
    taken = [ipaddress.ip_network(row["dst"], strict=False) for row in routes
             if re.match(r"\d", row["dst"])]
    for number in range(256):
        cidr = ipaddress.ip_network(f"10.{number}.0.0/24")
        if not any(cidr.overlaps(other) for other in taken) and not bridge_exists(number):
            break
    else:
        raise StackError("no free network among 10.0.0.0/24 to 10.255.0.0/24")
    cloud.facts.update(cidr=str(cidr), bridge=f"br{100 + number}",
                       prefix=f"nova{number or ''}", host=socket.gethostname())


def bridge_exists(number: int) -> bool:
    return Path(f"/sys/class/net/br{100 + number}").exists()


def prepare(cloud: Cloud) -> None:
    """Configuration, and the database at this release's schema."""
    (state(cloud) / "instances").mkdir(parents=True, exist_ok=True)
    choose_network(cloud)
    real = cloud.compute == "libvirt"
    text = CONFIG.format(
        broker=cloud.broker.replace("$", "$$") or "memory://",
        database=outside.database_url(cloud, "nova", state(cloud) / "nova.sqlite"),
        host=cloud.facts["host"], prefix=cloud.facts["prefix"], state=state(cloud), region=REGION,
        compute=cloud.compute, network="linux" if real else "fake", drain=STOP_WAIT // 2,
        paste=CHECKOUT / "etc/nova/api-paste.ini", address=cloud.address,
        compute_port=cloud.port("compute"), network_port=cloud.port("network"),
        metadata_port=cloud.port("metadata"), ec2_port=cloud.port("ec2"),
        volume_port=cloud.port("volume"),
        virt_type=cloud.facts.get("virt_type", "auto"), volumes=cloud.volumes,
        iscsi_port=cloud.port("iscsi"),
        tgt_socket=f"{tgt_socket(cloud)}.{TGT_CONTROL}",
        image=cloud.url("image"), identity=cloud.url("identity"), password=cloud.secret("nova"))
    write_atomically(path(cloud), text + authtoken(cloud, "nova"), 0o600)
    for number, (name, _module, host) in enumerate(workers(cloud)):
        places = state(cloud) / host if host != cloud.facts["host"] else state(cloud)
        places.mkdir(exist_ok=True)
        write_atomically(own_path(cloud, name), OWN.format(
            host=host, state=places, address=cloud.address, port=cloud.monitor(number)), 0o600)
    manage.nova_manage(str(path(cloud)), [["db", "sync"]])


def fill(cloud: Cloud) -> None:
    """Flavors, a network of guests and a pool of floating addresses exist.

    They are made once in the life of a stack: what its operator removes stays removed.
    """
    if cloud.facts.get("filled"):
        return
    config = str(path(cloud))
    flavors, networks, floating = (json.loads(text) for text in manage.nova_manage(config, [
        ["flavor", "list", "--json"], ["network", "list", "--json"],
        ["floating", "list", "--json"]]))
    have = {row["name"] for row in flavors + networks}
    commands = [["flavor", "create", name, "--id", str(number), "--vcpus", str(vcpus),
                 "--memory", str(memory), "--disk", str(disk)]
                for number, (name, (vcpus, memory, disk)) in enumerate(FLAVORS.items(), 1)
                if name not in have]
    if NETWORK not in have:
        servers = [word for server in name_servers() for word in ("--dns", server)]
        commands.append(["network", "create", NETWORK, str(cloud.facts["cidr"]),
                         "--bridge", str(cloud.facts["bridge"]), *servers])
    if POOL not in have:
        commands.append(["network", "create", POOL, POOL_CIDR, "--external"])
    if not floating:
        commands.append(["floating", "create", POOL, POOL_ADDRESSES])
    manage.nova_manage(config, commands)
    cloud.facts["filled"] = True
    cloud.save()


def name_servers() -> list[str]:
    """The machine's name servers that guests can reach too."""
    try:
        text = Path("/etc/resolv.conf").read_text()
    except OSError:
        return []
    found = re.findall(r"^nameserver\s+([0-9.]+)\s*$", text, re.M)
    return [address for address in found if not address.startswith("127.")][:2]


def own_path(cloud: Cloud, name: str) -> Path:
    """The configuration that one daemon reads after nova.conf."""
    return cloud.etc / f"nova/{name}.conf"


def workers(cloud: Cloud) -> list[tuple[str, str, str]]:
    """(name, module, host) of each daemon of nova: all in one without a broker."""
    first, *more = outside.hosts(cloud)
    if not cloud.broker:
        return [("nova-all", "nova.cmd.all", first)]
    return [("nova-network", "nova.cmd.network", first),
            ("nova-scheduler", "nova.cmd.scheduler", first),
            ("nova-volume", "nova.cmd.volume", first),
            *((f"nova-compute-{number}", "nova.cmd.compute", host)
              for number, host in enumerate([first, *more], 1)),
            ("nova-api", "nova.cmd.api", first)]


def tgt_socket(cloud: Cloud) -> Path:
    """What tgtd makes the name of its management socket of, with a number behind."""
    return socket_path(cloud).with_name("tgtd")


def target(cloud: Cloud) -> Daemon:
    """The iSCSI target. It ignores SIGTERM while it has targets, and keeps nothing of its own."""
    port = cloud.port("iscsi")
    return Daemon(
        "tgtd", "nova", ["tgtd", "-f", "--iscsi", f"portal={cloud.address}:{port}",
                         "--control-port", str(TGT_CONTROL)],
        lambda: tcp_open(cloud.address, port), {"TGT_IPC_SOCKET": str(tgt_socket(cloud))},
        stop_signal="KILL")


def monitor_ports(cloud: Cloud) -> list[tuple[str, int]]:
    """(daemon, port) of where each daemon tells how it is."""
    return [(name, cloud.monitor(number))
            for number, (name, _module, _host) in enumerate(workers(cloud))]


def daemons(cloud: Cloud) -> list[Daemon]:
    def answers() -> bool:
        # the metadata service knows nobody but guests, and says so
        return all(http_status(cloud.address, cloud.port(name), "/") in statuses
                   for name, statuses in (
                       ("compute", (200, 300)), ("network", (200, 300)),
                       ("metadata", (200, 404)), ("ec2", (403,)), ("volume", (300,))))

    def well(port: int) -> bool:
        return http_status(cloud.address, port, "/healthz") == 200

    def started(name: str, module: str, port: int) -> Daemon:
        serves = name in ("nova-all", "nova-api")
        return Daemon(
            name, "nova", [str(PRODUCT_VENV / "bin/python"), "-P", "-m", module, "--config-file",
                           str(path(cloud)), "--config-file", str(own_path(cloud, name))],
            answers=lambda: well(port) and (not serves or answers()))

    before = [target(cloud)] if cloud.volumes == "iscsi" else []
    return before + [started(name, module, cloud.monitor(number))
                     for number, (name, module, _host) in enumerate(workers(cloud))]
