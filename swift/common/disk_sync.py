# SPDX-License-Identifier: Apache-2.0
"""fsync without a thread: the kernel does it and says when it is done (Linux AIO, from 4.18 on).

A native thread that waits for the disk and returns takes the interpreter's lock away and gives it
back at every step, which costs more than a small object's other work. Where there is no AIO (other
processors, containers that forbid it, all its slots taken) a thread does it.
"""
from __future__ import annotations

import ctypes
import errno
import os
import platform
import select
import sys
from typing import Any

from swift.common.concurrency import Hub, get_hub, getcurrent, run_in_thread

SLOTS = 256                    # of fs.aio-max-nr, 65536 on most systems
_FSYNC, _EVENTFD = 2, 1
_NONE, _ONE, _SLOTS = ctypes.c_long(0), ctypes.c_long(1), ctypes.c_long(SLOTS)
# io_setup, io_submit, io_getevents
_CALLS = {"x86_64": (206, 209, 208), "aarch64": (0, 2, 4)}
# Keeps the interpreter's lock: none of these calls waits.
_syscall: Any = ctypes.PyDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


class _Iocb(ctypes.Structure):
    _fields_ = [("data", ctypes.c_uint64), ("key", ctypes.c_uint32), ("rw_flags", ctypes.c_uint32),
                ("opcode", ctypes.c_uint16), ("priority", ctypes.c_int16),
                ("fd", ctypes.c_uint32), ("buffer", ctypes.c_uint64), ("size", ctypes.c_uint64),
                ("offset", ctypes.c_int64), ("reserved", ctypes.c_uint64),
                ("flags", ctypes.c_uint32), ("eventfd", ctypes.c_uint32)]


class _Event(ctypes.Structure):
    _fields_ = [("data", ctypes.c_uint64), ("iocb", ctypes.c_uint64), ("result", ctypes.c_int64),
                ("result2", ctypes.c_int64)]


class _Queue:
    """The kernel's queue of one hub. OSError when there is none to be had."""

    def __init__(self, hub: Hub) -> None:
        try:
            setup, self._submit_call, self._events_call = _CALLS[platform.machine()]
        except KeyError:
            raise OSError(errno.ENOSYS, "no AIO for this processor") from None
        context = ctypes.c_ulong(0)
        if _syscall(setup, ctypes.c_uint(SLOTS), ctypes.byref(context)):
            raise OSError(ctypes.get_errno(), "io_setup")
        self._context = context
        self._waiting: dict[int, Any] = {}
        self._last = 0
        self._events = (_Event * SLOTS)()
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._iocb = _Iocb(opcode=_FSYNC, flags=_EVENTFD, eventfd=self._eventfd)
        self._iocbs = (ctypes.c_void_p * 1)(ctypes.addressof(self._iocb))
        # Each completion is an edge: nobody has to read the counter.
        hub.poll.register(self._eventfd, select.EPOLLIN | select.EPOLLET)
        hub.kept[self._eventfd] = self

    def sync(self, hub: Hub, fd: int) -> bool:
        """fsync `fd` while others run; False when the kernel did not take it."""
        self._last = number = self._last + 1
        self._iocb.data, self._iocb.fd = number, fd          # the kernel copies it
        if _syscall(self._submit_call, self._context, _ONE, self._iocbs) != 1:
            return False
        self._waiting[number] = getcurrent()
        try:
            result = hub.switch()
        finally:
            self._waiting.pop(number, None)
        if result:
            raise OSError(-result, os.strerror(-result))
        return True

    def on_event(self, _event: int) -> None:
        """For the hub: wake those whose fsync is done."""
        count = SLOTS
        while count == SLOTS:
            count = _syscall(self._events_call, self._context, _NONE, _SLOTS, self._events, None)
            # Who is woken may sync again, and this is called only once an edge: hence the copy.
            for number, result in [(event.data, event.result) for event in self._events[:count]]:
                greenlet = self._waiting.pop(number, None)
                if greenlet is None:                         # given up meanwhile
                    continue
                try:
                    greenlet.switch(result)
                except Exception:        # one green thread's end must not keep the others asleep
                    get_hub().squelch_generic_exception(sys.exc_info())


_queues: dict[Hub, _Queue | None] = {}


def fsync(fd: int) -> None:
    """os.fsync, while other green threads run if there are any. OSError as that."""
    hub = get_hub()
    if type(hub) is not Hub:
        run_in_thread(os.fsync, fd)
        return
    try:
        queue = _queues[hub]
    except KeyError:
        _queues.clear()                                      # of before a fork
        try:
            queue = _Queue(hub)
        except OSError:
            queue = None
        _queues[hub] = queue
    if queue is None or not queue.sync(hub, fd):
        run_in_thread(os.fsync, fd)
