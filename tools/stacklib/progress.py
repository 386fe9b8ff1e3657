# SPDX-License-Identifier: Apache-2.0
"""Progress of a command: each step's title and seconds, and the one error users see."""
import contextlib
import sys
import time
from collections.abc import Iterator


class StackError(Exception):
    """The command cannot go on; the text says why and what to do, without a traceback."""


START = time.monotonic()


def say(text: str = "") -> None:
    """One line, at once."""
    print(text, flush=True)


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Print the title, and the seconds it took when it is done."""
    print(f"  {title} ... ", end="", flush=True)
    start = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - start:.1f} s", flush=True)


def total() -> float:
    """Seconds since the command started."""
    return time.monotonic() - START


def notice(*lines: str) -> None:
    """What must not be overlooked, on standard error, framed."""
    bar = "*" * 78
    text = "\n".join(f"*  {line}" for line in lines)
    sys.stdout.flush()
    print(f"{bar}\n{text}\n{bar}", file=sys.stderr, flush=True)
