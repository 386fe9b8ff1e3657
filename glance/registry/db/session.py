# SPDX-License-Identifier: Apache-2.0
"""Engine, short transactions, and one retry for what databases lose by chance."""

from __future__ import annotations

import contextlib
import functools
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy
from oslo_config import cfg
from sqlalchemy import event, exc
from sqlalchemy.engine import Connection, Engine

from glance import exceptions

LOG = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

OPTIONS = [
    cfg.StrOpt("connection", default="sqlite:////var/lib/glance/glance.sqlite", secret=True,
               help="SQLAlchemy URL of the registry's database (sqlite, mysql+pymysql, "
                    "postgresql+psycopg2)."),
    cfg.IntOpt("max_pool_size", default=5, min=1, help="Connections kept open."),
    cfg.IntOpt("max_overflow", default=20, min=0, help="Further connections under load."),
    cfg.IntOpt("pool_timeout", default=30, min=1,
               help="Seconds a request waits for a connection of the pool."),
    cfg.IntOpt("connection_recycle_time", default=3600,
               help="Seconds after which an idle connection is replaced."),
    cfg.IntOpt("busy_timeout", default=10, min=1,
               help="SQLite: seconds to wait for another process's write."),
    cfg.IntOpt("max_retries", default=5, min=0,
               help="How often a transaction is tried again after a deadlock or a lost "
                    "connection."),
]
GROUP = "database"

# MySQL 1205 lock wait, 1213 deadlock, 1020 record changed; 2006/2013/2055 and 1927 connection gone
MYSQL_TRANSIENT = frozenset({1020, 1205, 1213, 1927, 2003, 2006, 2013, 2055})
POSTGRESQL_TRANSIENT = frozenset({"40001", "40P01", "55P03", "57P01", "57P02", "57P03"})


def register_options(conf: cfg.ConfigOpts) -> None:
    """Declare this module's options; twice is harmless."""
    conf.register_opts(OPTIONS, GROUP)


class Database:
    """A connection pool to the registry's database.

    Transactions are short and hold nothing but SQL: in a green-threaded process a transaction
    that waited for anything else would block the others for good.
    """

    def __init__(self, url: str, *, pool_size: int = 5, max_overflow: int = 20,
                 pool_timeout: int = 30, recycle: int = 3600, busy_timeout: int = 10,
                 max_retries: int = 5) -> None:
        self.max_retries = max_retries
        self.engine = _make_engine(url, pool_size, max_overflow, pool_timeout, recycle,
                                   busy_timeout)

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Database:
        """The database that ``[database]`` of `conf` names."""
        register_options(conf)
        group = conf[GROUP]
        return cls(group.connection, pool_size=group.max_pool_size,
                   max_overflow=group.max_overflow, pool_timeout=group.pool_timeout,
                   recycle=group.connection_recycle_time, busy_timeout=group.busy_timeout,
                   max_retries=group.max_retries)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for SELECTs that see one moment."""
        with self.engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction: committed on leaving, rolled back on any exception.

        :param durable: whether it must survive power loss; if not, nobody waits for a disk.
        """
        with self.engine.connect() as connection:
            connection = connection.execution_options(writes=True, durable=durable)
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def _make_engine(url: str, pool_size: int, max_overflow: int, pool_timeout: int, recycle: int,
                 busy_timeout: int) -> Engine:
    try:
        parsed = sqlalchemy.make_url(url)
    except exc.ArgumentError:
        raise exceptions.ConfigurationError(
            "[database] connection is not an SQLAlchemy URL") from None
    arguments: dict[str, Any] = {
        "pool_size": pool_size, "max_overflow": max_overflow, "pool_timeout": pool_timeout,
        "pool_recycle": recycle}
    if parsed.get_backend_name() == "sqlite":
        arguments["connect_args"] = {"timeout": busy_timeout, "check_same_thread": False}
        arguments["poolclass"] = sqlalchemy.pool.QueuePool
        if parsed.database in (None, "", ":memory:"):
            arguments["poolclass"] = sqlalchemy.pool.StaticPool
            for key in ("pool_size", "max_overflow", "pool_timeout"):
                del arguments[key]
    else:
        arguments["pool_pre_ping"] = True
    if parsed.get_backend_name() in ("mysql", "mariadb"):
        arguments["isolation_level"] = "READ COMMITTED"
    engine = sqlalchemy.create_engine(parsed, **arguments)
    if engine.dialect.name == "sqlite":
        _tune_sqlite(engine)
    return engine


def _tune_sqlite(engine: Engine) -> None:
    """WAL, full sync (a commit that was answered survives power loss), and explicit BEGIN.

    A sync stops all green threads of the process until the disk is done, which is long while
    gigabytes are on their way to it; so what can get lost goes without.
    """

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # no BEGIN of the driver's own
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("writes"):
            connection.exec_driver_sql("BEGIN")
            return
        # Of the connection, not of the transaction, and not to be set within one.
        level = "FULL" if options["durable"] else "NORMAL"
        connection.exec_driver_sql(f"PRAGMA synchronous={level}")
        # A writer takes its lock at once: upgrading a read lock later fails at random.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def is_transient(error: exc.DBAPIError) -> bool:
    """Whether the same transaction may well succeed when tried again."""
    if error.connection_invalidated:
        return True
    original = error.orig
    code = original.args[0] if original is not None and original.args else None
    if isinstance(code, int):
        return code in MYSQL_TRANSIENT
    sqlstate = getattr(original, "pgcode", None)
    if sqlstate:
        return sqlstate in POSTGRESQL_TRANSIENT
    text = str(code)
    return any(phrase in text for phrase in (
        "database is locked", "database table is locked", "server closed the connection",
        "could not connect", "Connection refused"))


def retried(function: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """Run a whole-transaction method again after a deadlock or a lost connection.

    The method's object has a ``database``.  What still fails then is `Unavailable` for lost
    connections; other database errors pass through.
    """

    @functools.wraps(function)
    def wrapper(self: Any, *args: P.args, **kwargs: P.kwargs) -> T:
        attempts = self.database.max_retries + 1
        for attempt in range(1, attempts + 1):
            try:
                return function(self, *args, **kwargs)
            except exc.TimeoutError:
                raise exceptions.Unavailable(
                    "the image registry's database is overloaded, try again") from None
            except exc.DBAPIError as error:
                if not is_transient(error):
                    if isinstance(error, exc.OperationalError):
                        LOG.exception("database error in %s", function.__name__)
                        raise exceptions.Unavailable(
                            "the image registry's database does not answer") from None
                    raise
                LOG.warning("%s: transient database error, attempt %d of %d: %s",
                            function.__name__, attempt, attempts, error.orig)
                if attempt == attempts:
                    raise exceptions.Unavailable(
                        "the image registry's database does not answer") from None
                time.sleep(min(2.0, 0.05 * 2 ** attempt) * (0.5 + random.random() / 2))
        raise exceptions.Unavailable("no attempt was made")  # max_retries is at least 0

    return wrapper
