# SPDX-License-Identifier: Apache-2.0
"""What a listing costs: the rows it reads to step over what a delimiter folds."""
import sqlite3

import pytest

from swift.common.listing import Query, walk

NAMES = [f"d{group:02}/o{number:04}" for group in range(50) for number in range(100)]


class Table:
    """Sorted names; counts rows and looks."""

    def __init__(self, names):
        self.names, self.rows, self.looks = sorted(names), 0, 0

    def fetch(self, where, values, reverse, limit):
        compare = {">=": str.__ge__, ">": str.__gt__, "<": str.__lt__}
        tests = [(compare[part.split()[1]], value)
                 for part, value in zip(where.split(" AND "), values, strict=True) if part]
        found = [(name,) for name in (self.names[::-1] if reverse else self.names)
                 if all(test(name, value) for test, value in tests)][:limit]
        self.rows += len(found)
        self.looks += 1
        return found


@pytest.mark.parametrize("reverse", [False, True])
def test_a_group_costs_a_few_rows_however_many_it_hides(reverse):
    table = Table(NAMES)
    found = walk(table.fetch, Query(10000, delimiter="/", reverse=reverse))
    assert [row[0] for row in found] == sorted({name[:4] for name in NAMES}, reverse=reverse)
    assert table.rows <= 16 * 50 and table.looks <= 51


def test_names_that_are_not_folded_are_read_in_few_looks():
    table = Table(name.replace("/", "-") for name in NAMES)
    found = walk(table.fetch, Query(10000, delimiter="/"))
    assert len(found) == len(NAMES) == table.rows and table.looks <= 8


@pytest.mark.parametrize("query", [
    Query(100, prefix="d25/", marker="d25/o0050"), Query(100, prefix="d", delimiter="/"),
    Query(100, prefix="d", delimiter="/", marker="d25/"),
    Query(100, prefix="d", delimiter="/", reverse=True),
    Query(100, prefix="d", delimiter="/", reverse=True, marker="d30", end_marker="d20"),
    Query(100, path="d25"), Query(100, marker="d25/o0050", end_marker="d26")])
def test_sqlite_reads_only_what_is_listed(query):
    """Between two bounds at one end of a listing SQLite would read all there is, for each group."""
    conn = sqlite3.connect(":memory:")
    conn.execute("CREATE TABLE object (name TEXT, deleted INTEGER)")
    conn.execute("CREATE INDEX ix_object_deleted_name ON object (deleted, name)")
    conn.executemany("INSERT INTO object VALUES (?, 0)", [(name,) for name in NAMES])
    steps = []
    conn.set_progress_handler(lambda: steps.append(1), 10)

    def fetch(where, values, reverse, limit):
        assert where.count("name >") <= 1 and where.count("name <") <= 1
        return conn.execute(
            f"SELECT name FROM object WHERE {where + ' AND ' if where else ''} deleted = 0 ORDER BY"
            f" name {'DESC' if reverse else ''} LIMIT ?", [*values, limit]).fetchall()

    try:
        table = Table(NAMES)
        assert walk(fetch, query) == walk(table.fetch, query) != []
        # some ten steps of SQLite's machine for a row that is read
        assert 10 * len(steps) < 30 * table.looks + 12 * table.rows
    finally:
        conn.close()
