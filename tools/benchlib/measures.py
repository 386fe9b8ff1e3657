# SPDX-License-Identifier: Apache-2.0
"""The figures, per service: title -> CPU seconds per 1000, or what else the title says."""
import json
import os
import statistics
import time

from .accounting import TRAIL_SECONDS
from .load import Request, send
from .target import Target

OBJECT_BYTES = 4096
ROWS, LISTINGS = 10_000, 20
LARGE_BYTES, LARGE = 64 << 20, 4
SERVERS = 50
BOOTS = 5
AT_ONCE = 20
ACTIVE_TIMEOUT = 600.0
POLL = 0.02  # seconds: a fifth of what a boot takes here

Figures = dict[str, float]


def _per_1000(target: Target, requests: list[Request], workers: int = 16) -> float:
    cost = target.meter.cost(lambda: send(target.url, target.token, requests, workers))
    return cost * 1000 / len(requests)


def swift(target: Target, count: int) -> Figures:
    """PUT, GET, HEAD and DELETE of `count` objects of 4 KiB; PUT and GET of few large ones."""
    container = f"/bench-{os.getpid()}-{time.time_ns()}"
    send(target.url, target.token, [Request("PUT", container)])
    names = [f"{container}/object-{number:06d}" for number in range(count)]
    body = os.urandom(OBJECT_BYTES)
    # the first requests open connections and fill caches
    warm = [f"{container}/warm-{number}" for number in range(64)]
    send(target.url, target.token, [Request("PUT", name, body) for name in warm])
    send(target.url, target.token, [Request("GET", name) for name in warm])
    target.meter.measure_idle()
    figures = {
        "PUT 4 KiB": _per_1000(target, [Request("PUT", name, body) for name in names]),
        "GET 4 KiB": _per_1000(target, [Request("GET", name) for name in names * 2]),
        "HEAD": _per_1000(target, [Request("HEAD", name) for name in names * 2]),
        "DELETE": _per_1000(target, [Request("DELETE", name) for name in names]),
    }
    figures |= _large_objects(target, container)
    figures["memory of swift's daemons, PSS MB"] = target.memory() / 1e6
    send(target.url, target.token, [Request("DELETE", name) for name in warm])
    send(target.url, target.token, [Request("DELETE", container)])
    return figures


def _large_objects(target: Target, container: str) -> Figures:
    """CPU milliseconds each of objects of 64 MiB, two at a time."""
    names = [f"{container}/large-{number}" for number in range(LARGE)]
    body = os.urandom(LARGE_BYTES)
    figures = {
        "PUT 64 MiB": _per_1000(target, [Request("PUT", name, body) for name in names], 2),
        "GET 64 MiB": _per_1000(target, [Request("GET", name) for name in names], 2)}
    send(target.url, target.token, [Request("DELETE", name) for name in names])
    return figures


def swift_listing(target: Target) -> Figures:
    """The whole listing of a container of ROWS objects, one at a time; what idling costs."""
    container = f"/bench-{os.getpid()}-{time.time_ns()}"
    send(target.url, target.token, [Request("PUT", container)])
    names = [f"{container}/dir{number % 100:03d}/object-{number:06d}" for number in range(ROWS)]
    send(target.url, target.token, [Request("PUT", name, b"") for name in names])
    whole = Request("GET", f"{container}?limit={ROWS}&format=json")
    start = time.monotonic()
    cost = _per_1000(target, [whole] * LISTINGS, 1)
    wall = (time.monotonic() - start - TRAIL_SECONDS) / LISTINGS
    send(target.url, target.token, [Request("DELETE", name) for name in names])
    send(target.url, target.token, [Request("DELETE", container)])
    return {"listing of 10,000, json": cost, "the same, wall ms each": wall * 1000,
            "idle, thousandths of a core": target.meter.idle * 1000}


def glance(target: Target, count: int) -> Figures:
    """GET /v2/images, of at least two images."""
    for number in range(2 - len(target.call("GET", "/v2/images")["images"])):
        target.call("POST", "/v2/images", {"name": f"bench-{number}", "disk_format": "raw",
                                           "container_format": "bare"})
    send(target.url, target.token, [Request("GET", "/v2/images")] * 16)
    target.meter.measure_idle()
    return {"GET /v2/images": _per_1000(target, [Request("GET", "/v2/images")] * count)}


class Servers:
    """Boots and deletes servers of a cloud whose driver pretends; all are named bench-*."""

    def __init__(self, target: Target, image: str, networks: str) -> None:
        self.target = target
        # The version that first knows a server without a network; Nova 34 here has no Neutron.
        self.headers = {"OpenStack-API-Version": "compute 2.37"} if networks else {}
        more = {"networks": networks} if networks else {}
        flavors = target.call("GET", "/flavors/detail")["flavors"]
        flavor = min(flavors, key=lambda row: (row["ram"], row["disk"]))["id"]
        self.body = {"imageRef": image, "flavorRef": flavor, **more}

    def request(self, name: str) -> dict:
        return {"server": {"name": f"bench-{name}", **self.body}}

    def mine(self) -> list[str]:
        """Ids of all our servers."""
        return [row["id"] for row in self.target.call("GET", "/servers")["servers"]
                if row["name"].startswith("bench-")]

    def boot(self, name: str) -> None:
        """One server from POST to ACTIVE."""
        made = self.target.call("POST", "/servers", self.request(name), self.headers)
        self.wait_active(made["server"]["id"])

    def boot_at_once(self, wanted: int) -> None:
        """Many servers, until all are ACTIVE."""
        headers = {"Content-Type": "application/json", **self.headers}
        send(self.target.url, self.target.token, [
            Request("POST", "/servers", json.dumps(self.request(f"many-{number}")).encode(),
                    headers) for number in range(wanted)], workers=AT_ONCE)
        for server_id in self.mine():
            self.wait_active(server_id)

    def wait_active(self, server_id: str) -> None:
        deadline = time.monotonic() + ACTIVE_TIMEOUT
        while True:
            server = self.target.call("GET", f"/servers/{server_id}")["server"]
            if server["status"] == "ACTIVE":
                return
            if server["status"] == "ERROR" or time.monotonic() > deadline:
                raise RuntimeError(f"server is {server['status']}: {server.get('fault')}")
            time.sleep(POLL)

    def clean(self) -> None:
        """Delete all our servers, until they are gone."""
        for server_id in self.mine():
            self.target.call("DELETE", f"/servers/{server_id}")
        deadline = time.monotonic() + ACTIVE_TIMEOUT
        while self.mine():
            if time.monotonic() > deadline:
                raise RuntimeError("servers are not deleted")
            time.sleep(0.5)


def nova(target: Target, count: int, image: str, networks: str = "") -> Figures:
    """POST to ACTIVE, one after the other and many at once, then listings of SERVERS.

    `networks` is what each server is said to have, "" for what there is.
    """
    target.call("PUT", f"/os-quota-sets/{target.project}", {"quota_set": {
        "instances": -1, "cores": -1, "ram": -1}})
    servers = Servers(target, image, networks)
    servers.clean()
    try:
        return _nova(target, count, servers)
    finally:
        servers.clean()


def _nova(target: Target, count: int, servers: Servers) -> Figures:
    servers.boot("warm")  # the first boot fetches the image
    send(target.url, target.token, [Request("GET", "/servers/detail")] * 16)
    target.meter.measure_idle()
    walls: list[float] = []

    def boot_in_turn() -> None:
        for number in range(BOOTS):
            start = time.monotonic()
            servers.boot(str(number))
            walls.append(time.monotonic() - start)

    figures = {"POST to ACTIVE, CPU s each": target.meter.cost(boot_in_turn) / BOOTS}
    figures["POST to ACTIVE, wall s each"] = statistics.median(walls)
    start = time.monotonic()
    cost = target.meter.cost(lambda: servers.boot_at_once(AT_ONCE))
    figures[f"{AT_ONCE} at once, CPU s in all"] = cost
    figures[f"{AT_ONCE} at once, wall s"] = time.monotonic() - start - TRAIL_SECONDS
    servers.boot_at_once(SERVERS - AT_ONCE - BOOTS - 1)
    listing = [Request("GET", "/servers/detail")] * count
    figures[f"GET /servers/detail ({SERVERS})"] = _per_1000(target, listing, workers=4)
    figures["GET /flavors"] = _per_1000(target, [Request("GET", "/flavors")] * count, workers=4)
    figures["memory of nova's daemons, PSS MB"] = target.memory() / 1e6
    figures["DELETE, CPU s each"] = target.meter.cost(servers.clean) / SERVERS
    return figures
