# SPDX-License-Identifier: Apache-2.0
"""The SQLite registry: migrations, durability, two writers at once, glance-manage."""

import threading
import uuid

import pytest

from glance import exceptions
from glance.cmd import manage
from glance.context import service_context
from glance.registry.client.sql import SqlClient
from glance.registry.db import migration
from glance.registry.db.revision import HEAD
from glance.registry.db.session import Database, retried

SERVICE = service_context()


@pytest.fixture
def database(database_url):
    database = Database(database_url)
    yield database
    database.close()


def values(**changes):
    return {"id": str(uuid.uuid4()), "status": "queued", "visibility": "shared", "owner": "alpha",
            "min_disk": 0, "min_ram": 0, "protected": False, "os_hidden": False, **changes}


def test_migrations_arrive_at_the_models(database):
    assert migration.version(database) == HEAD
    assert migration.differences(database) == []


def test_a_database_of_another_release_is_refused(tmp_path):
    empty = Database(f"sqlite:///{tmp_path}/empty.sqlite")
    with pytest.raises(exceptions.ConfigurationError, match="revision None.*db sync"):
        SqlClient(empty).check()
    empty.close()


def test_a_database_that_cannot_be_opened(tmp_path):
    nowhere = Database(f"sqlite:///{tmp_path}/no/such/folder/x.sqlite")
    with pytest.raises(exceptions.Unavailable, match="connection: the database does not answer"):
        SqlClient(nowhere).check()
    with pytest.raises(exceptions.ConfigurationError, match="connection"):
        Database("not a url")


def test_commits_are_durable(database):
    """P2: write-ahead log, synced at each commit."""
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_sign_of_life_waits_for_no_disk(database):
    """All that comes after it on the same connection does."""
    levels = []
    for durable in (True, False, True):
        with database.writing(durable=durable) as connection:
            levels.append(connection.exec_driver_sql("PRAGMA synchronous").scalar())
    assert levels == [2, 1, 2]


def test_many_writers_at_once(database_url):
    """As from several processes: each with connections of its own."""
    failures = []

    def work():
        database = Database(database_url)
        client = SqlClient(database)
        try:
            for _ in range(10):
                image = client.create_image(SERVICE, values(properties={"a": "1"}))
                client.update_image(SERVICE, image["id"], {"name": "x"}, version=1)
        except exceptions.GlanceError as error:
            failures.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    database = Database(database_url)
    assert SqlClient(database).usage(SERVICE, "alpha").images == 60
    database.close()


def test_only_transient_errors_are_tried_again(database):
    import sqlalchemy.exc as exc

    class Client:
        calls = 0

        def __init__(self):
            self.database = database

        @retried
        def fail(self, text, times):
            self.calls += 1
            if self.calls <= times:
                raise exc.OperationalError("x", {}, Exception(text))
            return "done"

    client = Client()
    assert client.fail("database is locked", 2) == "done"
    assert client.calls == 3
    for text, times, calls in (("database is locked", 99, database.max_retries + 1),
                               ("no such table: images", 99, 1)):
        client = Client()
        with pytest.raises(exceptions.Unavailable) as caught:
            client.fail(text, times)
        assert client.calls == calls
        assert text not in caught.value.message


def test_manage(tmp_path, capsys, monkeypatch):
    # the logging of the test process is not the command's to set up
    monkeypatch.setattr("oslo_log.log.setup", lambda *_args: None)
    monkeypatch.setattr("logging.captureWarnings", lambda _on: None)
    config = tmp_path / "glance-api.conf"
    config.write_text(
        f"[DEFAULT]\nstate_path = {tmp_path}/state\n"
        f"[database]\nconnection = sqlite:///{tmp_path}/x.sqlite\n"
        f"[file]\nfilesystem_store_datadir = {tmp_path}/images\n")

    def run(*arguments):
        status = manage.main(["--config-file", str(config), *arguments])
        captured = capsys.readouterr()
        return status, captured.out.strip(), captured.err.strip()

    assert run("db", "version") == (0, "empty", "")
    status, _, errors = run("db", "check")
    assert status == 1
    assert "db sync" in errors
    assert run("db", "sync") == (0, f"empty -> {HEAD}", "")
    assert run("db_sync") == (0, f"{HEAD} -> {HEAD}", "")
    assert run("db", "check")[0] == 0
    assert run("db", "load_metadefs") == (0, "3 namespace(s) loaded", "")
    assert run("db", "load_metadefs") == (0, "0 namespace(s) loaded", "")
    assert run("db", "export_metadefs", str(tmp_path / "written"))[1] == "3 namespace(s) written"
    assert run("db", "unload_metadefs")[1] == "3 namespace(s) removed"
    assert run("db", "load_metadefs", str(tmp_path / "written"))[1] == "3 namespace(s) loaded"
    assert run("db", "load_metadefs", "--replace")[1] == "3 namespace(s) loaded"
    (tmp_path / "written/bad.json").write_text('{"namespace": 5}')
    assert run("db", "load_metadefs", str(tmp_path / "written"))[0] == 1
    (tmp_path / "images/.partial").mkdir(parents=True)
    assert run("audit") == (0, "0 finding(s)", "")
    stray = str(uuid.uuid4())
    (tmp_path / "images" / stray).write_bytes(b"x")
    status, out, _ = run("audit")
    assert status == 1
    assert stray in out
