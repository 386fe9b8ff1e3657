# SPDX-License-Identifier: Apache-2.0
"""The registry's contract and migrations on the databases of production."""

import importlib.util
import pathlib
import threading

import pytest

from glance import exceptions
from glance.context import service_context
from glance.registry.client.sql import SqlClient
from glance.registry.db import migration
from glance.registry.db.revision import HEAD
from glance.registry.db.session import Database

SERVICE = service_context()
_CONTRACT = (pathlib.Path(__file__).parents[2]
             / "functional/glance/registry/test_client_contract.py")
_spec = importlib.util.spec_from_file_location("glance_registry_contract", _CONTRACT)
contract = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(contract)
# the very tests that SQLite and REST pass
globals().update({name: value for name, value in vars(contract).items()
                  if name.startswith("test_")})


@pytest.fixture(params=["mysql_url", "postgresql_url"])
def database(request):
    """An empty database of each kind."""
    database = Database(request.getfixturevalue(request.param))
    yield database
    database.close()


@pytest.fixture
def registry(database):
    """A registry client over a database at this release's schema."""
    migration.sync(database)
    return SqlClient(database)


def test_migrations_arrive_at_the_models(database):
    assert migration.version(database) is None
    with pytest.raises(exceptions.ConfigurationError, match="db sync"):
        SqlClient(database).check()
    migration.sync(database)
    migration.sync(database)
    assert migration.version(database) == HEAD
    assert migration.differences(database) == []
    SqlClient(database).check()


def test_many_uploads_to_one_image_one_wins(registry):
    image = contract.new(registry)
    results = []

    def begin(token):
        try:
            registry.update_image(SERVICE, image["id"], {
                "status": "saving", "upload_token": token}, from_status=("queued",))
            results.append(token)
        except exceptions.Conflict:
            pass

    threads = [threading.Thread(target=begin, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == 1
    [found] = registry.list_transient(SERVICE)
    assert found["upload_token"] == results[0]


def test_names_that_differ_in_case_or_accent_are_different(registry):
    image = contract.new(registry, tags=["a", "A", "á"], properties={"x": "1", "X": "2"})
    assert set(registry.get_image(SERVICE, image["id"])["tags"]) == {"a", "A", "á"}
    assert image["properties"] == {"x": "1", "X": "2"}
