# SPDX-License-Identifier: Apache-2.0
"""Alembic's entry: runs revisions on the connection `glance.registry.db.migration` passes in."""

from alembic import context

from glance.registry.db.models import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True,
                  render_as_batch=connection.dialect.name == "sqlite")
with context.begin_transaction():
    context.run_migrations()
