# SPDX-License-Identifier: Apache-2.0
"""What swift-account-info and swift-container-info print of a database.

Nothing is changed: the file is opened for reading only. Rows that still wait in its .pending count,
as they do for everyone who asks the server: they are merged into a copy.
"""
from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from swift.account.backend import AccountBroker
from swift.common.conf import SWIFT_DIR
from swift.common.exceptions import ConfigError, DatabaseConnectionError
from swift.common.ring.format import RingFileError
from swift.common.shards import State
from swift.common.storage import hash_path
from swift.common.storage_policy import policies
from swift.common.timestamp import Timestamp
from swift.container.backend import ContainerBroker
from swift.container.shard_broker import COLLAPSED, SHARDED, SHARDING, SYSMETA, UNSHARDED
from swift.inspection import whereabouts
from swift.inspection.whereabouts import moment

Row = dict[str, Any]
_TIMES = ("created_at", "put_timestamp", "delete_timestamp")
_COUNTS = {"account": ("container_count", "object_count", "bytes_used"),
           "container": ("object_count", "bytes_used")}


def _open(path: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{os.path.abspath(path).replace('?', '%3f')}?mode=ro", uri=True)


@contextlib.contextmanager
def settled(path: str, kind: str) -> Iterator[str]:
    """The database to read: the file itself, or when rows wait beside it a copy with these in it.

    The rows are taken first: what a server merges meanwhile is in both, which is no harm.
    """
    pending = path + ".pending"
    if not os.path.exists(pending) or not os.stat(pending).st_size:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="swift-info-") as folder:
        copy = f"{folder}/copy.db"
        shutil.copyfile(pending, copy + ".pending")
        with contextlib.closing(_open(path)) as source, \
                contextlib.closing(sqlite3.connect(copy)) as target:
            if f"{kind}_stat" in _tables(source):       # else it is none of them: see `read`
                source.backup(target)
                broker = (AccountBroker if kind == "account" else ContainerBroker)(
                    copy, keep=False)
                target.close()
                broker.commit_pending()
                path = copy
        yield path


def _tables(conn: sqlite3.Connection) -> set[str]:
    return {row[0] for row in conn.execute("SELECT name FROM sqlite_master")}


def read(path: str, kind: str) -> tuple[Row, dict[str, list[Row]]]:
    """(stat row, rows of policy_stat, incoming_sync and outgoing_sync); sqlite3.Error, or
    ValueError when it is another kind of database."""
    conn = _open(path)
    try:
        tables = _tables(conn)
        conn.row_factory = sqlite3.Row
        if f"{kind}_stat" not in tables:
            raise ValueError(f"it is not the database of {kind}s")
        stat = dict(conn.execute(f"SELECT * FROM {kind}_stat").fetchone() or {})
        more: dict[str, list[Row]] = {
            table: [dict(row) for row in conn.execute(f"SELECT * FROM {table}")]
            for table in ("policy_stat", "incoming_sync", "outgoing_sync") if table in tables}
        if "shard_range" in tables:
            more["shard_range"] = [dict(row) for row in conn.execute(
                "SELECT * FROM shard_range WHERE deleted = 0 ORDER BY lower, upper")]
        return stat, more
    finally:
        conn.close()


def print_info(kind: str, stat: Row, more: dict[str, list[Row]], drop_prefixes: bool) -> None:
    """The stat row and the metadata."""
    names = [stat[key] for key in ("account", "container") if key in stat]
    print(f"Path: /{'/'.join(names)}")
    for name in ("account", "container")[:len(names)]:
        print(f"  {name.title()}: {stat[name]}")
    count = stat["container_count" if kind == "account" else "object_count"]
    deleted = stat["status"] == "DELETED" or (
        not count and Timestamp(stat["delete_timestamp"]) > Timestamp(stat["put_timestamp"]))
    print(f"  Deleted: {deleted}\n  {kind.title()} Hash: {hash_path(*names)}\nMetadata:")
    print(f"  Created at: {moment(stat['created_at'])}")
    for key in _TIMES[1:]:
        print(f"  {_title(key)}: {moment(stat[key])}")
    print(f"  Status Timestamp: {moment(stat['status_changed_at'])}")
    for key in _COUNTS[kind]:
        print(f"  {_title(key)}: {stat[key]}")
    if kind == "container":
        _print_container(stat)
    print(f"  Chexor: {stat['hash']}\n  UUID: {stat['id']}")
    for key in ("x_container_sync_point1", "x_container_sync_point2"):
        if key in stat:
            print(f"  {key.title().replace('_', '-')}: {stat[key]}")
    _print_metadata(kind, json.loads(stat.get("metadata") or "{}"), drop_prefixes)
    if len(more.get("policy_stat", ())) > 1:
        for row in more["policy_stat"]:
            print(f"Policy {_policy_name(row['storage_policy_index'])}: " + ", ".join(
                f"{_title(key)} {row[key]}" for key in _COUNTS[kind]))


def _title(key: str) -> str:
    return key.replace("_", " ").title()


def _policy_name(index: int) -> str:
    policy = policies().by_index(index)
    return f"{policy.name if policy else 'unknown'} ({index})"


def _print_container(stat: Row) -> None:
    print(f"  Storage Policy: {_policy_name(stat.get('storage_policy_index', 0))}")
    for key in ("reported_put_timestamp", "reported_delete_timestamp"):
        print(f"  {_title(key)}: {moment(stat[key])}")
    for key in ("reported_object_count", "reported_bytes_used"):
        print(f"  {_title(key)}: {stat[key]}")


def sharding_state(path: str, own: Row | None, others: bool) -> str:
    """As `ShardBroker.db_state`, which would count the rows that wait."""
    base = os.path.basename(path).removesuffix(".db").partition("_")[0]
    files = [name for name in os.listdir(os.path.dirname(os.path.abspath(path)))
             if name.startswith(base) and name.endswith(".db")]
    if len(files) > 1:
        return SHARDING
    epoch = os.path.basename(path).removesuffix(".db").partition("_")[2]
    if not epoch or own is None or own["epoch"] != epoch:
        return UNSHARDED
    return SHARDED if others else COLLAPSED


def print_shards(path: str, stat: Row, ranges: list[Row], verbose: bool) -> None:
    """What a container is to a division among shards, and its shards."""
    name = f"{stat['account']}/{stat['container']}"
    own = next((row for row in ranges if row["name"] == name), None)
    ranges = [row for row in ranges if row["name"] != name]
    metadata = json.loads(stat.get("metadata") or "{}")
    roots = {unquote(metadata[key][0]) for key in (SYSMETA + "Quoted-Root", SYSMETA + "Root")
             if metadata.get(key, [""])[0]}
    print(f"Sharding Metadata:\n  Type: {'shard' if roots - {name} else 'root'}\n"
          f"  State: {sharding_state(path, own, bool(ranges))}")
    if not ranges:
        return
    print(f"Shard Ranges ({len(ranges)}):\n  States:")
    for state, count in sorted(Counter(row["state"] for row in ranges).items()):
        print(f"    {State(state).name.lower():>9}: {count}")
    if not verbose:
        print("(Use -v/--verbose to show more Shard Ranges details)")
        return
    for row in ranges:
        print(f"  Name: {row['name']}\n    lower: {row['lower']!r}, upper: {row['upper']!r}\n"
              f"    Object Count: {row['object_count']}, Bytes Used: {row['bytes_used']}, "
              f"State: {State(row['state']).name.lower()} ({row['state']})\n"
              f"    Created at: {moment(row['timestamp'])}\n"
              f"    Meta Timestamp: {moment(row['meta_timestamp'])}")


def _print_metadata(kind: str, metadata: dict[str, list[str]], drop_prefixes: bool) -> None:
    groups: dict[str, dict[str, str]] = {"System": {}, "User": {}}
    for key, (value, _) in sorted(metadata.items()):
        for group, prefix in (("System", f"x-{kind}-sysmeta-"), ("User", f"x-{kind}-meta-")):
            if key.lower().startswith(prefix):
                groups[group][key[len(prefix):] if drop_prefixes else key] = value
                break
        else:
            print(f"  {key.title()}: {value}")
    for group, values in groups.items():
        if values:
            print(f"  {group} Metadata:")
            for key, value in values.items():
                print(f"    {key}: {value}")
        else:
            print(f"No {group.lower()} metadata found in db file")


def _print_syncs(more: dict[str, list[Row]]) -> None:
    for table in ("incoming_sync", "outgoing_sync"):
        print(f"{_title(table)}s:\n  Sync Point\tRemote ID\tUpdated At")
        rows = more.get(table, [])
        width = max([len("Remote ID"), *(len(str(row["remote_id"])) for row in rows)])
        for row in rows:
            print(f"  {row['sync_point']:<10}\t{row['remote_id']:<{width}}\t"
                  f"{moment(row['updated_at'])}")


def run(kind: str, argv: list[str] | None = None) -> int:
    """The main of both programs; the exit code."""
    parser = argparse.ArgumentParser(prog=f"swift-{kind}-info", description=f"What the database "
                                     f"of a{'n' if kind == 'account' else ''} {kind} holds")
    parser.add_argument("file")
    parser.add_argument("-d", "--swift-dir", default=os.environ.get("SWIFT_DIR", SWIFT_DIR),
                        help="where rings and swift.conf are")
    parser.add_argument("--drop-prefixes", action="store_true",
                        help=f"leave X-{kind.title()}-Meta- and the like away")
    parser.add_argument("-s", "--sync", action="store_true",
                        help="show up to which rows it is in step with its replicas")
    if kind == "container":
        parser.add_argument("-v", "--verbose", action="store_true", help="show all shard ranges")
    args = parser.parse_args(argv)
    os.environ["SWIFT_DIR"] = args.swift_dir
    sys.stdout.reconfigure(errors="surrogateescape")     # type: ignore[union-attr]
    if not os.path.exists(args.file):
        print("DB file doesn't exist")
        return 1
    try:
        with settled(args.file, kind) as database:
            stat, more = read(database, kind)
        if not stat:
            raise ValueError("it holds nothing")
        print_info(kind, stat, more, args.drop_prefixes)
        if kind == "container":
            print_shards(args.file, stat, more.get("shard_range", []), args.verbose)
        if args.sync:
            _print_syncs(more)
        ring = whereabouts.open_ring(args.swift_dir, kind)
        if ring is not None:
            whereabouts.show(ring, kind, [stat[key] for key in ("account", "container")
                                          if key in stat])
    except (sqlite3.Error, ValueError, KeyError, OSError, ConfigError, RingFileError,
            DatabaseConnectionError) as exc:
        print(f"ERROR: {args.file}: {exc}", file=sys.stderr)
        return 1
    return 0
