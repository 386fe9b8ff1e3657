# SPDX-License-Identifier: Apache-2.0
"""swift-recon: how the storage servers of the rings are, asked over HTTP (their recon filter).

    swift-recon object --all
    swift-recon container -r --auditor
"""
from __future__ import annotations

from swift.common import concurrency

concurrency.patch()

import argparse
import os
import sys
import time
from pathlib import Path

from swift.common.conf import SWIFT_DIR
from swift.common.exceptions import ConfigError
from swift.common.ring import Ring
from swift.common.ring.format import RingFileError
from swift.common.storage_policy import policies
from swift.inspection.recon import FIGURES, OF_CONTAINERS, OF_OBJECTS, Recon, hosts_of

RULE = "=" * 79
# option -> (letter, help); those not in FIGURES are methods of Recon.
CHECKS = {
    "async": ("-a", "updates of containers that wait"),
    "auditor": (None, "auditors' passes"), "updater": (None, "updaters' passes"),
    "expirer": (None, "expirers' passes"), "replication": ("-r", "replicators' passes"),
    "reconstruction": ("-R", "reconstructors' passes"),
    "sharding": (None, "sharders' passes"),
    "unmounted": ("-u", "devices that are not mounted"),
    "loadstats": ("-l", "load averages"), "diskusage": ("-d", "bytes used"),
    "md5": (None, "rings and swift.conf as on this machine"),
    "quarantined": ("-q", "what was put aside as broken"),
    "sockstat": (None, "sockets"), "validate-servers": (None, "what kind of server listens"),
    "driveaudit": (None, "errors swift-drive-audit found"),
    "time": ("-T", "clocks"), "swift-versions": (None, "releases"),
}


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="swift-recon", description=__doc__, formatter_class=
                                     argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="account|container|object")
    parser.add_argument("-v", "--verbose", action="store_true", help="show every answer")
    parser.add_argument("--suppress", action="store_true", help="do not tell who failed")
    for name, (letter, text) in CHECKS.items():
        parser.add_argument(*([letter] if letter else []), f"--{name}", action="store_true",
                            help=text)
    parser.add_argument("--all", action="store_true", help="all checks")
    parser.add_argument("--human-readable", action="store_true", help="sizes of disks in GB and so")
    parser.add_argument("--top", type=int, default=0, metavar="COUNT",
                        help="with -d: as many of the fullest devices")
    parser.add_argument("--lowest", type=int, default=0, metavar="COUNT",
                        help="with -d: as many of the emptiest devices")
    parser.add_argument("--region", type=int)
    parser.add_argument("-z", "--zone", type=int)
    parser.add_argument("-t", "--timeout", type=float, default=5, help="seconds for an answer")
    parser.add_argument("--jitter", type=float, default=0.0, help="seconds clocks may differ")
    parser.add_argument("-p", "--policy", help="only this storage policy's objects, by name "
                        "or index")
    parser.add_argument("--swiftdir", default=os.environ.get("SWIFT_DIR", SWIFT_DIR))
    return parser


def run_check(recon: Recon, name: str, args: argparse.Namespace) -> None:
    """One check by its option."""
    folder = Path(args.swiftdir)
    if name in FIGURES:
        recon.figures(name)
    elif name == "md5":
        recon.digests("ring md5sums", "ringmd5", sorted(folder.glob("*.ring.gz")))
        recon.say(RULE)
        recon.digests("swift.conf md5sum", "swiftconfmd5", list(folder.glob("swift.conf")))
    elif name == "time":
        recon.time_sync(time.time, args.jitter)
    elif name == "diskusage":
        recon.disk_usage(args.top, args.lowest, args.human_readable)
    else:
        {"unmounted": recon.unmounted, "validate-servers": recon.server_type,
         "swift-versions": recon.versions}[name]()


def say(line: str) -> None:
    """Print; titles get the time."""
    titled = line.startswith(("Checking", "Getting", "Validating"))
    print(f"[{time.strftime('%Y-%m-%d %H:%M:%S')}] {line}" if titled else line)


def main(argv: list[str] | None = None) -> int:
    """Run the program; 1 when it could not ask."""
    args = make_parser().parse_args(argv)
    os.environ["SWIFT_DIR"] = args.swiftdir
    wanted = [name for name in CHECKS if args.all or getattr(args, name.replace("-", "_"))]
    try:
        for kind in args.kinds or ["object"]:
            if kind not in ("account", "container", "object"):
                raise ConfigError(f"{kind!r} is none of account, container, object")
            hosts = sorted({host for name in ring_names(kind, args.policy) for host in hosts_of(
                Ring(args.swiftdir, ring_name=name), args.region, args.zone)})
            print(f"{RULE}\n--> Starting reconnaissance on {len(hosts)} hosts ({kind})\n{RULE}")
            recon = Recon(kind, hosts, say, args.timeout, args.verbose, args.suppress)
            for name in wanted:
                if kind != "object" and name in OF_OBJECTS or kind == "account" and \
                        name == "updater" or kind != "container" and name in OF_CONTAINERS:
                    if not args.all:
                        print(f"Error: no {name} of {kind}s")
                    continue
                run_check(recon, name, args)
                print(RULE)
    except (ConfigError, RingFileError) as exc:
        print(f"ERROR: {exc}", file=sys.stderr)
        return 1
    except OSError as exc:
        print(f"ERROR: {exc.filename}: {exc.strerror}", file=sys.stderr)
        return 1
    return 0


def ring_names(kind: str, policy_name: str | None) -> list[str]:
    """The rings whose servers are asked."""
    if kind != "object":
        return [kind]
    if policy_name is None:
        return [policy.ring_name for policy in policies()]
    policy = policies().by_name(policy_name) or (
        policies().by_index(policy_name) if policy_name.isdigit() else None)
    if policy is None:
        raise ConfigError(f"no policy named {policy_name!r}")
    return [policy.ring_name]


if __name__ == "__main__":
    raise SystemExit(main())
