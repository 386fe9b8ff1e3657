# SPDX-License-Identifier: Apache-2.0
"""The migrated schema is the models' schema, on every database."""

import threading

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from nova import db
from nova.db import migrations
from nova.db.models import Base


def test_migrated_schema_is_what_the_models_say(empty_db):
    assert migrations.version() is None
    assert migrations.upgrade() == migrations.head()
    with db.engine().connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_upgrade_twice_changes_nothing(any_db):
    assert migrations.upgrade() == migrations.version() == migrations.head()


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
