# SPDX-License-Identifier: Apache-2.0
"""swift-reload PID: let a server take up its new configuration; no connection is refused meanwhile.

The configuration is tried first. Exit codes: 0 the new process serves, 1 it does not and the old
one goes on, 2 the process is no server of ours, 238 it took too long.
"""
from __future__ import annotations

import argparse
import errno
import os
import subprocess
import sys

import psutil

from swift.operations.control import reload_process
from swift.operations.servers import MAIN, program_of

FAILED, NOT_OURS, TOO_LONG = 1, 2, 128 + errno.ETIMEDOUT
CHECK_SECONDS = 60


def command_of(pid: int) -> list[str]:
    """The command line of a server; SystemExit when the process is none, or a mere worker."""
    try:
        process = psutil.Process(pid)
        command = process.cmdline()
        parent = process.parent()
        above = parent.cmdline() if parent else []
    except psutil.Error as exc:
        raise refused(f"process {pid}: {exc}") from exc
    if program_of(command) not in MAIN:
        raise refused(f"process {pid} is no server that can be reloaded: {' '.join(command)}")
    if above == command and parent is not None and "SWIFT_LISTENERS" not in process.environ():
        raise refused(f"process {pid} is a worker; its server is {parent.pid}")
    return command


def refused(message: str) -> SystemExit:
    """What to raise with it."""
    print(f"ERROR: {message}", file=sys.stderr)
    return SystemExit(NOT_OURS)


def main(argv: list[str] | None = None) -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(prog="swift-reload", description=__doc__, formatter_class=
                                     argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pid", type=int, help="process id of the server (the parent of workers)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("-t", "--timeout", type=float, default=300.0,
                     help="seconds the reload may take (300)")
    how.add_argument("-w", "--no-wait", action="store_true", help="do not wait until it is done")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what the server tells")
    args = parser.parse_args(argv)
    command = command_of(args.pid)
    if subprocess.run([*command, "--test-config"], timeout=CHECK_SECONDS, check=False,
                      cwd=f"/proc/{args.pid}/cwd", env=environment(args.pid)).returncode:
        print("ERROR: the new configuration cannot serve", file=sys.stderr)
        return FAILED
    done, why = reload_process(args.pid, 0 if args.no_wait else args.timeout,
                               print if args.verbose else lambda _: None)
    print(f"{program_of(command)} ({args.pid}) {why}", file=sys.stdout if done else sys.stderr)
    return 0 if done else TOO_LONG if "within" in why else FAILED


def environment(pid: int) -> dict[str, str]:
    """What the server was started with: its SWIFT_DIR may be another than ours."""
    try:
        return {**os.environ, **psutil.Process(pid).environ()}
    except psutil.Error:
        return dict(os.environ)


if __name__ == "__main__":
    raise SystemExit(main())
