# SPDX-License-Identifier: Apache-2.0
"""Engines and transactions: SQLite, MariaDB/MySQL and PostgreSQL behind two context managers.

    @db.retry
    def get(service_id: str) -> Service:
        with db.reader() as session:
            return session.get_one(Service, service_id)

A transaction is as short as one function, never spans a call to anything else that waits, and
never nests.  What comes out of it are detached objects whose columns stay readable.  On SQLite a
writer takes the database's write lock at once (``BEGIN IMMEDIATE``), so no transaction fails half
way because another one wrote in between; and as SQLite's own waiting would stop every green
thread of the process, waiting is done here: writers of one process queue at a lock, other
processes' writers are waited for by sleeping.
"""

import contextlib
import contextvars
import functools
import logging
import os
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar, cast

from oslo_config import cfg
from sqlalchemy import (
    URL,
    Connection,
    CursorResult,
    Delete,
    Engine,
    PoolResetState,
    Update,
    create_engine,
    event,
    exc,
    make_url,
)
from sqlalchemy.orm import Session, sessionmaker

from nova import faultpoint
from nova.exception import DatabaseUnavailable

LOG = logging.getLogger(__name__)

OPTS = [
    cfg.StrOpt("connection", secret=True,
               help="SQLAlchemy URL of the database: sqlite:////path/to/file, "
                    "mysql+pymysql://user:password@host/name or "
                    "postgresql+psycopg2://user:password@host/name."),
    cfg.IntOpt("max_pool_size", default=10, min=1,
               help="Connections kept open by one process."),
    cfg.IntOpt("max_overflow", default=30, min=0,
               help="Connections one process may open beyond max_pool_size for a while."),
    cfg.IntOpt("pool_timeout", default=30, min=1,
               help="Seconds to wait for a free connection of the pool."),
    cfg.IntOpt("connect_timeout", default=10, min=1,
               help="Seconds to wait for the database server to accept a connection."),
    cfg.IntOpt("read_timeout", default=60, min=1,
               help="Seconds to wait for an answer of the database server."),
    cfg.IntOpt("lock_timeout", default=10, min=1,
               help="Seconds a statement waits for a lock another transaction holds."),
    cfg.IntOpt("max_retries", default=20, min=0,
               help="How often a transaction that lost a deadlock is tried again."),
    cfg.IntOpt("reconnect_timeout", default=30, min=0,
               help="Seconds during which a transaction is tried again while the database "
                    "server cannot be reached."),
]
CONF = cfg.CONF
CONF.register_opts(OPTS, "database")

P = ParamSpec("P")
T = TypeVar("T")

_DEADLOCK_MYSQL = {1205, 1213, 1020}   # lock wait timeout, deadlock, record has changed
_DEADLOCK_POSTGRESQL = {"40001", "40P01", "55P03"}   # serialization, deadlock, lock timeout
_GONE_MYSQL = {1040, 1053, 2002, 2003, 2006, 2013, 2055}
_GONE_POSTGRESQL = ("57P", "08", "53300")   # shutdown and start-up, connection, too many

_in_writer: contextvars.ContextVar[bool] = contextvars.ContextVar("in_writer", default=False)
SERVER_STATUS_IN_TRANS = 1       # of the MySQL protocol

_again: contextvars.ContextVar[bool] = contextvars.ContextVar("again", default=False)
_deed: contextvars.ContextVar[str] = contextvars.ContextVar("deed", default="transaction")


class Database:
    """One engine with its two kinds of transactions.  Made once a process by :func:`configure`."""

    def __init__(self, url: str | URL) -> None:
        self.url = make_url(url)
        self.engine = _make_engine(self.url)
        # Only SQLite has one writer at a time; elsewhere rows have locks of their own.
        self.write_lock: Any = (
            threading.Lock() if self.url.get_backend_name() == "sqlite"
            else contextlib.nullcontext())
        self.readers = sessionmaker(self.engine, expire_on_commit=False, autoflush=False)
        self.writers = sessionmaker(
            self.engine.execution_options(nova_writes=True), expire_on_commit=False)


_database: Database | None = None


def configure(url: str | URL | None = None) -> Database:
    """Use the database at ``url`` (default: ``[database] connection``) from now on.

    Connections to an earlier one are closed.  Nothing is connected to yet.  Raises ValueError
    when there is no URL or the URL is of a kind that cannot work.
    """
    global _database
    url = url or CONF.database.connection
    if not url:
        raise ValueError("[database] connection is not set")
    if _database is not None:
        _database.engine.dispose()
    _database = Database(url)
    return _database


def database() -> Database:
    """Return the database in use, configured from the options when nobody has done it yet."""
    return _database or configure()


def engine() -> Engine:
    """Return the engine in use, for migrations and tests."""
    return database().engine


@contextlib.contextmanager
def reader() -> Iterator[Session]:
    """Open a transaction that only reads; what it changed in objects is thrown away."""
    with database().readers() as session:
        yield session


@contextlib.contextmanager
def writer() -> Iterator[Session]:
    """Open a transaction that may write; committed at the end, rolled back on any exception.

    RuntimeError when the caller already is in one: transactions do not nest.
    """
    if _in_writer.get():
        raise RuntimeError("writer() inside writer(): transactions do not nest")
    current = database()
    with current.write_lock:
        token = _in_writer.set(True)
        try:
            with current.writers.begin() as session:
                yield session
                faultpoint.reach(f"{_deed.get()}:before")
            faultpoint.reach(f"{_deed.get()}:after")
        finally:
            _in_writer.reset(token)


def affected(session: Session, statement: Update | Delete) -> int:
    """Run an UPDATE or DELETE as it is and return how many rows its condition met.

    Objects the session has loaded before do not notice.
    """
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount


def retry(function: Callable[P, T]) -> Callable[P, T]:
    """Run a function again that lost a deadlock or its database connection.

    The function opens its transaction itself and must bear to be run twice, also when the first
    run's commit was done and only its answer got lost: ids are made by the caller or conflict.
    Deadlocks are tried again ``max_retries`` times at growing, random distances; a lost database
    for ``reconnect_timeout`` seconds.  Then :class:`nova.exception.DatabaseUnavailable`.
    Inside a caller's own writer() nothing is retried here: the whole transaction is lost.
    """
    name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        deadlocks, give_up_at, pause, again = 0, None, 0.02, False
        while True:
            token = _again.set(again)
            deed = _deed.set(name)
            try:
                return function(*args, **kwargs)
            except (exc.DBAPIError, exc.TimeoutError) as error:
                if _in_writer.get():
                    raise
                if is_deadlock(error):
                    deadlocks += 1
                    if deadlocks > CONF.database.max_retries:
                        raise DatabaseUnavailable(reason="too many deadlocks") from error
                elif is_disconnect(error):
                    now = time.monotonic()
                    give_up_at = give_up_at or now + CONF.database.reconnect_timeout
                    if now >= give_up_at:
                        LOG.error("Database cannot be reached: %s", type(error.__cause__).__name__)
                        raise DatabaseUnavailable(reason="no connection") from error
                else:
                    raise
                LOG.debug("%s: again after %s", function.__qualname__, type(error).__name__)
            finally:
                _deed.reset(deed)
                _again.reset(token)
            again = True
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, 1.0)
    return wrapper


def again() -> bool:
    """Tell whether :func:`retry` runs the calling function another time.

    Then what it is to make may be there: made by a try whose commit was done and whose answer got
    lost.  A create looks for it before it counts, let alone adds, anything.
    """
    return _again.get()


def deed(name: str) -> None:
    """Say what the transaction that begins now does: see :mod:`nova.faultpoint`."""
    _deed.set(name)


def is_deadlock(error: BaseException) -> bool:
    """Tell whether a transaction failed because of another one and may succeed if run again."""
    origin = getattr(error, "orig", None)
    if isinstance(origin, sqlite3.OperationalError):
        return getattr(origin, "sqlite_errorcode", 0) & 0xFF in (
            sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    if (state := getattr(origin, "pgcode", None)) is not None:
        return state in _DEADLOCK_POSTGRESQL
    return bool(origin is not None and origin.args and origin.args[0] in _DEADLOCK_MYSQL)


def is_disconnect(error: BaseException) -> bool:
    """Tell whether a statement failed because the database server is away or too busy."""
    if isinstance(error, exc.TimeoutError):     # of the pool
        return True
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    origin = getattr(error, "orig", None)
    if origin is None or isinstance(origin, sqlite3.Error):
        return False
    if (state := getattr(origin, "pgcode", None)) is not None:
        return str(state).startswith(_GONE_POSTGRESQL)
    if type(origin).__module__.startswith("psycopg2"):
        # A connection that could not be made carries no code at all.
        return isinstance(error, exc.OperationalError)
    return bool(origin.args and origin.args[0] in _GONE_MYSQL)


def _make_engine(url: URL) -> Engine:
    backend = url.get_backend_name()
    conf = CONF.database
    options: dict[str, Any] = {
        # Values of columns - user data, keys - are nothing for a log.
        "hide_parameters": True, "pool_size": conf.max_pool_size, "max_overflow": conf.max_overflow,
        "pool_timeout": conf.pool_timeout}
    if backend == "sqlite":
        if not url.database or url.database == ":memory:" or "mode=memory" in str(url):
            raise ValueError("SQLite in memory is one connection's alone; use a file")
        if not os.path.exists(url.database):
            # For its owner alone; the files beside it inherit that.
            os.close(os.open(url.database, os.O_CREAT | os.O_WRONLY, 0o600))
        # A connection is used by one thread at a time, though not always by the same one.
        made = create_engine(url, connect_args={"check_same_thread": False, "timeout": 0},
                             **options)
        event.listen(made, "connect", _sqlite_connect)
        event.listen(made, "begin", _sqlite_begin)
        return made
    if backend in ("mysql", "mariadb"):
        if "charset" not in url.query:
            url = url.update_query_dict({"charset": "utf8mb4"})
        options["isolation_level"] = "READ COMMITTED"
        options["connect_args"] = {
            "connect_timeout": conf.connect_timeout, "read_timeout": conf.read_timeout,
            "write_timeout": conf.read_timeout,
            "init_command": f"SET SESSION innodb_lock_wait_timeout={conf.lock_timeout}"}
        made = create_engine(url, pool_recycle=3600, pool_reset_on_return=None, **options)
        event.listen(made, "reset", _mysql_reset)
        return made
    if backend == "postgresql":
        if "eventlet" in sys.modules:       # small tools do without it
            from nova import concurrency
            concurrency.green_postgresql()
        options["connect_args"] = {
            "connect_timeout": conf.connect_timeout,
            "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
            "options": f"-c lock_timeout={conf.lock_timeout}s "
                       f"-c statement_timeout={conf.read_timeout}s"}
        return create_engine(url, **options)
    raise ValueError(f"[database] connection: {backend} is not supported")


def _sqlite_connect(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver's own idea of when a transaction begins is switched off: _sqlite_begin says it.
    connection.isolation_level = None
    cursor = connection.cursor()
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        _wait_for_sqlite(lambda: cursor.execute("PRAGMA journal_mode = WAL"))
    # With WAL, NORMAL survives any death of a process; a power cut may cost the last commits.
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA cache_size = -2000")
    cursor.close()


def _mysql_reset(connection: Any, _record: Any, state: PoolResetState) -> None:
    """Roll back what is open when a connection comes back to the pool.

    Nearly always nothing is, and this driver would ask the server all the same: of seven round
    trips for a read and a transition two were that.
    """
    # The last answer of the server says whether it is in a transaction.
    if not state.terminate_only and connection.server_status & SERVER_STATUS_IN_TRANS:
        connection.rollback()


def _sqlite_begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("nova_writes"):
        _wait_for_sqlite(lambda: connection.exec_driver_sql("BEGIN IMMEDIATE"),
                         options.get("nova_patience"))
    else:
        connection.exec_driver_sql("BEGIN")


def _wait_for_sqlite(attempt: Callable[[], object], patience: float | None = None) -> None:
    """Try until other processes' write transactions let us, at most so many seconds, or
    ``lock_timeout``."""
    give_up_at = time.monotonic() + (patience or CONF.database.lock_timeout)
    pause = 0.002
    while True:
        try:
            attempt()
            return
        except (sqlite3.OperationalError, exc.OperationalError) as error:
            busy = error if isinstance(error, sqlite3.Error) else error.orig
            if (getattr(busy, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY
                    or time.monotonic() > give_up_at):
                raise
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(pause * 2, 0.05)
