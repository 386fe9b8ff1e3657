# SPDX-License-Identifier: Apache-2.0
"""Tools of ours and of real Swift, told the same on the same files, tell the same facts."""
import os
import shutil
import subprocess
import sys

import pytest
from real_swift import real_command

from swift.common.shards import ShardRange, State
from swift.container.backend import ContainerBroker

pytestmark = [pytest.mark.whole, pytest.mark.timeout(900)]      # some sixty processes a test
TIMEOUT = 120
DEVICES = ("r1z1-10.0.0.1:6200/sda_one", "100", "r1z1-10.0.0.1:6200/sdb_two", "100",
           "r1z2-10.0.0.2:6200R10.1.0.2:6300/sda_one", "100", "r2z1-10.0.0.3:6201/sda", "100",
           "r2z1-10.0.0.4:6201/sdb_a b", "50", "r2z2-[fe80::01]:6200/sdc", "80")
# our module -> theirs, where they differ
THEIRS = {"ringbuilder": "ringbuilder:error_handling_main", "container_info": "info:container_main"}


class Sides:
    """A folder of each side with the same files, in which commands are run."""

    def __init__(self, folder):
        self.folder = folder

    def start(self, files):
        for side in ("ours", "real"):
            shutil.copytree(files, self.folder / side)
            (self.folder / side / "swift.conf").write_text(
                "[swift-hash]\nswift_hash_path_suffix = s\n")

    def run(self, side, module, *words):
        """(exit code, standard output)"""
        command = [sys.executable, "-m", f"swift.cli.{module}", *words] if side == "ours" else \
            real_command(f"swift.cli.{THEIRS.get(module, module)}", *words)
        done = subprocess.run(
            command, cwd=self.folder / side, capture_output=True, text=True, timeout=TIMEOUT,
            stdin=subprocess.DEVNULL, check=False,
            env=dict(os.environ, SWIFT_DIR=str(self.folder / side), PYTHONWARNINGS="ignore"))
        return done.returncode, done.stdout

    def both(self, module, *words):
        """Our answer and theirs."""
        return [self.run(side, module, *words) for side in ("ours", "real")]


def ring(sides, *words):
    return sides.both("ringbuilder", *words)


@pytest.fixture
def rings(tmp_path):
    """A builder that the real tool made, of devices that cannot be spread well."""
    files = tmp_path / "files"
    files.mkdir()
    sides = Sides(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "real/swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = s\n")
    for words in (("create", "6", "3", "1"), ("add", *DEVICES), ("rebalance", "--seed", "1")):
        code, said = sides.run("real", "ringbuilder", "object.builder", *words)
        assert code in (0, 1), said
    shutil.copytree(tmp_path / "real", files, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "real")
    sides.start(files)
    return sides


SEARCHES = [("d0",), ("r2",), ("r1z1",), ("10.0.0.1",), (":6201",), ("R10.1.0.2",), ("R:6300",),
            ("[FE80::1]",), ("/sda",), ("_on",), ("_",), ("-r", "1", "-z", "2"),
            ("-d", "sda", "-m", "one"), ("-w", "50"), ("--ip", "[fe80::1]"), ("-u", "5"),
            ("z9",), ("z1r1",), ("nonsense!",)]
REFUSED = [("add", "r1z1-10.0.0.1:6200/sda", "1"), ("add", "z1r1-10.0.0.9:6200/a", "1"),
           ("add", "r1z1-10.0.0.9:6200R10.0.0.9/a", "1"), ("add", "r1z1-name:6200/a", "1"),
           ("add", "d9r1z1-10.0.0.9:6200/a", "1"), ("set_weight", "z9", "1"), ("nonsense",),
           ("set_weight", "d0"), ("remove",), ("set_info", "d0", "r1"), ("set_replicas", "0"),
           ("set_overload", "x"), ("write_ring", "--dev-id-bytes", "4"), ("create", "33", "3", "1"),
           ("increase_partition_power",), ("finish_increase_partition_power",), ("write_builder",)]
CHANGES = [("add", "z4-10.0.0.9:6200/sdz", "10"), ("set_weight", "d0", "120.5"),
           ("set_weight", "-r", "2", "-z", "1", "70", "--yes"), ("set_info", "d1", "_\"a b\""),
           ("set_info", "-u", "2", "-I", "10.0.0.8", "-Q", "7", "-M", "m"),
           ("set_region", "d3", "3"), ("set_zone", "r3", "9"), ("remove", "d4"), ("remove", "d4"),
           ("set_overload", "10"), ("set_overload", "5%"),
           ("set_min_part_hours", "2"), ("write_ring",),
           ("write_ring", "--format-version", "2"),
           ("write_ring", "--format-version", "2", "--dev-id-bytes", "4"),
           ("prepare_increase_partition_power",), ("rebalance",), ("increase_partition_power",),
           ("write_ring",), ("finish_increase_partition_power",), ("set_replicas", "2.5"),
           ("write_ring",)]


def words_of(table):
    """A table without the widths of its columns."""
    return [line.split() for line in table.splitlines()]


def test_devices_are_found_and_shown_alike(rings):
    for words in SEARCHES:
        ours, real = ring(rings, "object.builder", "search", *words)
        assert ours[0] == real[0], words
        assert ours[0] or ours[1] == real[1], words
    (code, ours), (_, real) = ring(rings, "object.builder", "list_parts", "r1")
    assert code == 0 and sorted(ours.splitlines()) == sorted(real.splitlines())
    for words in ((), ("dispersion", "-v"), ("dispersion", r"r\d+z\d+$", "-v", "--recalculate")):
        (code, ours), (their_code, real) = ring(rings, "object.builder", *words)
        assert code == their_code
        # what the two need for the best dispersion is theirs to say: they place differently
        assert [line for line in words_of(ours) if line[:1] not in (["The"], ["Required"])] == \
            [line for line in words_of(real) if line[:1] not in (["The"], ["Required"])]


def test_what_one_refuses_the_other_does(rings):
    for words in REFUSED:
        ours, real = ring(rings, "object.builder", *words)
        assert ours[0] == real[0] == 2, (words, ours, real)


def test_changes_give_the_same_files(rings):
    for words in CHANGES:
        ours, real = ring(rings, "object.builder", *words)
        assert ours[0] == real[0], (words, ours, real)
        if words[0] == "write_ring":
            assert (rings.folder / "ours/object.ring.gz").read_bytes() == \
                (rings.folder / "real/object.ring.gz").read_bytes(), words
    ours, real = ring(rings, "object.builder")
    without = [[line for line in words_of(text) if line[:1] not in (["The"], ["Ring"])]
               for _, text in (ours, real)]
    assert without[0] == without[1]


@pytest.fixture
def container(tmp_path):
    """A container of twenty objects, some of which only wait in its .pending."""
    files = tmp_path / "files"
    path = files / "sda/containers/1/abc/hash/hash.db"
    broker = ContainerBroker(str(path), "AUTH_a", "c")
    broker.initialize("1700000000.00000", 0)
    for n in range(20):
        broker.put_object(f"o{n:02}", f"17000000{n:02}.00000", 4, "t/p", "e", 0, 0)
        if n == 14:
            broker.commit_pending()
    broker.update_metadata({"X-Container-Meta-A": ("b", "1700000000.00000"),
                            "X-Container-Read": (".r:*", "1700000000.00000")})
    broker.put_object("last", "1700000090.00000", 4, "t/p", "e", 0, 0)
    sides = Sides(tmp_path)
    sides.start(files)
    return sides


DATABASE = "sda/containers/1/abc/hash/hash.db"


def test_shard_ranges_are_found_shown_and_stored_alike(container):
    for words in (("info",), ("find", "5"), ("find", "7", "--minimum-shard-size", "3"),
                  ("find", "7", "--minimum-shard-size", "30"), ("find", "x"), ("enable",),
                  ("show",), ("compact",), ("delete",)):
        ours, real = container.both("manage_shard_ranges", DATABASE, *words)
        assert ours[0] == real[0], words
        if words[0] in ("info", "find", "show"):
            assert ours[1] == real[1], words
    for side in ("ours", "real"):
        code, found = container.run(side, "manage_shard_ranges", DATABASE, "find", "6")
        assert code == 0
        (container.folder / side / "found.json").write_text(found)
    ours, real = container.both("manage_shard_ranges", DATABASE, "replace", "found.json", "-f")
    assert ours[0] == real[0] == 0
    ours, real = container.both("manage_shard_ranges", DATABASE, "show", "--brief")
    assert ours == real and ours[0] == 0
    ours, real = container.both("manage_shard_ranges", DATABASE, "enable")
    assert ours[0] == real[0] == 0
    rows = [_ranges(container.folder / side / DATABASE) for side in ("ours", "real")]
    assert rows[0] == rows[1] and len(rows[0]) == 5
    # and what either has written the other goes on with
    (container.folder / "ours").rename(container.folder / "swap")
    (container.folder / "real").rename(container.folder / "ours")
    (container.folder / "swap").rename(container.folder / "real")
    for words in (("show", "--includes", "o07"), ("find_and_replace", "4", "-f", "--enable")):
        ours, real = container.both("manage_shard_ranges", DATABASE, *words)
        assert ours[0] == real[0] == 0, words
    rows = [_ranges(container.folder / side / DATABASE) for side in ("ours", "real")]
    assert rows[0] == rows[1] and len(rows[0]) == 7


def _ranges(path):
    """The ranges that are there, without what the moment of their making gave them."""
    found = ContainerBroker(str(path), keep=False).shard_ranges()
    own = ContainerBroker(str(path), keep=False).own_range_or_none()
    ranges: list[ShardRange] = [*found, *([own] if own else [])]
    return [(one.lower, one.upper, one.object_count, one.bytes_used, State(one.state).name,
             one.deleted, one.reported, one.tombstones) for one in ranges]


def test_a_database_is_told_of_alike(container):
    told = container.both("container_info", DATABASE, "-s")
    assert [code for code, _ in told] == [0, 0]
    ours, real = (sorted(line for line in text.splitlines() if line) for _, text in told)
    assert ours == real and "  Object Count: 21" in ours
