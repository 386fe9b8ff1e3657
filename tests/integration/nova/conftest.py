# SPDX-License-Identifier: Apache-2.0
"""Real databases and brokers for nova's integration tests; some can be killed or cut off."""

import pytest
from private_rabbit import PrivateRabbit
from wire import Wire

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


@pytest.fixture
def private_rabbit(free_port):
    rabbit = PrivateRabbit(free_port(), free_port(), free_port())
    try:
        rabbit.start()
        yield rabbit
    finally:
        rabbit.close()


@pytest.fixture
def wire():
    """A function that puts a Wire before a port."""
    made = []

    def make(port):
        made.append(Wire(port))
        return made[-1]

    yield make
    for one in made:
        one.close()
