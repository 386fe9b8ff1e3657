# SPDX-License-Identifier: Apache-2.0
"""The schema, step by step: up from an empty database and from every earlier release.

    from nova.db import migrations
    migrations.upgrade()

A new step: ``nova-manage db revision`` is not a thing - copy the newest file of ``versions``,
give it the next number, name its forerunner in ``down_revision``, and let the test that compares
models with the migrated schema say what is missing.
"""

import contextlib
import io
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from nova.db import session as db_session

SQLITE_LOCK_SECONDS = 600     # in which others' upgrades end, which may be long ones


def _config(connection: Connection | None = None) -> Config:
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def upgrade(revision: str = "head") -> str:
    """Bring the configured database up to a revision; return where it is then.

    Two that start at once follow each other: the second finds nothing left to do.
    """
    engine = db_session.engine()
    with engine.connect() as connection, _alone(connection):
        # A connection of its own runs the steps; the first one only holds the lock.
        if engine.dialect.name == "sqlite":
            command.upgrade(_config(connection), revision)
            connection.commit()
        else:
            with engine.begin() as worker:
                command.upgrade(_config(worker), revision)
    return version() or "nothing"


def version() -> str | None:
    """Return the revision the configured database is at; None for one never migrated."""
    with db_session.engine().connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """Return the newest revision this code has."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


@contextlib.contextmanager
def _alone(connection: Connection):
    """Hold the one lock of migrations in this database."""
    dialect = connection.dialect.name
    if dialect == "sqlite":
        # The file's write lock, taken before anything is looked at.
        connection = connection.execution_options(
            nova_writes=True, nova_patience=SQLITE_LOCK_SECONDS)
        connection.begin()
        yield
    elif dialect == "postgresql":
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("SELECT pg_advisory_lock(8774)")
        try:
            yield
        finally:
            connection.exec_driver_sql("SELECT pg_advisory_unlock(8774)")
            connection.invalidate()     # its time limit is no longer the pool's
    else:
        connection.exec_driver_sql("SELECT GET_LOCK(CONCAT(DATABASE(), '.nova'), 50)")
        try:
            yield
        finally:
            connection.exec_driver_sql("SELECT RELEASE_LOCK(CONCAT(DATABASE(), '.nova'))")
