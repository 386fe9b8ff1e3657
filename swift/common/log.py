# SPDX-License-Identifier: Apache-2.0
"""One logger per daemon: syslog when there is one, otherwise standard error."""
from __future__ import annotations

import logging
import logging.handlers
import os
import socket
import sys
import time
from collections import deque
from typing import Any

from swift.common.concurrency import Hub, before_exit, get_hub, is_patched, sleep_all
from swift.common.exceptions import ConfigError

_ROOT = "swift."
_FORMAT = "%(server)s: %(message)s"
PATIENCE = 0.05           # seconds a line may wait for others
BATCH = 8                 # lines sent at once; a socket's queue takes ten unless told otherwise
MOST_LATE = 64            # a listener that is slower than we are is waited for
LAST_WORDS = 0.5          # seconds, when it is the last that this process says
_STDERR_FORMAT = "%(asctime)s %(levelname)s %(server)s: %(message)s"


class _Named(logging.Filter):
    """Puts the daemon's name on each record; newlines must not start a line of someone's own."""

    def __init__(self, server: str) -> None:
        super().__init__()
        self.server = server

    def filter(self, record: logging.LogRecord) -> bool:
        record.server = self.server
        return True


def _shortened(text: str, most: int) -> str:
    """The beginning and the end of a line of more than `most` characters."""
    if len(text) <= most:
        return text
    half = (most - 5) // 2
    return f"{text[:half]} ... {text[-half:]}" if half > 0 else text[:most]


class _OneLine(logging.Formatter):
    """A formatter whose record is one line: a traceback is folded with #012 as syslog does; of
    `most` characters, unless that is 0."""

    def __init__(self, form: str, most: int = 0) -> None:
        super().__init__(form)
        self.most = most

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if "\n" in text:
            text = text.replace("\n", "#012")
        return _shortened(text, self.most) if self.most else text


class _LateLines:
    """Lines that wait for others: each datagram of its own wakes who listens.

    They are sent when there are several, before the hub sleeps for longer than they may wait,
    before anything else is logged, and at the end of the process.
    """

    def __init__(self) -> None:
        self.lines: deque[tuple[_SysLog, bytes]] = deque()     # other threads send, too
        self.due = 0.0

    def add(self, handler: _SysLog, data: bytes) -> bool:
        """Take a line; False when too many wait for a slow listener."""
        hub = get_hub()
        if type(hub) is not Hub:
            return handler.send(data)
        if len(self.lines) >= BATCH and not self.send() and len(self.lines) >= MOST_LATE:
            return False
        if hub.before_poll is None:
            hub.before_poll = self._before_poll
            self.due = time.monotonic() + PATIENCE
        self.lines.append((handler, data))
        return True

    def _before_poll(self, seconds: float | None) -> float | None:
        if not self.lines:
            get_hub().before_poll = None
            return seconds
        now = time.monotonic()
        if now >= self.due:
            self.due = now + PATIENCE
            if self.send():
                get_hub().before_poll = None
                return seconds
        left = self.due - now
        return left if seconds is None else min(left, seconds)

    def send(self) -> bool:
        """Send them without waiting; whether all are gone."""
        while self.lines:
            try:
                handler, data = self.lines.popleft()
            except IndexError:
                break
            try:
                handler.send_or_reconnect(data)
            except BlockingIOError:
                self.lines.appendleft((handler, data))
                return False
        return True

    def finish(self) -> None:
        """Send them as long as a slow listener may take for it at the end of the process."""
        deadline = time.monotonic() + LAST_WORDS
        while not self.send() and time.monotonic() < deadline:
            sleep_all(0.001)


_late = _LateLines()
before_exit(_late.finish)
os.register_at_fork(before=_late.send, after_in_child=_late.lines.clear)   # the parent's to say


class _SysLog(logging.handlers.SysLogHandler):
    """The standard library's, that also sends a line without making a record of it first."""

    socket: Any

    def __init__(self, address: str | tuple[str, int], facility: int,
                 socktype: int = socket.SOCK_DGRAM) -> None:
        super().__init__(address, facility, socktype)          # type: ignore[arg-type]
        self._numbers: dict[int, int] = {}                     # by level
        self.most = 0                                          # characters of a line, if not 0

    def line(self, server: str, level: int, text: str) -> bool:
        """Send a line to a Unix socket, soon; False when it does not take it."""
        if not self.unixsocket or self.socket is None:
            return False
        number = self._numbers.get(level)
        if number is None:
            number = self._numbers[level] = self.encodePriority(
                self.facility, self.mapPriority(logging.getLevelName(level)))
        said = f"{server}: {text}"
        if self.most:
            said = _shortened(said, self.most)
        try:
            data = f"<{number}>{said}\0".encode("utf-8", "surrogateescape")
        except UnicodeError:
            return False
        return _late.add(self, data) if is_patched() else self.send(data)

    def send(self, data: bytes) -> bool:
        """Send a datagram; False when it is not taken at once."""
        try:
            self._send(data)
        except OSError:
            return False
        return True

    def _send(self, data: bytes) -> None:
        # Below the green socket: a full one is waited for by `emit`.
        getattr(self.socket, "fd", self.socket).send(data)

    def send_or_reconnect(self, data: bytes) -> None:
        """Send a datagram, to the listener's successor if it is gone, or else to standard error.

        BlockingIOError when it is not taken now.
        """
        try:
            self._send(data)
        except BlockingIOError:
            raise
        except OSError:
            try:
                self.socket.close()
                self.createSocket()
                self._send(data)
            except OSError:
                sys.stderr.write(data.decode("utf-8", "replace").rstrip("\0") + "\n")

    def emit(self, record: logging.LogRecord) -> None:
        _late.send()
        super().emit(record)

    def close(self) -> None:
        _late.finish()
        super().close()


def log_line(logger: logging.Logger, level: int, text: str) -> None:
    """Log what has to be said for each request: `logger.log` at a fifth of its cost.

    `text` is the whole message; the logger is one of `get_logger`.
    """
    if not logger.isEnabledFor(level):
        return
    handlers = logger.handlers
    if len(handlers) == 1 and type(handlers[0]) is _SysLog and "\n" not in text and \
            handlers[0].line(logger.name[len(_ROOT):], level, text):
        return
    logger.log(level, "%s", text)


def _handler(conf: dict[str, str], to_stderr: bool) -> logging.Handler:
    address = conf.get("log_address", "/dev/log")
    host = conf.get("log_udp_host")
    facility = conf.get("log_facility", "LOG_LOCAL0").lower().removeprefix("log_")
    number = logging.handlers.SysLogHandler.facility_names.get(facility)
    if number is None:
        raise ConfigError(f"log_facility: no syslog facility is called {facility!r}")
    if not to_stderr:
        try:
            if host:
                port = int(conf.get("log_udp_port", logging.handlers.SYSLOG_UDP_PORT))
                return _SysLog((host, port), number)
            if os.path.exists(address):
                return _SysLog(address, number, socket.SOCK_DGRAM)
        except OSError:
            pass               # a socket file without a listener: standard error, as documented
    return logging.StreamHandler(sys.stderr)


def _make_cheap() -> None:
    """Leave out of records what our formats do not show: half of what a log line costs.

    Under eventlet the current thread's name and the caller's frame are slow to find.
    """
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None                               # type: ignore[attr-defined]


def _most(conf: dict[str, str]) -> int:
    value = conf.get("log_max_line_length", "0")
    if not value.isdecimal():
        raise ConfigError(f"log_max_line_length must be a whole number, not {value!r}")
    return int(value)


def get_logger(conf: dict[str, str] | None = None, name: str | None = None,
               to_stderr: bool = False) -> logging.Logger:
    """The logger `swift.<log_name>` set up by the options log_name, log_level, log_facility,
    log_address, log_udp_host, log_udp_port and log_max_line_length.

    Calling it again with the same name returns the same logger with the newer settings.
    """
    if is_patched():
        _make_cheap()
    conf = conf or {}
    server = name or conf.get("log_name", "swift")
    logger = logging.getLogger(_ROOT + server)
    level = conf.get("log_level", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        raise ConfigError(f"log_level: unknown level {level!r}")
    most = _most(conf)
    logger.setLevel(level)
    logger.propagate = False
    for old in list(logger.handlers):
        logger.removeHandler(old)
        old.close()
    handler = _handler(conf, to_stderr)
    stderr = type(handler) is logging.StreamHandler
    handler.setFormatter(_OneLine(_STDERR_FORMAT if stderr else _FORMAT, most))
    if isinstance(handler, _SysLog):
        handler.most = most
    handler.addFilter(_Named(server))
    logger.addHandler(handler)
    return logger
