# SPDX-License-Identifier: Apache-2.0
"""A container's life with shards: divided, listed, written to, divided further, and small again."""
import os
import sqlite3
import time

from swift.account.reaper import AccountReaper
from swift.container.backend import ContainerBroker
from swift.container.replicator import ContainerReplicator
from swift.container.sharder import ContainerSharder
from swift.obj.updater import ObjectUpdater

NAMES = [f"o{number:03}" for number in range(24)]


def shard(store, state="sharded", passes=8):
    """Sharder passes until all replicas of the container are sharded."""
    for _ in range(passes):
        store.run(ContainerSharder)
        states = {store.ranges(index=index)[1] for index in range(3)}
        if states == {state}:
            return
    raise AssertionError((states, store.ranges()))


def test_a_container_is_divided_and_goes_on(store):
    store.ask("PUT", X_Container_Sysmeta_Sharding="True")
    names = [*NAMES, "dir/a", "dir/b", "dir/c/d", "ü/é"]
    store.fill(names)
    store.drop(["o005"])
    names = sorted(set(names) - {"o005"})
    assert store.listed() == names and store.count() == len(names)
    shard(store)

    ranges, _ = store.ranges()
    assert [one["state"] for one in ranges] == [40] * 4           # active
    assert ranges[0]["lower"] == ranges[-1]["upper"] == ""
    assert all(one["upper"] == two["lower"] for one, two in zip(ranges, ranges[1:], strict=False))
    assert sum(one["object_count"] for one in ranges) == len(names)
    assert {one["name"].partition("/")[0] for one in ranges} == {".shards_a"}
    for path in store.devices.glob("*/containers/*/*/*/*.db"):
        with sqlite3.connect(path) as conn:
            [account] = conn.execute("SELECT account FROM container_info").fetchone()
            if account == "a":
                assert "_" in path.name, "the retiring file is still there"
                assert conn.execute("SELECT count(*) FROM object").fetchone() == (0,)
    check_listings(store, names)

    # Rows go to the shards at once, without the root: what is put is listed.
    store.fill(["dir/z", "zz"])
    store.drop(["o001"])
    names = sorted({*names, "dir/z", "zz"} - {"o001"})
    assert store.listed() == names
    log = store.once("container_sharder", "container")           # shards tell the root
    assert "ERROR" not in log and "Audit" not in log
    assert store.count() == len(names) == store.get_count("a")
    assert store.ask("DELETE")[0] == 409

    # A proxy that knows what it needs asks no root.
    store.remember()
    assert store.listed() == store.listed() == names
    assert store.listed(marker="o003", limit=9, reverse="true") == names[:names.index("o003")][::-1]
    store.fill(["cached"])
    assert "cached" in store.listed()


def check_listings(store, names):
    """All kinds of listings are those of one sorted list."""
    assert store.listed() == names
    assert store.listed(reverse="true") == names[::-1]
    assert store.listed(limit=5) == names[:5]
    middle = names[len(names) // 2]
    for marker in ("", "dir/", "o007", middle, "ü/é", "zzz"):
        after = [name for name in names if name > marker]
        assert store.listed(marker=marker) == after
        assert store.listed(marker=marker, limit=10) == after[:10]
        before = [name for name in names if name < marker]
        if marker:
            assert store.listed(end_marker=marker) == before
            assert store.listed(marker=marker, reverse="true") == before[::-1]
            assert store.listed(end_marker=marker, reverse="true") == after[::-1]
    assert store.listed(marker="o003", end_marker="o015") == [
        name for name in names if "o003" < name < "o015"]
    assert store.listed(prefix="o00") == [name for name in names if name.startswith("o00")]
    assert store.listed(prefix="none") == []
    groups = sorted({name.partition("/")[0] + "/" if "/" in name else name for name in names})
    assert store.listed(delimiter="/") == groups
    assert store.listed(delimiter="/", reverse="true") == groups[::-1]
    assert store.listed(delimiter="0") == sorted({"o0", *(n for n in names if "0" not in n)})
    assert store.listed(prefix="dir/", delimiter="/")[:2] == ["dir/a", "dir/b"]
    assert store.listed(path="dir") == [name for name in names if name.startswith("dir/")
                                        and name.count("/") == 1]
    paged, marker = [], ""
    while page := store.listed(limit=4, marker=marker):
        paged += page
        marker = page[-1]
    assert paged == names


def test_rows_that_went_to_the_root_find_their_shard(store):
    """Updates of servers that know nothing of shards, and of those that wait on disk."""
    store.ask("PUT", X_Container_Sysmeta_Sharding="True")
    store.fill(NAMES)
    gone = {"Content-Type": "t/p", "X-Container-Host": "127.0.0.1:1", "X-Container-Device": "d0",
            "X-Container-Partition": "0"}
    assert store.everywhere("object", "PUT", ("a", "c", "late"), gone, b"x", False) == [201] * 3
    shard(store)
    assert store.put("a", "c", "old-server", b"body") == [201] * 3
    assert "late" not in store.listed() and "old-server" not in store.listed()
    store.run(ObjectUpdater, "object")                       # redirected
    assert "late" in store.listed()
    assert not list(store.devices.glob("*/async_pending/*/*"))
    store.run(ContainerSharder)                 # moved
    assert store.listed() == sorted([*NAMES, "late", "old-server"])


def test_shards_are_divided_and_shrink(store):
    store.ask("PUT", X_Container_Sysmeta_Sharding="True")
    store.fill(NAMES)
    shard(store)
    before = {one["name"] for one in store.ranges()[0]}
    more = [f"o00{a}-{b}" for a in range(7) for b in range(2)]
    store.fill(more)                                             # all of them into the first shard
    for _ in range(4):
        store.run(ContainerSharder)
        assert store.listed() == sorted([*NAMES, *more])
    now, _ = store.ranges()
    assert {one["state"] for one in now} == {40} and len(now) > len(before)
    assert store.count() == len(NAMES) + len(more)
    kept = NAMES[:1]
    store.drop(sorted({*NAMES, *more} - set(kept)))
    # Larger shards are wanted now; tombstones are rows as well.
    store.overrides = {"shard_container_threshold": "200", "rows_per_shard": "100",
                       "minimum_shard_size": "100", "shrink_threshold": "100",
                       "expansion_limit": "150"}
    shard(store, "collapsed")
    assert store.ranges() == ([], "collapsed") and store.listed() == kept
    store.drop(kept)
    assert store.listed() == [] and store.ask("DELETE")[0] == 204


def test_bug_what_a_deleted_account_has_in_shards_is_reaped(store):
    store.ask("PUT", X_Container_Sysmeta_Sharding="True")
    store.fill(NAMES)
    shard(store)
    assert store.everywhere("account", "DELETE", ("a",)) == [204] * 3
    store.run(AccountReaper, "account")
    for name in NAMES:
        assert [status for status, _ in store.get_all("object", "a", "c", name)] == [404] * 3
    store.run(ContainerSharder)           # the tombstones go to the shards, counts to the root
    store.run(ContainerSharder)
    store.run(AccountReaper, "account")
    assert [status for status, _ in store.get_all("container", "a", "c")] == [404] * 3


def test_replicas_that_missed_it_catch_up(store):
    """A replica that was away while its peers sharded hears of the ranges and cleaves itself."""
    store.ask("PUT", X_Container_Sysmeta_Sharding="True")
    store.fill(NAMES)
    part, nodes = store.places("container", "a", "c")
    away = nodes[2]["device"]
    (store.devices / away).rename(store.root / "away")
    for _ in range(3):
        store.run(ContainerSharder)
    (store.root / "away").rename(store.devices / away)
    for _ in range(2):
        store.run(ContainerReplicator)
        store.run(ContainerSharder)
    path = next(store.devices.glob(f"{away}/containers/{part}/*/*/*_*.db"))
    assert ContainerBroker(str(path)).db_state() == "sharded"
    assert store.listed() == NAMES


def test_a_container_with_nothing_to_do_is_not_opened_again(store, monkeypatch):
    """Until somebody says that it shall be divided."""
    store.ask("PUT")
    store.fill(NAMES[:2])
    store.run(ContainerSharder)                      # what was pending is in the databases then
    paths = list(store.devices.glob("*/containers/*/*/*/*.db"))
    for path in paths:
        os.utime(path, ns=(0, time.time_ns() - 10_000_000_000))
    opened = []
    monkeypatch.setattr("swift.container.sharder.ContainerBroker", lambda path, **options: (
        opened.append(path), ContainerBroker(path, **options))[1])
    daemon = store.run(ContainerSharder)
    assert sorted(opened) == sorted(map(str, paths)) and len(paths) == 3
    opened.clear()
    daemon.run_once()
    assert opened == []
    store.ask("POST", X_Container_Sysmeta_Sharding="True")
    daemon.run_once()
    assert len(opened) == 3 and daemon.sharding.all["visited"]["attempted"] == 3
