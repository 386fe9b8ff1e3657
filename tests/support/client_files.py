# SPDX-License-Identifier: Apache-2.0
"""Files that clients of the object store carry to and fro in a test of a day's work."""

import filecmp
import hashlib

BIG = 22 << 20          # more than the size from which clients send parts


def fill(folder):
    """Make files of several sizes and odd names in a folder that is not there yet."""
    (folder / "sub folder").mkdir(parents=True)
    for name, size in (("small", 10), ("empty", 0), ("sub folder/ünï +%&code", 100_000),
                       ("big", BIG)):
        data = hashlib.sha256(name.encode()).digest() * (size // 32 + 1)
        (folder / name).write_bytes(data[:size])
    return folder


def names(tree):
    """The paths of all files below a folder, sorted."""
    return sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file())


def same(left, right):
    """Whether two trees hold the same files."""
    assert names(left) == names(right)
    return all(filecmp.cmp(left / name, right / name, shallow=False) for name in names(left))
