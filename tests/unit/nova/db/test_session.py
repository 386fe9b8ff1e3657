# SPDX-License-Identifier: Apache-2.0
"""Transactions and when they are tried again."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time

import pytest
from sqlalchemy import exc, text

from nova import db
from nova.db import schema, services
from nova.db import session as db_session
from nova.db.models import Service
from nova.exception import DatabaseUnavailable


def a_service(host="h"):
    return Service(host=host, binary="b", topic="t")


def busy_error():
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return exc.OperationalError("UPDATE", {}, error)


def test_writer_commits_at_the_end_and_rolls_back_on_error(nova_db):
    with db.writer() as session:
        session.add(a_service("kept"))
    with pytest.raises(KeyError):
        with db.writer() as session:
            session.add(a_service("lost"))
            session.flush()
            raise KeyError
    assert [row.host for row in services.get_all()] == ["kept"]


def test_reader_keeps_nothing(nova_db):
    with db.reader() as session:
        session.add(a_service())
        session.flush()
    assert services.get_all() == []


def test_transactions_do_not_nest(nova_db):
    with db.writer(), pytest.raises(RuntimeError, match="nest"):
        with db.writer():
            pass
    with db.writer():       # and the lock was given back
        pass


def test_objects_stay_readable_outside(nova_db):
    with db.writer() as session:
        row = a_service()
        session.add(row)
    assert row.host == "h"
    [row] = services.get_all()
    assert row.last_seen_up is None


def test_retry_tries_again_what_may_succeed_and_nothing_else(nova_db, monkeypatch):
    monkeypatch.setattr(db_session.time, "sleep", lambda seconds: None)
    calls = []

    @db.retry
    def flaky(errors):
        calls.append(1)
        if errors:
            raise errors.pop()
        return "done"

    assert flaky([busy_error(), busy_error()]) == "done"
    assert len(calls) == 3
    calls.clear()
    with pytest.raises(exc.IntegrityError):
        flaky([exc.IntegrityError("INSERT", {}, sqlite3.IntegrityError())])
    assert len(calls) == 1
    with pytest.raises(KeyError):
        flaky([KeyError("x")])


def test_retry_gives_up_with_an_error_a_user_may_see(nova_db, monkeypatch):
    monkeypatch.setattr(db_session.time, "sleep", lambda seconds: None)

    @db.retry
    def never():
        raise busy_error()

    with pytest.raises(DatabaseUnavailable) as caught:
        never()
    assert caught.value.status == 503
    assert "locked" not in str(caught.value)


def test_retry_inside_somebodys_transaction_leaves_it_to_him(nova_db):
    calls = []

    @db.retry
    def inner():
        calls.append(1)
        raise busy_error()

    with pytest.raises(exc.OperationalError), db.writer():
        inner()
    assert len(calls) == 1


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "oracle://x/y", ""])
def test_databases_that_cannot_work_are_refused(url, monkeypatch):
    monkeypatch.setattr(db_session, "_database", None)
    with pytest.raises((ValueError, exc.ArgumentError)):
        db.configure(url)


def test_sqlite_is_durable_private_and_keeps_references(nova_db):
    path = db.engine().url.database
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with db.engine().connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1


def test_writers_of_several_threads_follow_each_other(nova_db):
    def add(number):
        with db.writer() as session:
            found = session.query(Service).count()
            time.sleep(0.005)
            session.add(a_service(f"h{number}-{found}"))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = sorted(int(row.host.rpartition("-")[2]) for row in services.get_all())
    assert counts == list(range(20))


def test_writer_of_another_process_is_waited_for(nova_db):
    """SQLite's lock is another process's: we sleep, we do not fail."""
    path = db.engine().url.database
    holder = subprocess.Popen([sys.executable, "-c", f"""
import sqlite3, sys, time
connection = sqlite3.connect({path!r}, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(0.7)
connection.execute("COMMIT")
"""], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        started = time.monotonic()
        with db.writer() as session:
            session.add(a_service())
        assert time.monotonic() - started > 0.3
    finally:
        holder.communicate(timeout=10)


def test_schema_of_another_release_is_refused_with_advice(nova_db):
    with pytest.raises(schema.WrongSchema, match="nova-manage db sync"):
        schema.check()      # made without migrations
    from nova.db import migrations
    with db.engine().begin() as connection:
        for table in ("services", "alembic_version"):
            connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
    assert migrations.head() == schema.HEAD


def test_security_l6_values_of_columns_are_not_in_errors(nova_db):
    """L6: user data and keys in a failing statement do not get into logs."""
    with pytest.raises(exc.DBAPIError) as caught:
        with db.writer() as session:
            session.execute(text("INSERT INTO services (id) VALUES (:secret)"),
                            {"secret": "s3cret-value"})
    assert "s3cret" not in str(caught.value)
