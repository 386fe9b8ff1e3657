# SPDX-License-Identifier: Apache-2.0
"""Lines that are logged for each request take a short cut, and look as all others."""
import logging
import socket

import pytest

from swift.common.log import get_logger, log_line


@pytest.fixture
def syslog(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "log"))
        sock.settimeout(5)
        yield sock


def make(syslog, **conf):
    return get_logger({"log_address": syslog.getsockname(), **conf}, "test-server")


def test_both_ways_look_the_same(syslog):
    logger = make(syslog, log_facility="LOG_LOCAL3")
    for text in ("GET /v1/\u00e4 200", "percent %s %d", "two\nlines"):
        logger.info("%s", text)
        log_line(logger, logging.INFO, text)
        first = syslog.recv(1000)
        assert syslog.recv(1000) == first and first.startswith(b"<158>test-server: ")
        assert b"\n" not in first


def test_levels_count(syslog):
    logger = make(syslog, log_level="WARNING")
    log_line(logger, logging.INFO, "not this")
    log_line(logger, logging.ERROR, "but this")
    assert syslog.recv(1000) == b"<131>test-server: but this\0"


def test_a_listener_that_came_back_is_found(syslog, tmp_path):
    logger = make(syslog)
    (tmp_path / "log").unlink()
    syslog.close()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(str(tmp_path / "log"))
        again.settimeout(5)
        log_line(logger, logging.INFO, "after a restart")
        assert again.recv(1000) == b"<134>test-server: after a restart\0"


def test_other_handlers_get_it_too(syslog):
    logger, records = make(syslog), []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logger.addHandler(handler)
    log_line(logger, logging.INFO, "100 % sure")
    logger.removeHandler(handler)
    assert records == ["100 % sure"] and b"100 % sure" in syslog.recv(1000)
