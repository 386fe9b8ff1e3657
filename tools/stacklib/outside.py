# SPDX-License-Identifier: Apache-2.0
"""A database server and a message broker that are not the stack's own, and what it has in them.

    outside.choose(cloud, broker, server)  # once, with the first `up`; kept in stack.json
    outside.prepare(cloud)               # databases are there, nobody else uses the broker's queues
    outside.database_url(cloud, "nova", path)
    outside.remove(cloud)                # what the stack made there is gone

Each service has a database of its own, `<prefix>_<service>`; the prefix is drawn once, so that
many stacks share one server. The queues of nova bear no such name: each stack needs a virtual host
of its own on the broker, and one that somebody's nova listens on already is refused.
"""
import contextlib
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .layout import Cloud
from .progress import StackError

WITH_DATABASE = ("keystone", "glance", "nova")
TOPICS = ("compute", "scheduler", "network", "volume")
QUEUES = ("nova_dead_letters", "notifications.info", "notifications.error")
TIMEOUT = 10.0  # seconds for a connection, or an answer
LET_GO = 15.0  # seconds the broker takes at most to notice that a listener is gone


def choose(cloud: Cloud, broker: str | None, server: str | None,
           address: str | None = None) -> None:
    """What was asked for is written into the stack; one that exists keeps what it has.

    :raises StackError: it has something else already, or a URL cannot be used
    """
    for name, asked in (("broker", broker), ("db", server), ("address", address)):
        known = getattr(cloud, name)
        if asked and Cloud.exists(cloud.data) and asked != known:
            raise StackError(f"this stack's --{name} is {shown(known) or 'none'}, chosen with its "
                             "first up; give another --data")
        setattr(cloud, name, asked or known)
    if cloud.db:
        _server_url(cloud)
        cloud.facts.setdefault("databases", f"snakestack_{secrets.token_hex(4)}")


def shown(url: str) -> str:
    """A URL without its password."""
    scheme, separator, rest = url.partition("://")
    account, at, place = rest.rpartition("@")
    return f"{scheme}{separator}{account.partition(':')[0]}{at}{place}"


def _server_url(cloud: Cloud) -> Any:
    from sqlalchemy import exc, make_url
    try:
        url = make_url(cloud.db)
    except (exc.ArgumentError, ValueError):
        raise StackError("--db is no URL such as mysql+pymysql://user:password@host/") from None
    if url.database:
        raise StackError(f"--db names a server; the stack makes its own databases there, so leave "
                         f"{url.database!r} out")
    return url


def _database(cloud: Cloud, service: str) -> str:
    return f"{cloud.facts['databases']}_{service}"


def database_url(cloud: Cloud, service: str, path: Path) -> str:
    """The URL of a service's database, as its configuration says it: on the server, or the file.

    A dollar sign is doubled, oslo.config takes it for a reference.
    """
    if not cloud.db:
        return f"sqlite:///{path}"
    url = _server_url(cloud).set(database=_database(cloud, service))
    if url.get_backend_name() == "mysql":
        url = url.update_query_dict({"charset": "utf8mb4"})
    return url.render_as_string(hide_password=False).replace("$", "$$")


@contextlib.contextmanager
def _administration(cloud: Cloud) -> Iterator[Any]:
    """A connection to the server, to no database of ours, each statement a transaction."""
    import sqlalchemy
    url = _server_url(cloud)
    if url.get_backend_name() == "postgresql":
        url = url.set(database="postgres")
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT",
                                      connect_args={"connect_timeout": int(TIMEOUT)})
    try:
        with engine.connect() as connection:
            yield connection
    except sqlalchemy.exc.DBAPIError as error:
        raise StackError(f"database server {shown(cloud.db)}: {error.orig}") from error
    finally:
        engine.dispose()


def _services(cloud: Cloud) -> list[str]:
    return [name for name in WITH_DATABASE if cloud.has(name)]


def prepare(cloud: Cloud) -> None:
    """The databases are there, and the broker answers.

    :raises StackError: a server refuses, or does not answer
    """
    if not cloud.db:
        return
    import sqlalchemy
    postgresql = _server_url(cloud).get_backend_name() == "postgresql"
    with _administration(cloud) as connection:
        for name in (_database(cloud, service) for service in _services(cloud)):
            if not postgresql:
                connection.execute(sqlalchemy.text(
                    f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4"))
            elif not connection.execute(sqlalchemy.text(
                    "SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}).scalar():
                connection.execute(sqlalchemy.text(f"CREATE DATABASE {name} TEMPLATE template0"))


@contextlib.contextmanager
def _channel(cloud: Cloud) -> Iterator[Any]:
    import kombu
    try:
        with kombu.Connection(cloud.broker, connect_timeout=TIMEOUT) as connection:
            connection.ensure_connection(max_retries=1, timeout=TIMEOUT)
            yield connection.channel()
    except (kombu.exceptions.KombuError, OSError) as error:
        raise StackError(f"broker {shown(cloud.broker)}: {error}") from error


def refuse_foreign_queues(cloud: Cloud) -> None:
    """Somebody else's nova on the same virtual host would take this one's messages. Ask only
    while none of our daemons runs.

    :raises StackError: somebody listens there
    """
    if not cloud.broker:
        return
    deadline = time.monotonic() + LET_GO
    while taken := _listened_on(cloud):
        if time.monotonic() > deadline:  # what ended just now may still be listening
            raise StackError(f"somebody's nova uses {shown(cloud.broker)} already (it listens on "
                             f"{', '.join(taken)}): each needs a virtual host of its own")
        time.sleep(0.5)


def _listened_on(cloud: Cloud) -> list[str]:
    from amqp.exceptions import NotFound
    found = []
    for topic in TOPICS:
        with _channel(cloud) as channel, contextlib.suppress(NotFound):
            if channel.queue_declare(topic, passive=True).consumer_count:
                found.append(topic)
    return found


def hosts(cloud: Cloud) -> list[str]:
    """Names under which this stack's workers are known to each other."""
    name = str(cloud.facts.get("host", socket.gethostname()))
    return [name, *(f"{name}-{number}" for number in range(2, cloud.computes + 1))]


def remove(cloud: Cloud) -> None:
    """Databases, queues and exchanges of this stack are gone.

    :raises StackError: a server refuses, or does not answer
    """
    if cloud.db:
        import sqlalchemy
        postgresql = _server_url(cloud).get_backend_name() == "postgresql"
        with _administration(cloud) as connection:
            for service in WITH_DATABASE:
                connection.execute(sqlalchemy.text(
                    f"DROP DATABASE IF EXISTS {_database(cloud, service)}"
                    + (" WITH (FORCE)" if postgresql else "")))
    if cloud.broker:
        with _channel(cloud) as channel:
            for queue in (*QUEUES, *TOPICS,
                          *(f"{topic}.{host}" for topic in TOPICS for host in hosts(cloud))):
                channel.queue_delete(queue)
            for exchange in ("nova", *(f"{topic}_fanout" for topic in TOPICS)):
                channel.exchange_delete(exchange)
