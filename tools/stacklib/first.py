# SPDX-License-Identifier: Apache-2.0
"""The last steps of `up`: image, flavors, network, key pair, rules, a first server at its banner.

Every step looks first and makes only what is missing, by name, so a second `up` changes nothing.
"""
import subprocess
import time
from pathlib import Path
from typing import Any

from . import nova_config
from .client import Api
from .image import guest_image
from .layout import Cloud
from .progress import StackError, say, step

IMAGE = "snakestack-guest"
KEY = "snakestack"
SERVER = "first"
FLAVOR = "m1.nano"
BANNER = "login:"
ACTIVE_TIMEOUT = 120.0
BANNER_TIMEOUT = 120.0
POLL = 0.5
CONSOLE_LINES = 12


def first_server(cloud: Cloud) -> None:
    """A server of the guest image is ACTIVE and, when it is a real one, shows its banner.

    :raises StackError: a step fails or takes longer than its limit
    """
    with step("images registered"):
        image = register_blank(cloud) if cloud.compute == "fake" else register_images(cloud)
    with step("flavors and network"):
        nova_config.fill(cloud)
    compute, network = Api(cloud, "compute"), Api(cloud, "network")
    with step("key pair and security group rules"):
        key = ensure_key(cloud, compute)
        open_group(network)
    with step(f"server {SERVER} ACTIVE"):
        server = ensure_server(compute, image)
    if cloud.compute == "fake":
        return
    with step("its banner"):
        console = wait_for_banner(compute, server["id"])
    lines = [line.rstrip() for line in console.splitlines() if line.strip()]
    for line in lines[-CONSOLE_LINES:]:
        say(f"    | {line}")
    say(f"log in:   ssh -i {key} root@{address(server)}")


def register_blank(cloud: Cloud) -> str:
    """Id of an empty disk: all that a driver needs which only pretends."""
    disk = cloud.data / "cache/blank.raw"
    disk.parent.mkdir(exist_ok=True)
    disk.write_bytes(bytes(1 << 20))
    return ensure_image(Api(cloud, "image", "admin"), IMAGE, disk, "raw", "bare")


def register_images(cloud: Cloud) -> str:
    """Id of the bootable disk image; the aki/ari/ami trio is registered beside it."""
    folder = guest_image(cloud.data / "cache")
    api = Api(cloud, "image", "admin")
    disk = ensure_image(api, IMAGE, folder / "disk.qcow2", "qcow2", "bare")
    kernel = ensure_image(api, f"{IMAGE}-aki", folder / "vmlinuz", "aki", "aki")
    ramdisk = ensure_image(api, f"{IMAGE}-ari", folder / "initrd.gz", "ari", "ari")
    ensure_image(api, f"{IMAGE}-ami", folder / "root.ext4", "ami", "ami",
                 kernel_id=kernel, ramdisk_id=ramdisk)
    return disk


def ensure_image(api: Api, name: str, path: Path, disk: str, container: str, **more: str) -> str:
    """Id of the public, active image of this name; uploaded when there is none."""
    found = api.get(f"/v2/images?name={name}&visibility=public")["images"]
    for image in found:
        if image["status"] == "active":
            return image["id"]
        api.call("DELETE", f"/v2/images/{image['id']}")  # an upload that was cut off
    body = {"name": name, "disk_format": disk, "container_format": container,
            "visibility": "public", "min_disk": 0, **more}
    image = api.post("/v2/images", body)
    with open(path, "rb") as data:
        api.call("PUT", f"/v2/images/{image['id']}/file", data=data,
                 headers={"Content-Type": "application/octet-stream"})
    return image["id"]


def ensure_key(cloud: Cloud, compute: Api) -> Path:
    """The private key of the stack's key pair, which is registered for the demo user."""
    path = cloud.data / "ssh/id_ed25519"
    if not path.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        partial = path.with_name("partial")
        partial.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", KEY,
                        "-f", str(partial)], check=True, capture_output=True, timeout=30)
        partial.with_suffix(".pub").rename(path.with_suffix(".pub"))
        partial.rename(path)  # last: it is what says that both exist
    pairs = [row["keypair"]["name"] for row in compute.get("/os-keypairs")["keypairs"]]
    if KEY not in pairs:
        compute.post("/os-keypairs", {"keypair": {
            "name": KEY, "public_key": path.with_suffix(".pub").read_text()}})
    return path


def open_group(network: Api) -> None:
    """The demo project's default group lets ssh and ping in."""
    group = network.get("/v2.0/security-groups?name=default")["security_groups"][0]
    have = {(rule["protocol"], rule["port_range_min"]) for rule in group["security_group_rules"]
            if rule["direction"] == "ingress"}
    for protocol, port in (("tcp", 22), ("icmp", None)):
        if (protocol, port) not in have:
            network.post("/v2.0/security-group-rules", {"security_group_rule": {
                "security_group_id": group["id"], "direction": "ingress", "ethertype": "IPv4",
                "protocol": protocol, "port_range_min": port, "port_range_max": port,
                "remote_ip_prefix": "0.0.0.0/0"}})


def ensure_server(compute: Api, image: str) -> dict[str, Any]:
    """The first server, ACTIVE. One that is shut off is started."""
    found = [row for row in compute.get("/servers")["servers"] if row["name"] == SERVER]
    if found:
        server_id = found[0]["id"]
        if show(compute, server_id)["status"] == "SHUTOFF":
            compute.post(f"/servers/{server_id}/action", {"os-start": None})
    else:
        flavor = next(row["id"] for row in compute.get("/flavors")["flavors"]
                      if row["name"] == FLAVOR)
        server_id = compute.post("/servers", {"server": {
            "name": SERVER, "imageRef": image, "flavorRef": flavor, "key_name": KEY,
        }})["server"]["id"]
    deadline = time.monotonic() + ACTIVE_TIMEOUT
    while True:
        server = show(compute, server_id)
        if server["status"] == "ACTIVE":
            return server
        if server["status"] == "ERROR":
            raise StackError(f"server {SERVER}: {server.get('fault', {}).get('message')}")
        if time.monotonic() > deadline:
            task = server.get("OS-EXT-STS:task_state")
            raise StackError(f"server {SERVER} is {server['status']} ({task}) after "
                             f"{ACTIVE_TIMEOUT:.0f} s")
        time.sleep(POLL)


def show(compute: Api, server_id: str) -> dict[str, Any]:
    return compute.get(f"/servers/{server_id}")["server"]


def wait_for_banner(compute: Api, server_id: str) -> str:
    """The console's text once it holds the banner."""
    deadline = time.monotonic() + BANNER_TIMEOUT
    console = ""
    while time.monotonic() < deadline:
        console = compute.post(f"/servers/{server_id}/action",
                               {"os-getConsoleOutput": {"length": 40}})["output"]
        if BANNER in console:
            return console
        time.sleep(POLL)
    raise StackError(f"no {BANNER!r} on the console in {BANNER_TIMEOUT:.0f} s; its end:\n{console}")


def address(server: dict[str, Any]) -> str:
    """A server's first address, fixed before floating: this machine reaches both."""
    rows = [row for network in server["addresses"].values() for row in network]
    rows.sort(key=lambda row: row.get("OS-EXT-IPS:type") == "floating")
    return rows[0]["addr"] if rows else "(no address)"
