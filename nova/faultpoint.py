# SPDX-License-Identifier: Apache-2.0
"""Dying on purpose at a named point, so that a test can see what survives it.

A process started with ``NOVA_FAULTPOINTS=PREFIX`` in its environment looks at two files at each
point it passes; without that variable nothing is looked at and nothing can happen.

``PREFIX.armed``
    ``POINT NUMBER``: at the NUMBER-th passing of POINT from now on the process removes the file
    and sends itself SIGKILL.
``PREFIX.trace``
    When it is there, the name of each point that is passed is added to it.

Points come for free: ``<module>.<function>:before`` and ``:after`` for the commit of every
transaction that writes, ``to-<task or state>`` in its place for the transitions of the tables of
states, ``cast-<method>`` and ``call-<method>`` around a message that is sent, and
``handle-<method>`` around one that is worked on.
"""

import os
import signal

_PREFIX = os.environ.get("NOVA_FAULTPOINTS")
_passed: dict[tuple[int, str], int] = {}


def reach(point: str) -> None:
    """Die here if that was ordered."""
    if _PREFIX is None:
        return
    if os.path.exists(f"{_PREFIX}.trace"):
        with open(f"{_PREFIX}.trace", "a", encoding="utf-8") as trace:
            trace.write(point + "\n")
    try:
        with open(f"{_PREFIX}.armed", encoding="utf-8") as armed:
            order = (os.fstat(armed.fileno()).st_ino, armed.read())
    except FileNotFoundError:
        return
    name, _, number = order[1].partition(" ")
    if name != point:
        return
    _passed[order] = _passed.get(order, 0) + 1
    if _passed[order] == int(number):
        os.unlink(f"{_PREFIX}.armed")
        os.kill(os.getpid(), signal.SIGKILL)
