# SPDX-License-Identifier: Apache-2.0
"""tools/bench: choose or start a stack, measure, print beside the peers' figures."""
import argparse
import contextlib
import os
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from stacklib.first import IMAGE
from stacklib.layout import PORTS, Cloud
from stacklib.packages import CHECKOUT, PRODUCT_VENV
from stacklib.supervise import Supervisor
from stacklib.swift_config import TEMPAUTH_USER

from . import heal, images, listing, measures, rings, scale, target, turns
from .accounting import Meter
from .measures import Figures
from .target import Target

STACK_TIMEOUT = 600

KIND = {"swift": "object-store", "glance": "image", "nova": "compute"}
COUNT = {"swift": 1000, "glance": 500, "nova": 200}
# OpenStack 2026 (Swift 2.38, Nova 34, Glance 33) on this class of machine, 2 cores
PEERS = {"PUT 4 KiB": 33.3, "GET 4 KiB": 8.6, "HEAD": 7.9, "DELETE": 28.0,
         "PUT 64 MiB": 758.0, "GET 64 MiB": 246.0,
         "listing of 10,000, json": 446.0, "the same, wall ms each": 480.0,
         "idle, thousandths of a core": 165.0,
         "ring of 200 devices, first rebalance, CPU s": 5.4,
         "GET /v2/images": 11.0, "GET /servers/detail (50)": 313.0, "GET /flavors": 14.0,
         "POST to ACTIVE, CPU s each": 1.2, "POST to ACTIVE, wall s each": 0.99,
         "20 at once, CPU s in all": 22.4, "20 at once, wall s": 14.0,
         "memory of nova's daemons, PSS MB": 947.0}

WIDTH = 46                  # of a figure's title

# What works by itself, at its own pace; the peer is measured without the like
BACKGROUND = "swift-consistency"

# How a peer's own daemons are called in --peer-pids
PEER_DAEMONS = {"swift": ["account*", "container*", "object*", "proxy*"]}

def free_base() -> int:
    """A port base at which all our ports are free now; any of them, as others look, too."""
    bases = list(range(20000, 55000, 500))
    for base in random.sample(bases, len(bases)):
        with contextlib.ExitStack() as held:
            try:
                for port in PORTS.values():
                    sock = held.enter_context(socket.socket())
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    sock.bind(("127.0.0.1", base + port))
            except OSError:
                continue
        return base
    raise SystemExit("bench: no free range of ports")

@contextlib.contextmanager
def private_stack(services: list[str]) -> Iterator[Cloud]:
    """A stack of these services in a temporary folder, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="snakestack-bench-") as folder:
        data = Path(folder) / "data"
        stack = [sys.executable, str(CHECKOUT / "tools/stack")]

        def run(command: str, *arguments: str) -> None:
            subprocess.run([*stack, command, "--data", str(data), *arguments], check=True,
                           timeout=STACK_TIMEOUT, stdout=sys.stderr)

        try:
            run("up", *services, "--compute", "fake", "--port-base", str(free_base()))
            yield Cloud.load(data)
        finally:
            if (data / "stack.json").exists():
                run("reset", "--yes")

def ours(cloud: Cloud, subject: str) -> Target:
    """Our stack's endpoint of a service; of nova as administrator, who may raise quotas."""
    supervisor, project = Supervisor(cloud), ""
    names = [name for name in supervisor.processes()
             if name.startswith(f"{subject}-")]

    def leaders(without: str = "") -> list[int]:
        processes = supervisor.processes()
        return [processes[name]["pid"] for name in names if name != without]

    if subject == "swift" and not cloud.has("keystone"):
        url, token = target.version_one(cloud.url("object-store", "/auth/v1.0"), TEMPAUTH_USER,
                                        cloud.secret("tempauth_tester"))
    else:
        user = "admin" if subject == "nova" else "demo"
        url, token, project = target.keystone(cloud.url("identity", "/v3"), user,
                                              cloud.secret(user), user, KIND[subject])
    return Target("snakestack", url, token, Meter(lambda: leaders(BACKGROUND)), project,
                  leaders)

def peer(options: argparse.Namespace) -> Target | None:
    """The peer of the command line, if one is given."""
    if not options.peer_auth:
        return None
    project = ""
    if "/v1.0" in options.peer_auth:
        url, token = target.version_one(options.peer_auth, options.peer_user, options.peer_key)
    else:
        url, token, project = target.keystone(
            options.peer_auth, options.peer_user, options.peer_key, options.peer_project,
            KIND[options.subject])
    return Target("peer", url, token, Meter(lambda: target.pids_of(options.peer_pids)), project,
                  lambda: [pid for names in PEER_DAEMONS.get(options.subject,
                                                             [f"{options.subject}*"])
                           for pid in target.pids_of(options.peer_pids, names)])

def image_id(one: Target, cloud: Cloud | None, options: argparse.Namespace) -> str:
    """Id of the image that is booted: ours by its name, the peer's as given."""
    if cloud is None:
        return options.peer_image
    images, token, _ = target.keystone(cloud.url("identity", "/v3"), "demo", cloud.secret("demo"),
                                    "demo", "image")
    answer = Target("image", images, token, one.meter).call("GET", f"/v2/images?name={IMAGE}")
    return answer["images"][0]["id"]

def measure(one: Target, cloud: Cloud | None, options: argparse.Namespace) -> Figures:
    count = options.count or COUNT[options.subject]
    if options.subject == "nova":
        return measures.nova(one, count, image_id(one, cloud, options),
                             "none" if cloud is None else "")
    run: Callable[[Target, int], Figures] = getattr(measures, options.subject)
    figures = run(one, count)
    if options.subject == "glance" and options.mib:
        figures |= images.transfers(one, options.mib)
    return figures

def measure_swift(one: Target, other: Target | None, options: argparse.Namespace
                  ) -> tuple[Figures, Figures | None]:
    """Both sides in turns; long listings once, and rings, which need no daemon."""
    mine, theirs = turns.measure(one, other, options.rounds, lambda side: measures.swift(
        side, options.count or COUNT["swift"]))
    listed, their_listed = turns.measure(one, other, 1, measures.swift_listing)
    mine |= listed | rings.figures(str(PRODUCT_VENV / "bin/swift-ring-builder"))
    if theirs is not None and their_listed is not None:
        theirs |= their_listed
        if options.peer_ring_builder:
            theirs |= rings.figures(options.peer_ring_builder)
    return mine, theirs

def table(mine: Figures, theirs: Figures | None) -> str:
    """The figures beside those measured of real OpenStack before, and beside a live peer's."""
    lines = [f"{'CPU seconds per 1000':<{WIDTH}}{'snakestack':>12}{'OpenStack':>12}{'ratio':>8}"
             + (f"{'live peer':>12}{'ratio':>8}" if theirs else "")]
    for name, value in mine.items():
        cells = f"{name:<{WIDTH}}{value:>12.2f}"
        for other in [PEERS.get(name), *([theirs.get(name)] if theirs else [])]:
            cells += f"{other:>12.2f}{value / other:>8.2f}" if other else f"{'-':>12}{'-':>8}"
        lines.append(cells)
    return "\n".join(lines)

def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("subject", choices=sorted([*KIND, "heal", "listing", "scale"]))
    parser.add_argument("--data", type=lambda text: Path(text).absolute(),
                        help="measure the stack that runs there (nova: on the fake driver)")
    parser.add_argument("--db", metavar="URL", help="scale: the database server, as "
                        "mysql+pymysql://user:password@host/ (default: the one of the tests)")
    parser.add_argument("--count", type=int,
                        help="requests of a phase; heal and listing: objects")
    parser.add_argument("--rounds", type=int, default=1, help="swift: how often, ours and the "
                        "peer in turns, each while the other is stopped; medians are printed")
    parser.add_argument("--only", default="", help="heal: cases whose title holds this")
    parser.add_argument("--alone", action="store_true", help="heal: without real Swift beside it")
    parser.add_argument("--mib", type=int, default=2048,
                        help="glance: size of the image that goes in and out; 0 for none")
    parser.add_argument("--peer-auth", metavar="URL", help="a live peer: its Keystone v3 URL, or "
                        "tempauth's .../auth/v1.0")
    parser.add_argument("--peer-user", default="test:tester")
    parser.add_argument("--peer-key", default="testing")
    parser.add_argument("--peer-project", default="admin")
    parser.add_argument("--peer-image", help="id of the image the peer boots")
    parser.add_argument("--peer-pids", metavar="DIR", help="folder of its daemons' *.pid files")
    parser.add_argument("--peer-ring-builder", metavar="PATH",
                        help="swift: its swift-ring-builder")
    options = parser.parse_args()
    if options.peer_auth and not options.peer_pids:
        parser.error("--peer-auth needs --peer-pids")
    return options

def main() -> int:
    options = parse()
    if options.subject == "scale":
        print(scale.run(options.db))
        return 0
    if options.subject == "heal":
        print(heal.run(options.count or 2000, options.only, not options.alone))
        return 0
    if options.subject == "listing":
        print(listing.run(options.count or listing.MANY))
        return 0
    source = (contextlib.nullcontext(Cloud.load(options.data)) if options.data
              else private_stack([options.subject]))
    with source as cloud:
        if options.subject == "nova" and cloud.compute != "fake":
            raise SystemExit("bench: this stack boots real machines; nova is measured on the "
                             "fake driver")
        one, other = ours(cloud, options.subject), peer(options)
        if options.subject == "swift":
            mine, theirs = measure_swift(one, other, options)
        else:
            mine = measure(one, cloud, options)
            theirs = measure(other, None, options) if other else None
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\n{table(mine, theirs)}")
    print(f"taken off for idling: {one.meter.idle:.3f} of a core; load average at the end: {load}")
    return 0

if __name__ == "__main__":
    sys.exit(main())
