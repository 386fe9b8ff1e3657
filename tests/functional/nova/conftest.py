# SPDX-License-Identifier: Apache-2.0
"""What nova's functional tests share."""

import pytest
from oslo_config import cfg

from nova import db, notifications
from nova.db import changes
from nova.db import session as db_session
from nova.db.volume_models import Base


@pytest.fixture
def nova_db(tmp_path, monkeypatch):
    """An empty database of nova in a file of the test's own; returns its URL."""
    url = f"sqlite:///{tmp_path}/nova.db"
    db.configure(url)
    Base.metadata.create_all(db.engine())
    yield url
    db.engine().dispose()
    monkeypatch.setattr(db_session, "_database", None)


@pytest.fixture
def told(monkeypatch):
    """Every notification's envelope, as a driver gets it."""
    found = []
    cfg.CONF.set_override("drivers", ["log"], "notifications")
    monkeypatch.setitem(notifications._DRIVERS, "log", found.append)
    notifications.set_up(True)
    yield found
    changes.watch(None)
    cfg.CONF.clear_override("drivers", "notifications")
