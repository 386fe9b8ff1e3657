# SPDX-License-Identifier: Apache-2.0
"""Does a slow question to a database stop the other green threads of a daemon?  A program.

    python green_database.py nova|glance URL

It asks for something that takes two seconds in one green thread and counts how often another one
comes to run meanwhile; prints that number.  For SQLite the slow thing is another process's write
lock, held until the other green thread has run often enough: if it could not, nobody would.
"""
import importlib
import sqlite3
import sys

SERVICE, URL = sys.argv[1:]
concurrency = importlib.import_module(f"{SERVICE}.concurrency")
concurrency.patch()

import threading  # noqa: E402  (patched first)
import time  # noqa: E402

from sqlalchemy import text  # noqa: E402

TIMES = 20
SLOW = {"mysql": "SELECT SLEEP(2)", "postgresql": "SELECT pg_sleep(2)"}


def open_database():
    """A function that gives a connection in a transaction that may write."""
    if SERVICE == "nova":
        from nova import db
        database = db.configure(URL)
        return database.engine, lambda: database.writers.begin()
    from glance.registry.db.session import Database
    database = Database(URL)
    return database.engine, database.writing


def main():
    engine, writing = open_database()
    with engine.connect():
        pass        # made before it counts
    lock = None
    if engine.dialect.name == "sqlite":
        lock = sqlite3.connect(engine.url.database, isolation_level=None, check_same_thread=False)
        lock.execute("BEGIN IMMEDIATE")
    ended = threading.Event()

    def slow():
        with writing() as connection:
            connection.execute(text(SLOW.get(engine.dialect.name, "SELECT 1")))
        ended.set()

    thread = threading.Thread(target=slow)
    thread.start()
    ran = 0
    while not ended.is_set():
        time.sleep(0.01)
        if not ended.is_set():
            ran += 1
        if ran == TIMES and lock is not None:
            lock.execute("COMMIT")
            lock = None
    thread.join()
    print(ran)


main()
