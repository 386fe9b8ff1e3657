# SPDX-License-Identifier: Apache-2.0
"""Run by alembic, on the connection that :mod:`nova.db.migrations` hands over."""

from alembic import context

from nova.db.volume_models import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata,
    # SQLite changes a table by copying it.
    render_as_batch=True, compare_type=True,
    # Several steps are one transaction where the database can do that.
    transactional_ddl=True, transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
