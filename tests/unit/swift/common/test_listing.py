# SPDX-License-Identifier: Apache-2.0
"""What a listing costs: the rows it reads to step over what a delimiter folds."""
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
