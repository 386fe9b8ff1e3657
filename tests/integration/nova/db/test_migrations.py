# SPDX-License-Identifier: Apache-2.0
"""The migrated schema is the models' schema, on every database."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, MetaData, Table, inspect

from nova import db
from nova.db import instances, migrations, schema
from nova.db.models import utcnow
from nova.db.volume_models import Base


def test_migrated_schema_is_what_the_models_say(empty_db):
    assert migrations.version() is None
    assert migrations.upgrade() == migrations.head()
    with db.engine().connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_upgrade_twice_changes_nothing(any_db):
    assert migrations.upgrade() == migrations.version() == migrations.head()


def test_rows_of_the_first_release_survive_every_step_since(empty_db):
    """Up from 0001 with a row in it: the row is there, and new code reads it."""
    migrations.upgrade("0001")
    with db.engine().begin() as connection:
        old = [column for column in Base.metadata.tables["instances"].columns
               if column.name in {entry["name"] for entry in
                                  inspect(connection).get_columns("instances")}]
        values = {"id": "i", "project_id": "p", "user_id": "u", "display_name": "n",
                  "hostname": "n", "reservation_id": "r", "vm_state": "active",
                  "desired_state": "active", "flavor_id": "1", "flavor_name": "f", "vcpus": 1,
                  "memory_mb": 1, "root_gb": 1, "created_at": utcnow()}
        zeros = {column.name: [] if column.type.__class__.__name__ == "JSON" else 0
                 for column in old if not column.nullable and column.name not in values}
        table = Table("instances", MetaData(), *(Column(c.name, c.type) for c in old))
        connection.execute(table.insert().values({**zeros, **values}))
    with pytest.raises(schema.WrongSchema, match="nova-manage db sync"):
        schema.check()
    migrations.upgrade()
    schema.check()
    assert instances.get("i").display_name == "n"


def test_two_upgrades_at_once_follow_each_other(empty_db):
    failures = []

    def upgrade():
        try:
            migrations.upgrade()
        except Exception as error:      # reported by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert migrations.version() == migrations.head()
