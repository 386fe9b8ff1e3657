# SPDX-License-Identifier: Apache-2.0
"""Fixtures of all rungs: real databases, broker and cache, and the pretend host.

The real services are started when they do not answer (tools/stacklib/backing.py); a missing one
is an error, never a skip.
"""
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT / "tools"), str(CHECKOUT / "tests/support")]
import orphans  # noqa: E402  # found by the line above

RABBITMQCTL_TIMEOUT = 180     # it starts a virtual machine of its own each time


def pytest_configure(config) -> None:
    """A worker of pytest-xdist bears its mark before it starts anything."""
    if hasattr(config, "workerinput"):
        os.environ[orphans.MARK] = config.workerinput["mark"]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Tell a worker its mark."""
    node.workerinput["mark"] = uuid.uuid4().hex


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error) -> None:
    """End what a worker that died was running; one that ended has ended its own."""
    if error:
        orphans.end(node.workerinput["mark"])


def pytest_collection_modifyitems(config, items) -> None:
    """Begin every worker's part with its share of the slow tests: whoever ends last decides."""
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers == 1 or config.option.loadgroup:
        return
    slow = [item for item in items if item.get_closest_marker("guest")]
    rest = [item for item in items if not item.get_closest_marker("guest")]
    part = -(-len(rest) // workers)
    items[:] = [item for number in range(workers)
                for item in (*slow[number::workers], *rest[number * part:(number + 1) * part])]


def pytest_collection_finish() -> None:
    """Refuse modules of tests that make this process green: its workers would wait for ever."""
    patcher = sys.modules.get("eventlet.patcher")
    if patcher and patcher.is_monkey_patched("thread"):
        raise pytest.UsageError("a module of tests imports what calls concurrency.patch(), a "
                                "program of nova.cmd, glance.cmd or swift.cli: start it as a "
                                "process instead")


def pytest_terminal_summary(terminalreporter) -> None:
    """Print the sum of what the parts of the kill matrix recorded, whichever worker ran them."""
    found = [dict(report.user_properties)["kill_matrix"]
             for reports in terminalreporter.stats.values() for report in reports
             if getattr(report, "when", None) == "call"
             and "kill_matrix" in dict(report.user_properties)]
    if found:
        from kill_cases import summary
        terminalreporter.write_line(summary(found))


@pytest.fixture(scope="session")
def free_port():
    """A function that returns a TCP port free on loopback, another one at each call."""
    given = set()

    def pick() -> int:
        while True:
            with socket.socket() as sock:
                sock.bind(("127.0.0.1", 0))
                port = sock.getsockname()[1]
            if port not in given:
                given.add(port)
                return port

    return pick


def _sql(url: str, statement: str) -> None:
    import sqlalchemy

    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(statement))
    engine.dispose()


@contextlib.contextmanager
def _mysql_database():
    from stacklib import backing

    backing.ensure("mariadb")
    name = f"snakestack_{uuid.uuid4().hex[:12]}"
    _sql(backing.MYSQL_URL, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    yield f"{backing.MYSQL_URL}{name}?charset=utf8mb4"
    _sql(backing.MYSQL_URL, f"DROP DATABASE {name}")


@pytest.fixture
def mysql_url():
    """SQLAlchemy URL of a fresh database on the real MariaDB, dropped at the end."""
    with _mysql_database() as url:
        yield url


@pytest.fixture(scope="session")
def new_mysql_url():
    """A function that returns what mysql_url is, another at each call; dropped with the run."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(_mysql_database())


@pytest.fixture
def postgresql_url():
    """SQLAlchemy URL of a fresh database on the real PostgreSQL, dropped at the end."""
    from stacklib import backing

    backing.ensure("postgresql")
    name = f"snakestack_{uuid.uuid4().hex[:12]}"
    _sql(f"{backing.POSTGRESQL_URL}postgres", f"CREATE DATABASE {name} TEMPLATE template0")
    yield f"{backing.POSTGRESQL_URL}{name}"
    _sql(f"{backing.POSTGRESQL_URL}postgres", f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def _virtual_host():
    from stacklib import backing

    backing.ensure("rabbitmq")
    name = f"snakestack-{uuid.uuid4().hex[:12]}"

    def control(*arguments: str) -> None:
        subprocess.run(["rabbitmqctl", "-q", *arguments], check=True, capture_output=True,
                       timeout=RABBITMQCTL_TIMEOUT)

    control("add_vhost", name)
    control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    yield f"{backing.AMQP_URL}{name}"
    control("delete_vhost", name)


@pytest.fixture(scope="session")
def amqp_url():
    """URL of a virtual host of our own on the real RabbitMQ, removed at the end of the run."""
    with _virtual_host() as url:
        yield url


@pytest.fixture(scope="session")
def new_amqp_url():
    """A function that returns what amqp_url is, another at each call: for what stays a while."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(_virtual_host())


@pytest.fixture
def memcached_address():
    """host:port of the real memcached; keys are shared, so prefix yours."""
    from stacklib import backing

    backing.ensure("memcached")
    return backing.MEMCACHED


@pytest.fixture(scope="session")
def guest_image():
    """Folder of the tiny guest: disk.qcow2, and vmlinuz, initrd.gz, root.ext4 as the trio.

    Made once a machine and recipe; treat the files as read-only. The console shows
    "snakestack guest" and "login:" when it is ready.
    """
    from stacklib import image

    return image.guest_image(Path(tempfile.gettempdir()) / "snakestack-test-cache")


@pytest.fixture
def pretend_host():
    """A machine of its own with its own libvirtd and a client on its public network.

    See tests/support/pretend_host.py; start it yourself there for another scope or several hosts.
    """
    from pretend_host import PretendHost

    with PretendHost() as host:
        yield host
