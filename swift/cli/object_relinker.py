# SPDX-License-Identifier: Apache-2.0
"""swift-object-relinker relink|cleanup [CONFIG]: carry objects over to a greater partition power.

    swift-object-relinker relink        after prepare_increase_partition_power
    swift-object-relinker cleanup       after increase_partition_power, or cancel_...

Run it on every node; it may be ended and run again at any time. Exit codes: 0 done, 1 something is
left to be done (run it again), 2 no ring is at that step.
"""
from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable

from swift.common import recon
from swift.common.conf import SWIFT_DIR, config_float, config_true, read_conf
from swift.common.devices import Brake
from swift.common.exceptions import ConfigError
from swift.common.log import get_logger
from swift.common.ring import Ring
from swift.common.ring.format import RingFileError
from swift.common.process import drop_privileges
from swift.common.storage_policy import StoragePolicy, policies
from swift.obj.ec_hashes import FragmentHasher
from swift.obj.relinker import CLEANUP, RELINK, Relinker, Task

DONE, LEFT, NO_POLICY = 0, 1, 2


def make_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="swift-object-relinker", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=(RELINK, CLEANUP))
    parser.add_argument("config", nargs="?", help="a file with the section [object-relinker]")
    parser.add_argument("--swift-dir", help=f"where rings and swift.conf are ({SWIFT_DIR})")
    parser.add_argument("--devices", help="where devices are mounted (/srv/node)")
    parser.add_argument("--device", action="append", default=[], dest="only_devices",
                        help="only this device; may be given again")
    parser.add_argument("--policy", action="append", default=[],
                        help="only this storage policy, by name or index; may be given again")
    parser.add_argument("-p", "--partition", action="append", type=int, default=[],
                        help="only this partition; may be given again")
    parser.add_argument("--skip-mount-check", action="store_true",
                        help="devices need not be mounted")
    parser.add_argument("--user", help="become this user first")
    parser.add_argument("--files-per-second", type=float, help="objects a second (0: no limit)")
    parser.add_argument("--workers", help="processes: a number, or auto for one a device")
    parser.add_argument("--stats-interval", type=float,
                        help="seconds between news for monitors (300)")
    parser.add_argument("--clobber-hardlink-collisions", action="store_true",
                        help="relink: what stands where a link is to be goes to quarantine; "
                             "cleanup: it stays, and what is here is removed")
    parser.add_argument("--logfile", help="log there; without CONFIG only")
    parser.add_argument("--debug", action="store_true", help="log more")
    return parser


class Settings:
    """Options and configuration file in one, and what follows from them."""

    def __init__(self, args: argparse.Namespace) -> None:
        conf = read_conf(args.config, "object-relinker", required=False) if args.config else {}
        self.conf = conf
        self.cleanup = args.action == CLEANUP
        self.swift_dir = args.swift_dir or conf.get("swift_dir") or \
            os.environ.get("SWIFT_DIR", SWIFT_DIR)
        os.environ["SWIFT_DIR"] = self.swift_dir
        self.devices = args.devices or conf.get("devices", "/srv/node")
        self.mount_check = not args.skip_mount_check and \
            config_true(conf.get("mount_check", "true"))
        self.user = args.user or conf.get("user")
        self.rate = config_float(conf, "files_per_second", 0) if args.files_per_second is None \
            else args.files_per_second
        self.interval = config_float(conf, "stats_interval", 300) \
            if args.stats_interval is None else args.stats_interval
        self.clobber = args.clobber_hardlink_collisions or \
            config_true(conf.get("clobber_hardlink_collisions", "false"))
        self.workers = args.workers or conf.get("workers", "auto")
        if self.workers != "auto" and not self.workers.isdigit():
            raise ConfigError(f"workers must be a number or auto, not {self.workers!r}")
        self.reclaim_age = config_float(conf, "reclaim_age", 604800)
        self.commit_window = config_float(conf, "commit_window", 60)
        self.partitions = frozenset(args.partition)
        self.policies = [_policy(word) for word in args.policy] or list(policies())
        self.only_devices = args.only_devices
        self.cache = recon.cache_path(conf)

    def devices_and_unmounted(self) -> tuple[list[str], list[str]]:
        """(names to work on, names that should be mounted and are not)."""
        names = sorted(self.only_devices or os.listdir(self.devices))
        paths = {name: f"{self.devices}/{name}" for name in names}
        there = [name for name in names if os.path.isdir(paths[name])
                 and (not self.mount_check or os.path.ismount(paths[name]))]
        return there, [name for name in names if name not in there
                       and (name in self.only_devices or os.path.isdir(paths[name]))]

    def tasks(self) -> list[tuple[StoragePolicy, Task]]:
        """What is to be done for each policy whose ring is at this step."""
        found = []
        for policy in self.policies:
            ring = Ring(self.swift_dir, ring_name=policy.ring_name)
            power = ring.next_part_power
            if not power or (power == ring.part_power) != self.cleanup:
                continue
            hasher = None if policy.coding is None else FragmentHasher(
                policy.coding.unique, self.reclaim_age, self.commit_window)
            found.append((policy, Task(self.cleanup, policy.datadir, ring.part_power, power,
                                       self.partitions, self.clobber, self.reclaim_age, hasher,
                                       Brake(self.rate))))
        return found


def _policy(word: str) -> StoragePolicy:
    found = policies().by_index(word) if word.isdigit() else policies().by_name(word)
    if found is None:
        raise ConfigError(f"there is no storage policy {word!r}")
    return found


class News:
    """Tells monitors (/recon/relinker) of the progress, every so many seconds."""

    def __init__(self, settings: Settings, devices: list[str]) -> None:
        self.settings, self.devices = settings, devices
        self.known: dict[str, dict] = {}
        self._told = 0.0

    def of(self, policy: StoragePolicy) -> Callable[[Relinker], None]:
        """What a relinker of that policy calls."""
        def tell(relinker: Relinker) -> None:
            task, parts = relinker.task, relinker.state
            entry = {
                "step": CLEANUP if task.cleanup else RELINK, "part_power": task.part_power,
                "next_part_power": task.next_part_power, "start_time": relinker.started,
                "timestamp": time.time(), "total_time": time.time() - relinker.started,
                "parts_done": sum(parts.values()), "total_parts": len(parts),
                "stats": dict(relinker.counts)}
            device = self.known.setdefault(os.path.basename(relinker.device_path),
                                           {"policies": {}})
            device["policies"][str(policy.index)] = entry
            entries = device["policies"].values()
            device["start_time"] = min(each["start_time"] for each in entries)
            device["timestamp"] = max(each["timestamp"] for each in entries)
            for name in ("parts_done", "total_parts", "total_time"):
                device[name] = sum(each[name] for each in entries)
            device["stats"] = {name: sum(each["stats"][name] for each in entries)
                               for name in relinker.counts}
            if time.monotonic() - self._told >= self.settings.interval:
                self.write(None)
        return tell

    def write(self, code: int | None) -> None:
        """Write what is known; `code` is that of this worker's end."""
        self._told = time.monotonic()
        if not os.path.isdir(self.settings.cache):
            return
        recon.merge(f"{self.settings.cache}/relinker.recon", {
            "devices": self.known, "workers": {str(os.getpid()): {
                "devices": self.devices, "timestamp": time.time(), "return_code": code}}})


def work(settings: Settings, tasks: list[tuple[StoragePolicy, Task]], devices: list[str],
         logger: logging.Logger) -> int:
    """Do the tasks on some devices, one after another; DONE or LEFT."""
    news = News(settings, devices)
    news.write(None)
    total: dict[str, int] = {}
    code = DONE
    for device in devices:
        for policy, task in tasks:
            relinker = Relinker(f"{settings.devices}/{device}", task, logger, news.of(policy))
            try:
                code = code if relinker.run() else LEFT
            except OSError as exc:
                logger.error("ERROR relinking %s: %s", device, exc)
                code = LEFT
            for name, count in relinker.counts.items():
                total[name] = total.get(name, 0) + count
    news.write(code)
    logger.info("%s: %s", ", ".join(devices), ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in total.items()))
    return code


def work_in_processes(settings: Settings, tasks: list[tuple[StoragePolicy, Task]],
                      devices: list[str], logger: logging.Logger) -> int:
    """As `work`, shared out among processes."""
    count = len(devices) if settings.workers == "auto" else min(int(settings.workers),
                                                                len(devices))
    if count <= 1:
        return work(settings, tasks, devices, logger)
    children = []
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            code = LEFT
            try:
                code = work(settings, tasks, devices[number::count], logger)
            finally:
                os._exit(code)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    return LEFT if any(codes) else DONE


def main(argv: list[str] | None = None) -> int:
    """Run the program; its exit code."""
    args = make_parser().parse_args(argv)
    try:
        settings = Settings(args)
        if settings.user:
            drop_privileges(settings.user)
        logger = make_logger(args, settings)
        tasks = settings.tasks()
        if not tasks:
            print("No policy's ring is at that step", file=sys.stderr)
            return NO_POLICY
        devices, unmounted = settings.devices_and_unmounted()
        if os.path.isdir(settings.cache):
            recon.update(f"{settings.cache}/relinker.recon", {"devices": {}, "workers": {}})
    except (ConfigError, RingFileError, OSError) as exc:
        print(f"ERROR: {exc}", file=sys.stderr)
        return LEFT
    for name in unmounted:
        logger.error("ERROR %s is not mounted: what it holds is not done", name)
    code = work_in_processes(settings, tasks, devices, logger) if devices else DONE
    return LEFT if unmounted else code


def make_logger(args: argparse.Namespace, settings: Settings) -> logging.Logger:
    """As the configuration says; without one to --logfile or the terminal."""
    conf = dict(settings.conf, **({"log_level": "DEBUG"} if args.debug else {}))
    logger = get_logger(conf, conf.get("log_name", "object-relinker"), not args.config)
    if args.logfile and not args.config:
        handler = logging.FileHandler(args.logfile)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.handlers[:] = [handler]
    return logger


if __name__ == "__main__":
    raise SystemExit(main())
