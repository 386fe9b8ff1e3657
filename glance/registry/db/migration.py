# SPDX-License-Identifier: Apache-2.0
"""Bringing a database to this release's schema, for glance-manage and for tests."""

from __future__ import annotations

import pathlib

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from glance.registry.db.models import Base
from glance.registry.db.session import Database


def _config(connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location",
                           str(pathlib.Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def sync(database: Database, revision: str = "head") -> None:
    """Upgrade to `revision`; nothing happens when the database is there already."""
    with database.engine.connect() as connection:
        command.upgrade(_config(connection), revision)
        connection.commit()


def version(database: Database) -> str | None:
    """The revision the database is at, None when it has no tables yet."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def differences(database: Database) -> list[object]:
    """What the models have and the database has not, or the other way round."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, Base.metadata))
