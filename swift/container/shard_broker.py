# SPDX-License-Identifier: Apache-2.0
"""What the database of a container knows of sharding: its files, its state, its shard ranges.

States of the database: `unsharded`; `sharding`, when a fresh file lies beside the retiring one;
`sharded`, when only the fresh one is left; `collapsed`, when its shards have shrunk into it again.
"""
from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar
from urllib.parse import unquote

from swift.common import db_connection, durable
from swift.common.db import Broker, Row
from swift.common.db_files import base_of, epoch_of, files_of
from swift.common.exceptions import DatabaseConnectionError
from swift.common.shards import CLEAVING, Namespace, ShardRange, State, name_of, now, top
from swift.common.timestamp import Timestamp
from swift.container import shard_table
from swift.container.shard_table import Which

T = TypeVar("T")
NOT_FOUND, UNSHARDED, SHARDING, SHARDED, COLLAPSED = (
    "not_found", "unsharded", "sharding", "sharded", "collapsed")
SYSMETA = "X-Container-Sysmeta-Shard-"
ENABLED = "X-Container-Sysmeta-Sharding"


class ShardBroker(Broker):
    """The part of `ContainerBroker` that is about sharding.

    It works on the newest of the container's files, whichever was named. With `alone` it works on
    the file named, and leaves pending rows to others: that is how a retiring file is read.
    `skip_pending` leaves pending rows where they are in any case.
    """

    kept_metadata = frozenset((ENABLED.lower(), (SYSMETA + "root").lower(),
                               (SYSMETA + "quoted-root").lower()))

    def __init__(self, db_file: str, account: str | None = None, container: str | None = None,
                 logger: logging.Logger | None = None, keep: bool = True,
                 lock_timeout: float = 10, alone: bool = False) -> None:
        base = base_of(db_file)
        super().__init__(base, account, container, logger, keep, lock_timeout)
        self.alone = alone
        self.skip_pending = False
        self.files: list[str] = [db_file]
        if alone:
            self.db_file = db_file
        else:
            self._take_files(base)

    # -- files -----------------------------------------------------------

    def find_files(self) -> None:
        """Look again which files there are."""
        self._take_files(base_of(self.db_file))

    def _take_files(self, base: str) -> None:
        self.files = files_of(base)
        self.db_file = self.files[-1] if self.files else base

    def exists(self) -> bool:
        if os.path.exists(self.db_file):
            return True
        if not self.alone:
            self.find_files()
        return os.path.exists(self.db_file)

    def _run(self, work: Callable[[sqlite3.Connection], T], write: bool) -> T:
        """As ever; but what was done to a file that was retired meanwhile is done to the new."""
        before = self.db_file
        try:
            result = super()._run(work, write)
        except DatabaseConnectionError:
            if self.alone or os.path.exists(before) or not self.exists():
                raise
            return super()._run(work, write)
        if write and not self.alone and not os.path.exists(before) and self.exists():
            return super()._run(work, write)
        return result

    def commit_pending(self) -> None:
        if not self.alone and not self.skip_pending:
            super().commit_pending()

    @property
    def epoch(self) -> str | None:
        """The epoch of the newest file."""
        return epoch_of(self.db_file)

    def oldest(self: T) -> T:
        """The file that holds the objects: the retiring one while the container is sharding."""
        assert isinstance(self, ShardBroker)
        if len(self.files) < 2:
            return self                                           # type: ignore[return-value]
        return type(self)(self.files[-2], self.account, self.container, self.logger, self.keep,
                          self.lock_timeout, True)                # type: ignore[return-value]

    # -- ranges ----------------------------------------------------------

    def own_name(self, conn: sqlite3.Connection) -> str:
        """account/container; read once."""
        if not self.account or not self.container:
            row = conn.execute("SELECT account, container FROM container_info").fetchone()
            self.account, self.container = row[0], row[1]
        return f"{self.account}/{self.container}"

    @property
    def path(self) -> str:
        """account/container."""
        if not self.account or not self.container:
            return self.read(self.own_name)
        return f"{self.account}/{self.container}"

    def shard_ranges(self, which: Which | None = None) -> list[ShardRange]:
        """Ranges of the table, sorted."""
        return self.read(lambda conn: shard_table.ranges(
            conn, self.own_name(conn), which or Which()))

    def own_range(self) -> ShardRange:
        """The container's own range; one over all names when it has none yet."""
        return self.own_range_or_none() or ShardRange(self.path, now(), state=State.ACTIVE)

    def own_range_or_none(self) -> ShardRange | None:
        """The container's own range, if it has one; it may be deleted."""
        return self.read(lambda conn: shard_table.own(conn, self.own_name(conn)))

    def has_other_ranges(self) -> bool:
        """Whether it knows of shards that are not deleted."""
        return self.read(lambda conn: shard_table.has_others(conn, self.own_name(conn)))

    def merge_shard_ranges(self, ranges: Iterable[ShardRange]) -> None:
        """Merge ranges into the table."""
        new = list(ranges)
        if new:
            self.write(lambda conn: shard_table.merge(conn, new))

    def merge_peer_ranges(self, ranges: list[ShardRange]) -> None:
        """Merge a peer's ranges. Its own one without an epoch never replaces ours with one: a
        replica that was made anew would make the container forget that it was sharded."""
        own = self.own_range_or_none()
        if own is not None and own.epoch is not None:
            ranges = [shard for shard in ranges
                      if shard.name != own.name or shard.epoch is not None]
        self.merge_shard_ranges(ranges)

    def filler(self, found: list[ShardRange], marker: str, end_marker: str) -> ShardRange | None:
        """The container itself as the one that holds all names above those of `found`."""
        own = self.own_range()
        reached = top(found[-1].upper) if found else (False, max(marker, own.lower))
        wanted = min(top(end_marker), top(own.upper))
        if found and reached[0] or wanted <= reached:
            return None
        return own.copy(lower=name_of(reached), upper=name_of(wanted))

    def listed_ranges(self, which: Which, reverse: bool = False, fill: bool = False
                      ) -> list[ShardRange]:
        """Ranges for who asks over the wire; with `fill` to the end of what is wanted."""
        marker, end_marker = which.marker, which.end_marker
        if reverse:
            marker, end_marker = end_marker, marker
        if marker and end_marker and marker >= end_marker:
            return []
        found = self.shard_ranges(Which(marker, end_marker, which.includes, which.states,
                                        which.deleted, which.own))
        if which.includes is not None:
            return found
        if fill:
            rest = self.filler(found, marker, end_marker)
            if rest is not None:
                found.append(rest)
        return found[::-1] if reverse else found

    def usage(self) -> tuple[int, int]:
        """(objects, bytes) its shards have."""
        return self.read(lambda conn: shard_table.usage(conn, self.own_name(conn)))

    # -- state -----------------------------------------------------------

    def db_state(self) -> str:
        """`unsharded`, `sharding`, `sharded`, `collapsed` or `not_found`."""
        if not self.exists():
            return NOT_FOUND
        if len(self.files) > 1:
            return SHARDING
        if self.alone or self.epoch is None:
            return UNSHARDED
        own = self.own_range_or_none()
        if own is None or own.epoch != self.epoch:
            return UNSHARDED
        return SHARDED if self.has_other_ranges() else COLLAPSED

    def sharding_initiated(self) -> bool:
        """Whether it is to be, is being or was divided among shards it knows."""
        own = self.own_range_or_none()
        return own is not None and own.state in CLEAVING and self.has_other_ranges()

    def sharding_required(self) -> bool:
        """Whether there is cleaving left to do."""
        state = self.db_state()
        return state == SHARDING or state == UNSHARDED and self.sharding_initiated()

    def stat(self) -> Row:
        """The stat row with `db_state`; counts are those of the retiring file while sharding, and
        of the shards in a sharded root."""
        stat = super().stat()
        state = stat["db_state"] = self.db_state()
        if state == SHARDING:
            other = Broker.stat(self.oldest())
            stat["object_count"], stat["bytes_used"] = other["object_count"], other["bytes_used"]
        elif state == SHARDED and self.is_root():
            stat["object_count"], stat["bytes_used"] = self.usage()
        return stat

    def metadata(self) -> dict[str, list[str]]:
        return self.metadata_of(super().stat())

    def replication_info(self) -> Row:
        info = super().replication_info()
        info["db_state"] = self.db_state()
        if info["db_state"] in (SHARDING, SHARDED):
            stat = self.stat()
            info["count"], info["bytes_used"] = stat["object_count"], stat["bytes_used"]
        return info

    def _add_info(self, conn: sqlite3.Connection, info: Row) -> None:
        info["shard_max_row"] = shard_table.max_row(conn)

    # -- root ------------------------------------------------------------

    def sysmeta(self, name: str) -> str:
        """What is stored under a name of sharding's own metadata, empty without."""
        return self.metadata().get(SYSMETA + name, ["", ""])[0]

    def set_sysmeta(self, name: str, value: str) -> None:
        """Store metadata of sharding; an empty value removes it."""
        self.update_metadata({SYSMETA + name: (value, Timestamp.now().internal)})

    def root_path(self) -> str:
        """account/container of the root: itself, unless it is a shard."""
        return unquote(self.sysmeta("Quoted-Root")) or self.sysmeta("Root") or self.path

    def is_root(self) -> bool:
        """Whether it is a container of a user's rather than a shard."""
        root = unquote(self.sysmeta("Quoted-Root")) or self.sysmeta("Root")
        if root:
            return root == self.path
        # Shards that older releases deleted have lost that, but their range is deleted too.
        own = self.own_range_or_none()
        return own is None or not own.deleted

    def sharding_enabled(self) -> bool:
        """Whether the sharder is to look after it."""
        value = self.metadata().get(ENABLED, ["", ""])[0]
        return value.lower() in ("true", "1", "yes", "on", "t", "y") or self.has_other_ranges()

    def enable_sharding(self, epoch: str) -> ShardRange:
        """Have the sharder divide it from now on; its own range."""
        own = self.own_range()
        own.set_state(State.SHARDING, epoch)
        own.epoch = epoch
        self.merge_shard_ranges([own])
        return own

    # -- changing files --------------------------------------------------

    def swap_files(self, prepare: Callable[[], str | None]) -> bool:
        """Run `prepare`, which changes the files, while nobody merges pending rows; whether it
        gave no reason against it (that is logged)."""
        with durable.lock_path(self.db_dir, self.lock_timeout):
            reason = prepare()
        for path in self.files:
            db_connection.forget(path)
        self.find_files()
        if reason:
            self.logger.warning("%s: %s", self.path, reason)
        return not reason


def covers(ranges: Sequence[Namespace], whole: Namespace) -> bool:
    """Whether sorted ranges adjoin from the whole's lower to its upper bound."""
    return bool(ranges) and ranges[0].lower == whole.lower and \
        ranges[-1].upper == whole.upper and all(
            one.upper == two.lower for one, two in zip(ranges, ranges[1:], strict=False))
