# SPDX-License-Identifier: Apache-2.0
"""What account, container and object servers share: requests, answers, dispatch, the log line.

A handler takes a `Request` and returns an `Answer`; answers are exceptions too, so a refusal can be
raised from anywhere. Names are real text here; header values of an environ are "bytes as text".
"""
from __future__ import annotations

import errno
import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote

from swift.common.conf import config_true
from swift.common.exceptions import (
    DatabaseConnectionError,
    InsufficientStorage,
    LockTimeout,
)
from swift.common.log import get_logger, log_line
from swift.common.statsd import Statsd
from swift.common.timestamp import Timestamp

_STATUS = {**{int(code): f"{int(code)} {code.phrase}" for code in HTTPStatus},
           413: "413 Request Entity Too Large", 416: "416 Requested Range Not Satisfiable",
           499: "499 Client Disconnect", 507: "507 Insufficient Storage"}
# What a device answers that is full, failing, gone or read-only: others have to do its work.
_DISK_ERRORS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV,
                          errno.ENXIO, errno.EUCLEAN))
_DATABASE_ERRORS = ("readonly database", "disk is full", "disk I/O error",
                    "unable to open database file")
_PARTITION = re.compile(r"[0-9]{1,10}\Z")
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_header_names: dict[str, str] = {}
_stamp: tuple[int, str] = (0, "")


def _date(second: int) -> str:
    """A time as it stands in log lines; formatted once a second."""
    global _stamp
    if _stamp[0] != second:
        at = time.gmtime(second)
        _stamp = (second, f"{at.tm_mday:02d}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year}:"
                          f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} +0000")
    return _stamp[1]


def _is_the_disk(exc: OSError | sqlite3.OperationalError) -> bool:
    if isinstance(exc, OSError):
        return exc.errno in _DISK_ERRORS
    return any(words in str(exc) for words in _DATABASE_ERRORS)


class Answer(Exception):
    """A response: status code, headers, body (bytes or an iterable of them)."""

    def __init__(self, status: int, body: bytes | str | Iterable[bytes] = b"",
                 headers: dict[str, str] | None = None,
                 content_type: str = "text/plain; charset=utf-8") -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers if headers is not None else {}
        self.body: bytes | Iterable[bytes] = body.encode("utf-8") if isinstance(body, str) else body
        if "Content-Type" not in self.headers:
            self.headers["Content-Type"] = content_type

    def finish(self, start_response: Callable) -> Iterable[bytes]:
        """Begin the WSGI response; its body."""
        headers = self.headers
        body = self.body
        if isinstance(body, bytes):
            if "Content-Length" not in headers:
                headers["Content-Length"] = str(len(body))
            body = [body]
        start_response(_STATUS[self.status], list(headers.items()))
        return body


def text_of(value: str) -> str:
    """Real text of "bytes as text"; what is no UTF-8 stays recoverable (surrogateescape)."""
    if value.isascii():
        return value
    return value.encode("latin-1").decode("utf-8", "surrogateescape")


def wire(value: str) -> str:
    """"Bytes as text" of real text."""
    if value.isascii():
        return value
    return value.encode("utf-8", "surrogateescape").decode("latin-1")


def header_name(key: str) -> str:
    """`X-Foo-Bar` of the environ key HTTP_X_FOO_BAR, as real text."""
    name = _header_names.get(key)
    if name is None:
        raw = key.removeprefix("HTTP_").replace("_", "-").encode("latin-1").title()
        name = raw.decode("utf-8", "surrogateescape")
        if len(_header_names) < 4096 and len(key) < 80:
            _header_names[key] = name
    return name


class Request:
    """A view of a WSGI environ."""

    __slots__ = ("env", "method", "extra_log", "_split")

    def __init__(self, env: dict[str, Any]) -> None:
        self.env = env
        self.method: str = env["REQUEST_METHOD"]
        self.extra_log = ""
        self._split: tuple[int, list[str | None]] | None = None    # of so many parts

    def get(self, name: str, default: str | None = None) -> str | None:
        """A header's value as real text, by its environ key without HTTP_: `X_TIMESTAMP`."""
        value = self.env.get("HTTP_" + name)
        return default if value is None else text_of(value)

    def split(self, least: int, most: int) -> list[str | None]:
        """`most` parts of the path, the last with all slashes that are left; those beyond `least`
        may be missing (None). 400 for another shape, 412 for names that are no UTF-8."""
        if self._split is not None and self._split[0] == most and \
                None not in self._split[1][:least]:
            return self._split[1]
        path: str = self.env["PATH_INFO"]
        if not path.isascii():
            try:
                path = path.encode("latin-1").decode("utf-8")
            except UnicodeDecodeError:
                raise Answer(412, "Invalid UTF8 or contains NULL") from None
        parts = path.split("/", most)
        if parts[0] != "" or len(parts) <= least or "" in parts[1:least + 1]:
            raise Answer(400, f"Invalid path: {quote(path)}")
        found: list[str | None] = [part or None for part in parts[1:]]
        if None in found[:-1] or not _PARTITION.match(found[1] or ""):
            raise Answer(400, f"Invalid path: {quote(path)}")
        if "\0" in path:
            self._check_reserved(found)
        device = found[0] or ""
        if device in (".", "..") or not device.isprintable():
            raise Answer(400, "Invalid device")
        found += [None] * (most - len(found))
        self._split = (most, found)
        return found

    @staticmethod
    def _check_reserved(found: list[str | None]) -> None:
        """400 for a path in which reserved names (they begin with NUL) and others are mixed.

        What hidden accounts hold is named after objects of others, and may hold anything.
        """
        names = [name for name in found[2:] if name]
        if "\0" in "".join(name or "" for name in found[:2]):
            raise Answer(412, "Invalid UTF8 or contains NULL")
        if names[0].startswith("."):
            return
        reserved = [name.startswith("\0") for name in names]
        if reserved[0] and not all(reserved) or len(set(reserved[1:])) > 1:
            raise Answer(400, "Reserved and other names do not go together in one path")

    @property
    def allows_reserved(self) -> bool:
        """Whether the sender may see reserved names in listings."""
        return config_true(self.env.get("HTTP_X_BACKEND_ALLOW_RESERVED_NAMES", ""))

    def timestamp(self) -> Timestamp:
        """X-Timestamp, or 400."""
        value = self.env.get("HTTP_X_TIMESTAMP")
        if value is None:
            raise Answer(400, "Missing X-Timestamp header")
        try:
            return Timestamp(value)
        except ValueError:
            raise Answer(400, f"X-Timestamp should be a UNIX timestamp float value; "
                              f"was {quote(value[:64])}") from None

    def params(self) -> dict[str, str]:
        """The query as real text; 400 for what is no UTF-8."""
        query = self.env.get("QUERY_STRING", "")
        if not query:
            return {}
        try:
            return dict(parse_qsl(query, keep_blank_values=True, encoding="utf-8",
                                  errors="strict", max_num_fields=100))
        except ValueError:
            raise Answer(400, "parameters not utf-8") from None

    @property
    def is_backend_open_expired(self) -> bool:
        return config_true(self.env.get("HTTP_X_BACKEND_OPEN_EXPIRED", "")) or \
            config_true(self.env.get("HTTP_X_BACKEND_REPLICATION", ""))


Handler = Callable[[Request], Answer]


class BackendApp:
    """A storage server as a WSGI application; subclasses fill `handlers`.

    Options: log_requests, replication_server (true: REPLICATE only; false: all but it),
    log_statsd_*.
    """

    server_type = "backend"

    def __init__(self, conf: dict[str, str], logger: logging.Logger | None = None) -> None:
        self.conf = conf
        self.logger = logger or get_logger(conf, conf.get("log_name", self.server_type + "-server"))
        self.log_requests = config_true(conf.get("log_requests", "true"))
        only = conf.get("replication_server")
        self.replication_server = None if only is None else config_true(only)
        self.handlers: dict[str, Handler] = {}
        self.statsd = Statsd.of(conf, self.server_type + "-server")
        if self.statsd is not None:           # else no request is to ask whether it is
            self.access_log = self._measured   # type: ignore[method-assign]

    def _handler(self, method: str) -> Handler | None:
        if self.replication_server is not None and method != "OPTIONS":
            if (method in ("REPLICATE", "SSYNC")) != self.replication_server:
                return None
        return self.handlers.get(method)

    def __call__(self, env: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        request = Request(env)
        try:
            handler = self._handler(request.method)
            if handler is None:
                raise Answer(405, "The method is not allowed for this resource.",
                             {"Allow": ", ".join(sorted(self.handlers))})
            answer = handler(request)
        except Answer as exc:
            answer = exc
        except InsufficientStorage as exc:
            answer = Answer(507, f"{quote(exc.drive)} is not mounted\n")
        except (LockTimeout, DatabaseConnectionError) as exc:
            self.logger.error("ERROR %s %s: %s", request.method, env["PATH_INFO"], exc)
            answer = Answer(503, "The storage is busy or failing\n", {"Retry-After": "1"})
        except (OSError, sqlite3.OperationalError) as exc:
            if not _is_the_disk(exc):
                raise
            self.logger.error("ERROR %s %s: %s", request.method, env["PATH_INFO"], exc)
            answer = Answer(507, f"{quote(env['PATH_INFO'].split('/')[1])} cannot be used\n")
        if request.extra_log:
            env["swift.extra_log"] = request.extra_log
        return answer.finish(start_response)

    def _measured(self, env: dict[str, Any], status: str, sent: int, start: float,
                  end: float) -> None:
        """As `access_log`, and tell statsd how long it took, by OpenStack Swift's names: what a
        client did wrong is no error."""
        assert self.statsd is not None
        method = env["REQUEST_METHOD"]
        if method in self.handlers:
            kind = "errors.timing" if status[0] == "5" else "timing"
            for name in (method, *self.also_called(env)):
                self.statsd.timing(f"{name}.{kind}", end - start)
        BackendApp.access_log(self, env, status, sent, start, end)

    def also_called(self, env: dict[str, Any]) -> tuple[str, ...]:
        """What else statsd knows a request as."""
        return ()

    def access_log(self, env: dict[str, Any], status: str, sent: int, start: float,
                   end: float) -> None:
        """One line per request, in the order of fields OpenStack Swift's servers use."""
        if not self.log_requests:
            return
        logger = self.logger
        method = env["REQUEST_METHOD"]
        level = logging.DEBUG if method == "REPLICATE" else logging.INFO
        if not logger.isEnabledFor(level):
            return
        get = env.get
        log_line(logger, level, (
            f'{env["REMOTE_ADDR"]} - - [{_date(int(start))}] "{method} '
            f'{get("RAW_PATH_INFO", "")}" {status[:3]} {sent or "-"} '
            f'"{get("HTTP_REFERER", "-")}" "{get("HTTP_X_TRANS_ID", "-")}" '
            f'"{get("HTTP_USER_AGENT", "-")}" {end - start:.4f} '
            f'"{get("swift.extra_log", "-")}" {os.getpid()} '
            f'{get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX", "-")}'))
