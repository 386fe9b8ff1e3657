# SPDX-License-Identifier: Apache-2.0
"""What processes of servers and of daemons have in common: arguments, privileges, children."""
from __future__ import annotations

import argparse
import gc
import grp
import os
import pwd
import signal
from collections.abc import Callable
from typing import NoReturn

from swift.common import concurrency
from swift.common.exceptions import ConfigError


def parse_args(name: str, description: str, argv: list[str] | None = None, many: bool = False,
               more: Callable[[argparse.ArgumentParser], None] = lambda _: None
               ) -> argparse.Namespace:
    """CONFIG [once] [verbose], the arguments all daemons have; `more` adds those of one."""
    parser = argparse.ArgumentParser(prog=name, description=description)
    more(parser)
    parser.add_argument("config", nargs="+" if many else None, help="configuration file or folder")
    if not many:
        parser.add_argument("words", nargs="*", metavar="once|verbose",
                            help="once: one pass, then exit; verbose: log to standard error")
    parser.add_argument("-o", "--once", action="store_true", help="one pass, then exit")
    parser.add_argument("-v", "--verbose", action="store_true", help="log to standard error")
    parser.add_argument("-t", "--test-config", action="store_true",
                        help="load the configuration, say whether it can serve, and end")
    args = parser.parse_args(argv)
    words = getattr(args, "words", None) or []
    if unknown := set(words) - {"once", "verbose"}:
        parser.error(f"unknown argument {unknown.pop()!r}")
    args.once = args.once or "once" in words
    args.verbose = args.verbose or "verbose" in words
    return args


def drop_privileges(user: str) -> None:
    """Become `user` with just its groups, if we are root; umask 022. ConfigError if unknown."""
    os.umask(0o022)
    if os.geteuid() != 0:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"user: there is no user {user!r} on this system") from None
    os.setgroups([group.gr_gid for group in grp.getgrall() if user in group.gr_mem])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ["HOME"] = entry.pw_dir


def keep_loaded() -> None:
    """Have the garbage collector leave alone what was loaded so far, as it stays, and look at the
    rest less often than after each few requests."""
    gc.freeze()
    gc.set_threshold(20000, 20, 50)


def child(work: Callable[[], int]) -> NoReturn:
    """What a worker does after the fork: `work`, and end with its exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)      # the parent's, even if all are signalled
    concurrency.after_fork()
    _die_with_parent()
    concurrency.exit_now(work())


def _die_with_parent() -> None:
    """Ask Linux for SIGTERM when the parent dies, so that `kill -9` of it leaves no orphans."""
    import ctypes
    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGTERM, 0, 0, 0)
