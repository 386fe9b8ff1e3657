# SPDX-License-Identifier: Apache-2.0
"""The registry's contract and migrations on the databases of production."""

import importlib.util
import pathlib
import threading

import pytest
import sqlalchemy as sa

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


def test_locations_of_the_first_release_are_kept(database):
    migration.sync(database, "001_first_tables")
    with database.writing() as connection:
        connection.execute(sa.text(
            "INSERT INTO images (id, status, visibility, min_disk, min_ram, protected, os_hidden, "
            "created_at, updated_at, deleted, version) VALUES ('i', 'active', 'private', 0, 0, "
            "false, false, '2020-01-01', '2020-01-01', false, 1)"))
        for store in ("b", "a"):
            connection.execute(sa.text(
                "INSERT INTO image_locations (image_id, store, url, crc32, created_at) VALUES "
                f"('i', '{store}', 'file:///{store}', 7, '2020-01-01')"))
    migration.sync(database)
    assert migration.differences(database) == []
    assert SqlClient(database).get_image(SERVICE, "i")["locations"] == [
        {"store": store, "url": f"file:///{store}", "crc32": 7, "metadata": {}}
        for store in ("a", "b")]


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


def cut_all_connections(database):
    """What a restart of the database server does to everybody connected."""
    import sqlalchemy

    mysql = database.engine.dialect.name in ("mysql", "mariadb")
    killer = sqlalchemy.create_engine(database.engine.url, isolation_level="AUTOCOMMIT",
                                      poolclass=sqlalchemy.pool.NullPool)
    with killer.connect() as connection:
        if mysql:
            own = connection.scalar(sqlalchemy.text("SELECT CONNECTION_ID()"))
            for (number,) in connection.execute(sqlalchemy.text(
                    "SELECT id FROM information_schema.processlist WHERE db = DATABASE() "
                    "AND id != :own"), {"own": own}).all():
                connection.exec_driver_sql(f"KILL {int(number)}")
        else:
            connection.execute(sqlalchemy.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid != pg_backend_pid()"))
    killer.dispose()


def test_a_database_restart_is_not_noticed(registry, database):
    """P5: idle connections that died are replaced, by reads and by writes."""
    image = contract.new(registry)
    cut_all_connections(database)
    assert registry.get_image(SERVICE, image["id"])["version"] == 1
    cut_all_connections(database)
    assert registry.update_image(SERVICE, image["id"], {"name": "y"}, version=1)["name"] == "y"


def test_a_connection_lost_in_mid_transaction_is_tried_again(registry, database, monkeypatch):
    """P5: the whole transaction, once more, from the start."""
    from glance.registry.db import images

    image = contract.new(registry)
    real = images.update
    cut = []

    def update(connection, *args, **kwargs):
        done = real(connection, *args, **kwargs)
        if not cut:
            cut.append(True)
            cut_all_connections(database)
        return done

    monkeypatch.setattr(images, "update", update)
    after = registry.update_image(SERVICE, image["id"], {"name": "y"}, version=1)
    assert (after["name"], after["version"], cut) == ("y", 2, [True])
