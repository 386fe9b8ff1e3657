# SPDX-License-Identifier: Apache-2.0
"""The real broker, databases and cache of the tests: started when they do not answer.

    ensure_all()                       # RabbitMQ, MariaDB, PostgreSQL, memcached
    ensure("rabbitmq")                 # one of them

Each is spoken to in its own protocol before it counts as up. No systemd is needed: Debian's own
start scripts are called directly. What cannot be started is an error with the reason, so that
no test is skipped for want of a part. Standard library only.
"""
import fcntl
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .packages import say

START_TIMEOUT = 60.0  # seconds until a started service must answer
ANSWER_TIMEOUT = 5.0  # seconds for one probe
# account of the tests in both databases; it may only touch databases named snakestack_*
ACCOUNT = "snakestack"
MYSQL_URL = f"mysql+pymysql://{ACCOUNT}:{ACCOUNT}@127.0.0.1:3306/"
POSTGRESQL_URL = f"postgresql+psycopg2://{ACCOUNT}:{ACCOUNT}@127.0.0.1:5432/"
AMQP_URL = "amqp://guest:guest@127.0.0.1:5672/"
MEMCACHED = "127.0.0.1:11211"


class BackingError(Exception):
    """A real service of the tests is missing or does not answer."""


def _exchange(port: int, hello: bytes, want: bytes) -> bool:
    """Whether 127.0.0.1:port answers `hello` with something that holds `want`."""
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT) as sock:
            sock.settimeout(ANSWER_TIMEOUT)
            if hello:
                sock.sendall(hello)
            return want in sock.recv(512)
    except OSError:
        return False


def _run(*command: str, timeout: float = START_TIMEOUT) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def _detach(*command: str) -> None:
    """Start a server that outlives us, its output in a file under the temporary directory."""
    log = Path(tempfile.gettempdir()) / f"snakestack-{Path(command[0]).name}.log"
    with open(log, "ab") as out:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                         start_new_session=True)


def _start_mariadb() -> None:
    os.makedirs("/run/mysqld", exist_ok=True)
    _run("chown", "mysql:mysql", "/run/mysqld")
    _detach("mariadbd", "--user=mysql", "--bind-address=127.0.0.1")


def _start_postgresql() -> None:
    for row in _run("pg_lsclusters", "--no-header").stdout.splitlines():
        version, cluster = row.split()[:2]
        _run("pg_ctlcluster", version, cluster, "start")


def _mariadb_account() -> None:
    sql = (f"CREATE USER IF NOT EXISTS '{ACCOUNT}'@'%' IDENTIFIED BY '{ACCOUNT}';"
           f"GRANT ALL ON `{ACCOUNT}\\_%`.* TO '{ACCOUNT}'@'%';"
           f"CREATE USER IF NOT EXISTS '{ACCOUNT}'@'localhost' IDENTIFIED BY '{ACCOUNT}';"
           f"GRANT ALL ON `{ACCOUNT}\\_%`.* TO '{ACCOUNT}'@'localhost';")
    done = _run("mariadb", "-u", "root", "-e", sql)
    if done.returncode:
        raise BackingError(f"MariaDB refuses the account of the tests: {done.stderr}")


def _postgresql_account() -> None:
    psql = ("runuser", "-u", "postgres", "--", "psql", "-qtA", "-d", "postgres", "-c")
    if _run(*psql, f"SELECT 1 FROM pg_roles WHERE rolname = '{ACCOUNT}'").stdout.strip() == "1":
        return
    done = _run(*psql, f"CREATE ROLE {ACCOUNT} LOGIN CREATEDB PASSWORD '{ACCOUNT}'")
    if done.returncode:
        raise BackingError(f"PostgreSQL refuses the account of the tests: {done.stderr}")


@dataclass(frozen=True)
class Service:
    """One real service: how it is asked, how it is started, what it needs once it runs."""

    answers: Callable[[], bool]
    start: Callable[[], None]
    prepare: Callable[[], None] = lambda: None


def _amqp_answers() -> bool:
    return _exchange(5672, b"AMQP\x00\x00\x09\x01", b"RabbitMQ")


def _postgresql_answers() -> bool:
    """An SSLRequest is answered by one letter, also before any account is known."""
    request = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
    return _exchange(5432, request, b"S") or _exchange(5432, request, b"N")


SERVICES = {
    "rabbitmq": Service(_amqp_answers, lambda: _detach("rabbitmq-server")),
    "mariadb": Service(lambda: _exchange(3306, b"", b"MariaDB"), _start_mariadb,
                       _mariadb_account),
    "postgresql": Service(_postgresql_answers, _start_postgresql, _postgresql_account),
    "memcached": Service(
        lambda: _exchange(11211, b"version\r\n", b"VERSION"),
        lambda: _detach("memcached", "-u", "memcache", "-l", "127.0.0.1", "-m", "64")),
}


def ensure(name: str) -> None:
    """The service answers and has what the tests need; starts it if it does not.

    Safe to call from several processes at once.

    :raises BackingError: it does not answer within START_TIMEOUT seconds
    """
    service = SERVICES[name]
    lock_name = Path(tempfile.gettempdir()) / f"snakestack-backing-{name}.lock"
    with open(lock_name, "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not service.answers():
            say(f"starting {name}")
            try:
                service.start()
            except FileNotFoundError as error:
                raise BackingError(f"{name} is not installed: {error}") from error
            deadline = time.monotonic() + START_TIMEOUT
            while not service.answers():
                if time.monotonic() > deadline:
                    raise BackingError(f"{name} does not answer {START_TIMEOUT:.0f} s after start")
                time.sleep(0.2)
        service.prepare()


def ensure_all() -> None:
    """All four answer."""
    for name in SERVICES:
        ensure(name)
