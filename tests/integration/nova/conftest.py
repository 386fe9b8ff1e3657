# SPDX-License-Identifier: Apache-2.0
"""Real databases for nova's integration tests, each test on one of its own of each kind."""

import pytest

from nova import db
from nova.db import migrations
from nova.db import session as db_session


@pytest.fixture(params=["sqlite", "mysql", "postgresql"])
def empty_db(request, tmp_path, monkeypatch):
    """An empty database, configured as nova's; returns its URL."""
    url = (f"sqlite:///{tmp_path}/nova.db" if request.param == "sqlite"
           else request.getfixturevalue(f"{request.param}_url"))
    db.configure(url)
    yield url
    db.engine().dispose()
    monkeypatch.setattr(db_session, "_database", None)


@pytest.fixture
def any_db(empty_db):
    """A migrated database of each kind."""
    migrations.upgrade()
    return empty_db
