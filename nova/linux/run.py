# SPDX-License-Identifier: Apache-2.0
"""Commands on the host: always a list of words, always with a named time limit.

    run = Runner()
    text = run("ip", "-j", "link", "show", timeout=QUICK)

Whoever needs the host is given a Runner; a test gives one that records, or one that runs
everything inside a network namespace (``Runner(prefix=("ip", "netns", "exec", "name"))``).
"""

import subprocess
from collections.abc import Sequence
from typing import Any

from oslo_concurrency import processutils

from nova import exception

QUICK = 15      # a look at, or a change of, one thing in the kernel; a busy machine included
RULES = 60      # loading a whole table of rules
DAEMON = 30     # until a daemon has read its configuration and gone to the background


class CommandFailed(exception.NovaError):
    """A command on the host failed or took too long; ``exit_code`` is None for the latter."""

    template = "Command '{command}' failed: {reason}"

    def __init__(self, message: str | None = None, exit_code: int | None = None,
                 stderr: str = "", **details: Any) -> None:
        super().__init__(message, **details)
        self.exit_code = exit_code
        self.stderr = stderr


class Runner:
    """Runs commands; ``prefix`` comes before each."""

    def __init__(self, prefix: Sequence[str] = ()) -> None:
        self.prefix = tuple(prefix)

    def __call__(self, *command: str, stdin: str | None = None, timeout: int = QUICK,
                 ok: Sequence[int] = (0,)) -> str:
        """Return what the command prints; CommandFailed unless it ends in time and as in ``ok``."""
        shown = " ".join(command)
        try:
            out, _ = processutils.execute(
                *self.prefix, *command, process_input=stdin, check_exit_code=list(ok),
                timeout=timeout, on_completion=_kill)
        except processutils.ProcessExecutionError as error:
            raise CommandFailed(
                command=shown, reason=(error.stderr or error.stdout or "").strip()[-1000:],
                exit_code=int(error.exit_code or 0), stderr=error.stderr or "") from error
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(command=shown, reason=f"not done in {timeout} s") from error
        except OSError as error:
            raise CommandFailed(command=shown, reason=error.strerror or str(error)) from error
        return out


def set_kernel(run: Runner, key: str, value: int, *, may_be_missing: bool = False) -> None:
    """Write one of the kernel's settings, ``net/ipv4/ip_forward`` say.

    CommandFailed when it cannot be, unless the kernel has no such setting and need not.
    """
    # tee is on every machine, sysctl is not; and a command sees its own network namespace.
    try:
        run("tee", f"/proc/sys/{key}", stdin=f"{value}\n")
    except CommandFailed as error:
        if not (may_be_missing and "No such file" in error.stderr):
            raise


def _kill(process: Any) -> None:
    """Let nothing that ran out of time run on."""
    if process.poll() is None:
        process.kill()
        process.wait(QUICK)
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()
