# SPDX-License-Identifier: Apache-2.0
"""Databases with nothing to do are not opened until somebody writes to them."""
import os
import time

import pytest

from swift.common.db_files import Idle, files_of, look


@pytest.fixture
def database(tmp_path):
    """A file that was written to a while ago."""
    path = tmp_path / "x.db"
    path.write_bytes(b"x")
    os.utime(path, ns=(0, time.time_ns() - 10_000_000_000))
    return path


def test_what_is_written_to_is_not_idle(database):
    idle = Idle()
    assert not idle.has(str(database))
    idle.note(str(database), look(str(database)))
    idle.begin()
    assert idle.has(str(database))
    idle.begin()
    assert idle.has(str(database))                  # from pass to pass
    database.with_name("x.db.pending").write_bytes(b"row")
    assert not idle.has(str(database))
    idle.note(str(database), look(str(database)))
    idle.begin()
    assert idle.has(str(database))
    database.write_bytes(b"y")
    assert not idle.has(str(database))


def test_what_was_just_written_to_is_read_again(database):
    """A write at the same time would not be seen."""
    idle = Idle()
    database.write_bytes(b"y")
    idle.note(str(database), look(str(database)))
    idle.begin()
    assert not idle.has(str(database))


def test_what_is_gone_is_forgotten(database):
    idle = Idle()
    idle.note(str(database), look(str(database)))
    idle.begin()
    assert idle.has(str(database))
    idle.begin()
    idle.begin()
    assert not idle.has(str(database))


@pytest.fixture
def directory(tmp_path):
    """A database's, in which nothing changed for a while."""
    path = tmp_path / ("a" * 32)
    path.mkdir()
    (path / f"{'a' * 32}.db").touch()
    os.utime(path, ns=(0, time.time_ns() - 10_000_000_000))
    return path


def test_files_that_settled_are_not_listed_again(directory, monkeypatch):
    base = str(directory / f"{'a' * 32}.db")
    listed, listdir = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or listdir(path))
    assert files_of(base) == files_of(base) == [base]
    assert len(listed) == 1
    sharded = directory / f"{'a' * 32}_1234567890.00000.db"
    sharded.touch()
    assert files_of(base) == [base, str(sharded)]
    assert files_of(base) == [base, str(sharded)]
    assert len(listed) == 3                         # it might change again at the same time
    os.unlink(base)
    assert files_of(base) == [str(sharded)]
    os.unlink(sharded)
    assert files_of(base) == []
    directory.rmdir()
    assert files_of(base) == []
