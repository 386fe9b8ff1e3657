# SPDX-License-Identifier: Apache-2.0
"""A container's database: merging, listing, and what crashes and strangers can do to it."""
import base64
import os
import pickle
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swift.common import db_connection
from swift.common.exceptions import DatabaseConnectionError, LockTimeout
from swift.common.listing import Query, successor
from swift.common.timestamp import Timestamp
from swift.container.backend import ContainerBroker

QUICK = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None,
                 max_examples=30)


def stamp(seconds):
    return Timestamp(seconds).internal


def put(broker, name, when=2, size=1, **more):
    broker.put_object(name, stamp(when), size, "t/p", f"e{size}", **more)


def names(broker, **query):
    return [row[0] for row in broker.list_objects(Query(query.pop("limit", 10000), **query))]


def fresh(broker, number):
    """Another database, for rows that must not be there yet."""
    path = os.path.dirname(broker.db_dir) + f"/{number:032x}"
    os.makedirs(path, exist_ok=True)
    made = ContainerBroker(f"{path}/{number:032x}.db", "a", "c")
    if not made.exists():
        made.initialize(stamp(1), 0)
    return made


def test_a_database_is_made_in_one_transaction(tmp_path):
    """Each transaction is three syncs of the disk, a container has 17 statements."""
    path = tmp_path / "c.db"
    seen = []

    def fill(conn):
        seen.append((conn.in_transaction, path.stat().st_size, os.listdir(tmp_path)))
        conn.execute("INSERT INTO a VALUES (1)")

    db_connection.create(str(path), "CREATE TABLE a (x); CREATE INDEX i ON a (x);", fill)
    assert seen == [(True, 0, ["c.db"])]
    conn = db_connection.connect(str(path))
    assert [row["x"] for row in conn.execute("SELECT x FROM a")] == [1]
    assert conn.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    conn.close()


def test_times_that_are_known_write_nothing(broker):
    stat = broker.stat()
    times = [stat[name] for name in ("created_at", "put_timestamp", "delete_timestamp")]
    before = os.stat(broker.db_file).st_mtime_ns
    broker.merge_timestamps(*times)
    assert os.stat(broker.db_file).st_mtime_ns == before
    broker.merge_timestamps(times[0], times[1], stamp(9))
    assert broker.stat()["status"] == "DELETED"
    broker.merge_timestamps(times[0], stamp(10), times[2])
    assert broker.stat()["status"] == ""


def test_counts_follow_the_rows(broker):
    put(broker, "a", size=5)
    put(broker, "b", size=7)
    put(broker, "a", when=3, size=1)
    broker.delete_object("b", stamp(4))
    stat = broker.stat()
    assert (stat["object_count"], stat["bytes_used"]) == (1, 1)
    assert names(broker) == ["a"] and not broker.empty()


@pytest.mark.parametrize("order", [(2, 3), (3, 2)])
def test_the_newest_row_wins_in_any_order(broker, order):
    for when in order:
        put(broker, "o", when, size=when)
    assert [tuple(row) for row in broker.list_objects(Query(10))] == \
        [("o", stamp(3), 3, "t/p", "e3")]


def test_data_type_and_metadata_have_times_of_their_own(broker):
    put(broker, "o", 2, size=2)
    broker.put_object("o", stamp(2), 2, "new", "e2", 0, 0, stamp(5), stamp(6))
    put(broker, "o", 4, size=4)
    [row] = broker.list_objects(Query(10))
    assert row[2:] == (4, "new", "e4")
    assert row[1] == "0000000004.00000+186a0+186a0"


def test_a_new_content_type_keeps_the_size_of_a_large_object(broker):
    broker.put_object("o", stamp(2), 0, "t/p;swift_bytes=77", "e")
    broker.put_object("o", stamp(2), 0, "new", "e", 0, 0, stamp(5), stamp(5))
    assert broker.list_objects(Query(10))[0][3] == "new;swift_bytes=77"


def test_a_tombstone_stays_against_late_rows(broker):
    broker.delete_object("o", stamp(5))
    put(broker, "o", 4)
    assert names(broker) == []
    broker.reclaim(stamp(6), "0")
    put(broker, "o", 7)
    assert names(broker) == ["o"]


ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 6), st.integers(0, 1),
                          st.integers(0, 1)), max_size=12)


@QUICK
@given(rows=ROWS, number=st.integers(1, 10**9))
def test_hash_is_a_function_of_the_rows_alone(broker, rows, number):
    """Two replicas that got the same rows in any order agree, and say so by their hash."""
    one, two = fresh(broker, 2 * number), fresh(broker, 2 * number + 1)
    unique = {(name, when): (name, when, deleted, policy) for name, when, deleted, policy in rows}
    for target, order in ((one, list(unique.values())), (two, list(unique.values())[::-1])):
        for name, when, deleted, policy in order:
            if deleted:
                target.delete_object(name, stamp(when), policy)
            else:
                put(target, name, when, storage_policy_index=policy)
    assert names(one) == names(two)
    assert one.stat()["hash"] == two.stat()["hash"]
    one.remove_files()
    two.remove_files()


def expected(everything, limit, marker, end_marker, prefix, delimiter, reverse):
    """A listing worked out from the whole list, the slow and simple way."""
    result = []
    for name in sorted(everything, key=str.encode, reverse=reverse):
        low, high = (end_marker, marker) if reverse else (marker, end_marker)
        if (low and name <= low) or (high and name >= high) or not name.startswith(prefix):
            continue
        at = name.find(delimiter, len(prefix)) if delimiter else -1
        if at >= 0:
            name = name[:at + len(delimiter)]
            if name == marker:
                continue
        if name not in result:
            result.append(name)
    return result[:limit]


NAMES = st.text("ab/-", min_size=1, max_size=5)
MAYBE = st.one_of(st.just(""), NAMES)


@QUICK
@given(everything=st.sets(NAMES, max_size=12), limit=st.integers(0, 12), marker=MAYBE,
       end_marker=MAYBE, prefix=MAYBE, delimiter=st.sampled_from(["", "/", "-", "--", "/a"]),
       reverse=st.booleans(), number=st.integers(1, 10**9))
def test_listing_is_what_the_whole_list_would_give(broker, everything, limit, marker, end_marker,
                                                   prefix, delimiter, reverse, number):
    other = fresh(broker, number)
    for name in everything:
        put(other, name)
    query = dict(limit=limit, marker=marker, end_marker=end_marker, prefix=prefix,
                 delimiter=delimiter, reverse=reverse)
    assert names(other, **query) == expected(everything, **query)
    other.remove_files()


def test_a_delimiter_costs_one_look_for_each_group(broker):
    """Ten thousand rows in one group are stepped over, not read."""
    broker.merge_items([{"name": f"dir/{n:05}", "created_at": stamp(2), "size": 1,
                         "content_type": "t", "etag": "e", "deleted": 0} for n in range(10000)])
    put(broker, "zzz")
    steps = []
    broker.read(lambda conn: conn.set_progress_handler(lambda: steps.append(1) and 0, 100))
    try:
        assert names(broker, delimiter="/") == ["dir/", "zzz"]
    finally:
        broker.read(lambda conn: conn.set_progress_handler(None, 0))
    assert len(steps) < 600            # of 100 instructions; all rows would take well over 1000


def test_successor():
    assert successor("a") == "b" and successor("\ud7ff") == "\ue000"
    assert successor("a\U0010ffff") == "b" and successor("\U0010ffff") is None


def test_metadata_newest_wins_and_limits_count_everything(broker):
    broker.update_metadata({"X-Container-Meta-A": ("new", stamp(5))})
    broker.update_metadata({"X-Container-Meta-A": ("old", stamp(4))})
    assert broker.metadata()["X-Container-Meta-A"] == ["new", stamp(5)]

    def refuse(values):
        assert values == {"X-Container-Meta-A": "new", "X-Container-Meta-B": "b"}
        raise ValueError

    with pytest.raises(ValueError):
        broker.update_metadata({"X-Container-Meta-B": ("b", stamp(6))}, refuse)
    assert "X-Container-Meta-B" not in broker.metadata()


def test_delete_and_put_again(broker):
    broker.delete_db(stamp(5))
    assert broker.is_deleted()
    broker.recreate(stamp(6), 0)
    assert not broker.is_deleted()


def test_unreadable_pending_entries_are_skipped(broker, tmp_path):
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {canary}",))

    put(broker, "good")
    with open(broker.pending_file, "ab") as pending:
        for junk in (b"junk", base64.b64encode(pickle.dumps(Evil())),
                     base64.b64encode(pickle.dumps(("short",))), b"\xff\xfe"):
            pending.write(b":" + junk)
    put(broker, "later")
    assert names(broker) == ["good", "later"] and not canary.exists()


def test_bug_rows_merged_but_not_yet_taken_off_do_no_harm(broker):
    """A crash between the transaction and the truncation of the pending file."""
    put(broker, "o", size=3)
    with open(broker.pending_file, "rb") as pending:
        kept = pending.read()
    assert names(broker) == ["o"]
    with open(broker.pending_file, "wb") as pending:
        pending.write(kept)
    stat = broker.stat()
    assert (stat["object_count"], stat["bytes_used"]) == (1, 3)


def test_a_broken_file_goes_to_quarantine(broker):
    db_connection.forget_all()
    with open(broker.db_file, "r+b") as db_file:
        db_file.write(b"x" * 4096)
    with pytest.raises(DatabaseConnectionError):
        broker.stat()
    assert not os.path.exists(broker.db_dir)
    assert os.listdir(broker.db_dir.split("/containers/")[0] + "/quarantined/containers")


def test_bug_a_database_locked_by_another_process_is_waited_for(broker, monkeypatch):
    """Also when a connection is made: its first PRAGMA already wants the lock."""
    put(broker, "o")
    assert names(broker) == ["o"]
    other = sqlite3.connect(broker.db_file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    pauses = []

    def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            other.execute("ROLLBACK")

    monkeypatch.setattr(db_connection, "pause", pause)
    db_connection.forget_all()
    assert broker.stat()["object_count"] == 1 and len(pauses) == 3
    other.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(db_connection, "pause", pauses.append)
    monkeypatch.setattr(db_connection, "BUSY_SECONDS", 0.05)
    with pytest.raises(LockTimeout):
        db_connection.connect_patiently(broker.db_file)
    other.close()


def test_kept_connections_notice_another_file(broker):
    """As when a replicator put a fuller database in place."""
    put(broker, "old")
    assert names(broker) == ["old"]
    other = fresh(broker, 77)
    put(other, "new")
    assert names(other) == ["new"]
    os.replace(other.db_file, broker.db_file)
    assert names(broker) == ["new"]
