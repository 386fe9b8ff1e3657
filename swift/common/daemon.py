# SPDX-License-Identifier: Apache-2.0
"""Background daemons: one shape for all, one pass with `once`, for ever otherwise.

A daemon is a class with `run_once()` (one complete pass) and `interval` (seconds from the start of
one pass to the start of the next). Several can share a process as green threads (`run_many`).
"""
from __future__ import annotations

import abc
import argparse
import logging
import random
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any

from swift.common import concurrency, priority, recon, succession, unheeded, worker_processes
from swift.common.conf import read_conf
from swift.common.exceptions import ConfigError
from swift.common.log import get_logger
from swift.common.process import drop_privileges, keep_loaded, parse_args
from swift.common.statsd import Statsd
from swift.common.storage import validate_configuration


@dataclass(frozen=True)
class Option:
    """An option of a daemon's command line that takes the place of one of its configuration."""

    flags: tuple[str, ...]
    name: str                     # of the configuration
    text: str                     # what it does
    once: bool = False            # heeded only with `once`
    switch: str = ""              # what a switch says; empty: the option has a value


DEVICES = Option(("-d", "--devices"), "override_devices",
                 "only these devices, comma separated; only with once", once=True)
PARTITIONS = Option(("-p", "--partitions"), "override_partitions",
                    "only these partitions, comma separated; only with once", once=True)
POLICIES = Option(("-i", "--policies"), "override_policies",
                  "only storage policies of these indexes, comma separated; only with once",
                  once=True)


class Daemon(abc.ABC):
    """The base of auditors, replicators, updaters and the reaper.

    `conf` is the flat dictionary of the daemon's section. A pass that raises is logged and tried
    again after the interval: a daemon ends only by a signal.
    """

    section = ""                  # of the configuration file
    interval: float = 30.0
    options: tuple[Option, ...] = ()
    share = (0, 1)                # (number, count) of this process among workers

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        self.conf = conf
        self.logger = logger or get_logger(conf, conf.get("log_name", self.section))
        self.statsd = Statsd.of(conf, self.section)

    @abc.abstractmethod
    def run_once(self) -> None:
        """One pass over everything that is to be done."""

    def facts(self) -> dict[str, Any]:
        """What monitors get to know of the last pass, by OpenStack Swift's names."""
        return {}

    def measure(self, **counts: int) -> None:
        """Tell statsd, if there is one, what was done, by OpenStack Swift's names."""
        if self.statsd is not None:
            self.statsd.counts(counts)

    def took(self, what: str, since: float) -> None:
        """Tell statsd, if there is one, how long something took that began at a monotonic time."""
        if self.statsd is not None:
            self.statsd.timing(what, time.monotonic() - since)

    def worker_count(self) -> int:
        """How many processes share the work; 1: it is done in this one."""
        return 1

    def note_pass(self, seconds: float) -> None:
        """Leave word for monitors that a pass of so many seconds has ended."""
        recon.note_pass(self.conf, self.section, seconds, self.logger, self.facts())

    def run_forever(self) -> None:
        """Passes, `interval` apart, the first after a random part of it so that nodes spread."""
        concurrency.sleep(random.random() * self.interval)
        while True:
            start = time.monotonic()
            try:
                self.run_once()
                self.note_pass(time.monotonic() - start)
            except (Exception, concurrency.Timeout):  # a daemon outlives whatever one pass meets
                self.logger.exception("ERROR in a pass of %s", self.section)
            concurrency.sleep(max(0.1, self.interval - (time.monotonic() - start)))


class DeviceDaemon(Daemon):
    """One whose processes divide the node's devices among themselves."""

    @abc.abstractmethod
    def local_devices(self) -> list[str]:
        """The devices of this node it is to look after, always in the same order."""

    def shared_devices(self) -> list[str]:
        """Those of them that are this process's."""
        number, count = self.share
        return self.local_devices()[number::count]

    def note_pass(self, seconds: float) -> None:
        if self.share[1] == 1:
            super().note_pass(seconds)
        else:
            recon.note_share(self.conf, self.section, seconds, self.logger, self.facts(),
                             self.shared_devices(), self.local_devices())


def make(cls: type[Daemon], conf_path: str, verbose: bool = False,
         given: dict[str, str] | None = None) -> Daemon:
    """The daemon as its section of `conf_path` describes it, and before it `given`."""
    conf = {**read_conf(conf_path, cls.section, required=False), **(given or {})}
    logger = get_logger(conf, conf.get("log_name", cls.section), verbose)
    unheeded.check(conf_path, cls.section, logger)
    return cls(conf, logger)


def run(cls: type[Daemon], name: str, argv: list[str] | None = None) -> int:
    """The main of one daemon: `name CONFIG [once] [verbose]` and its options; the exit code."""
    def more(parser: argparse.ArgumentParser) -> None:
        for option in cls.options:
            how: dict[str, Any] = {"action": "store_const", "const": option.switch} \
                if option.switch else {}
            parser.add_argument(*option.flags, dest=option.name, help=option.text, **how)

    args = parse_args(name, (cls.__doc__ or "").partition("\n")[0], argv, more=more)
    if args.test_config:
        return check_configuration(cls, args.config)
    given = {option.name: getattr(args, option.name) for option in cls.options
             if getattr(args, option.name) is not None and (args.once or not option.once)}
    return run_many([(cls, args.config)], args.once, args.verbose, given)


def check_configuration(cls: type[Daemon], conf_path: str) -> int:
    """Make a daemon as if to run it; 0 when it can be, 1 and the reason otherwise."""
    try:
        validate_configuration()
        make(cls, conf_path)
    except ConfigError as exc:
        print(f"Cannot start: {exc}", file=sys.stderr)
        return 1
    return 0


def run_many(daemons: list[tuple[type[Daemon], str]], once: bool = False, verbose: bool = False,
             given: dict[str, str] | None = None) -> int:
    """Run daemons (class, configuration path) in one process; with `once` one after another.

    One alone may have worker processes. `given` are options in place of those of the files.
    """
    try:
        validate_configuration()
        conf = read_conf(daemons[0][1], daemons[0][0].section, required=False)
        priority.set_own(conf)
        drop_privileges(conf.get("user", "swift"))
        made = [make(cls, path, verbose, given) for cls, path in daemons]
        count = made[0].worker_count() if len(made) == 1 else 1
    except ConfigError as exc:
        print(f"Cannot start: {exc}", file=sys.stderr)
        return 1
    keep_loaded()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if count == 1:
        if not once:
            return _run_forever(made)
        # To take apart what was loaded takes as long as a pass with little to do.
        concurrency.exit_now(_run_once(made))

    def work(number: int) -> int:
        made[0].share = (number, count)
        return _run_once(made) if once else _run_forever(made)

    return worker_processes.run(count, work, once)


def _run_forever(made: list[Daemon]) -> int:
    done = concurrency.Event()

    def stop(number: int) -> None:
        if not done.ready():
            done.send(number)

    concurrency.on_signals((signal.SIGTERM, signal.SIGHUP, signal.SIGINT), stop)
    for daemon in made:
        concurrency.spawn_n(daemon.run_forever)
    succession.serving()
    done.wait()
    concurrency.exit_now(0)
    return 0


def _run_once(made: list[Daemon]) -> int:
    code = 0
    for daemon in made:
        start = time.monotonic()
        try:
            daemon.run_once()
            daemon.note_pass(time.monotonic() - start)
        except (Exception, concurrency.Timeout):  # the others shall have their pass all the same
            daemon.logger.exception("ERROR in the pass of %s", daemon.section)
            code = 1
    return code


def start_all(made: list[Any]) -> None:
    """Start daemons as green threads of a process that does something else as well."""
    for daemon in made:
        concurrency.spawn_n(daemon.run_forever)
