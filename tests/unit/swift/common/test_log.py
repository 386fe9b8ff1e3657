# SPDX-License-Identifier: Apache-2.0
"""Lines that are logged for each request take a short cut, and look as all others."""
import logging
import socket
import subprocess
import sys
import time

import pytest

from swift.common.exceptions import ConfigError
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


GREEN = """
from swift.common import concurrency
concurrency.patch()
import logging, os, sys, threading
from swift.common.exceptions import ConfigError
from swift.common.log import get_logger, log_line
logger = get_logger({"log_address": sys.argv[1]}, "test-server")
"""


def green(syslog, script):
    """What a server's process sent that ran `script`, line by line."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", GREEN + script, syslog.getsockname()],
                   check=True, timeout=60)
    syslog.setblocking(False)
    lines = []
    try:
        while True:
            lines.append(syslog.recv(1000).rstrip(b"\0").partition(b": ")[2].decode())
    except BlockingIOError:
        return lines


def test_a_server_s_lines_wait_for_others_but_not_long(syslog):
    assert green(syslog, """
for number in range(3):
    log_line(logger, logging.INFO, f"{number}")
assert len(concurrency.get_hub().before_poll.__self__.lines) == 3
concurrency.sleep(1)
os._exit(0)
""") == ["0", "1", "2"]


@pytest.mark.parametrize("end", ["os._exit(os.fork() and os.wait()[1])", "concurrency.exit_now(0)",
                                 "sys.exit()", "logger.error('last'); os._exit(0)"])
def test_a_server_s_lines_come_once_and_in_their_order(syslog, end):
    expected = ["0", "first", "1", "2"] + ["last"] * ("last" in end)
    assert green(syslog, f"""
log_line(logger, logging.INFO, "0")
logger.warning("first")
for number in (1, 2):
    log_line(logger, logging.INFO, f"{{number}}")
{end}
""") == expected


def test_a_listener_that_is_slow_is_waited_for(syslog):
    """Its queue is full long before it reads."""
    lines = []
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", GREEN + """
for number in range(500):
    log_line(logger, logging.INFO, f"{number}")
""", syslog.getsockname()]) as server:
        time.sleep(2)
        for _ in range(500):
            lines.append(int(syslog.recv(1000).rstrip(b"\0").partition(b": ")[2]))
        assert server.wait(30) == 0
    assert sorted(lines) == list(range(500))


def test_a_listener_that_is_gone_is_replaced_or_standard_error_gets_the_line(syslog):
    path = syslog.getsockname()
    server = GREEN + """
path = sys.argv[1]
print("connected", flush=True)
print(input())
os.unlink(path)
log_line(logger, logging.INFO, "to nobody")
concurrency.sleep(0.2)
again = concurrency.socket.socket(concurrency.socket.AF_UNIX, concurrency.socket.SOCK_DGRAM)
again.bind(path)
log_line(logger, logging.INFO, "to the next")
concurrency.sleep(0.2)
print(again.recv(100))
"""
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", server, path], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == "connected\n"
        syslog.close()
        out, err = process.communicate("gone\n", 60)
    assert out.splitlines() == ["gone", repr(b"<134>test-server: to the next\0")]
    assert "to nobody" in err


def test_lines_are_as_long_as_they_may_be(syslog):
    logger = make(syslog, log_max_line_length="30")
    text = "a very long line of which the middle goes: the end"
    logger.info("%s", text)
    log_line(logger, logging.INFO, text)
    first = syslog.recv(1000)
    assert syslog.recv(1000) == first
    said = first.partition(b">")[2].rstrip(b"\0").decode()
    assert said == "test-server:" + " ... " + "oes: the end"
    log_line(logger, logging.INFO, "short")
    assert syslog.recv(1000) == b"<134>test-server: short\0"
    log_line(make(syslog, log_max_line_length="4"), logging.INFO, text)
    assert syslog.recv(1000) == b"<134>test\0"
    log_line(make(syslog, log_max_line_length="0"), logging.INFO, text)
    assert syslog.recv(1000) == f"<134>test-server: {text}\0".encode()
    with pytest.raises(ConfigError, match="log_max_line_length"):
        make(syslog, log_max_line_length="long")
