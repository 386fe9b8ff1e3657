# SPDX-License-Identifier: Apache-2.0
"""Tables of a container's database, as OpenStack Swift's: either can open the other's files."""
from __future__ import annotations

from swift.common.db import NO_HASH, SYNC_SCHEMA

INFO_COLUMNS = (
    "account", "container", "created_at", "put_timestamp", "delete_timestamp",
    "reported_put_timestamp", "reported_delete_timestamp", "reported_object_count",
    "reported_bytes_used", "hash", "id", "status", "status_changed_at", "metadata",
    "x_container_sync_point1", "x_container_sync_point2", "storage_policy_index",
    "reconciler_sync_point")

_OBJECT = """
CREATE TABLE object (
    ROWID INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT,
    created_at TEXT,
    size INTEGER,
    content_type TEXT,
    etag TEXT,
    deleted INTEGER DEFAULT 0,
    storage_policy_index INTEGER DEFAULT 0
);
CREATE INDEX ix_object_deleted_name ON object (deleted, name);
CREATE TRIGGER object_update BEFORE UPDATE ON object
BEGIN
    SELECT RAISE(FAIL, 'UPDATE not allowed; DELETE and INSERT');
END;
"""

_POLICY_STAT = """
CREATE TABLE policy_stat (
    storage_policy_index INTEGER PRIMARY KEY,
    object_count INTEGER DEFAULT 0,
    bytes_used INTEGER DEFAULT 0
);
CREATE TRIGGER object_insert_policy_stat AFTER INSERT ON object
BEGIN
    INSERT OR IGNORE INTO policy_stat (storage_policy_index) VALUES (new.storage_policy_index);
    UPDATE policy_stat
       SET object_count = object_count + (1 - new.deleted), bytes_used = bytes_used + new.size
     WHERE storage_policy_index = new.storage_policy_index;
    UPDATE container_info SET hash = chexor(hash, new.name, new.created_at);
END;
CREATE TRIGGER object_delete_policy_stat AFTER DELETE ON object
BEGIN
    UPDATE policy_stat
       SET object_count = object_count - (1 - old.deleted), bytes_used = bytes_used - old.size
     WHERE storage_policy_index = old.storage_policy_index;
    UPDATE container_info SET hash = chexor(hash, old.name, old.created_at);
END;
"""

_INFO = f"""
CREATE TABLE container_info (
    account TEXT,
    container TEXT,
    created_at TEXT,
    put_timestamp TEXT DEFAULT '0',
    delete_timestamp TEXT DEFAULT '0',
    reported_put_timestamp TEXT DEFAULT '0',
    reported_delete_timestamp TEXT DEFAULT '0',
    reported_object_count INTEGER DEFAULT 0,
    reported_bytes_used INTEGER DEFAULT 0,
    hash TEXT default '{NO_HASH}',
    id TEXT,
    status TEXT DEFAULT '',
    status_changed_at TEXT DEFAULT '0',
    metadata TEXT DEFAULT '',
    x_container_sync_point1 INTEGER DEFAULT -1,
    x_container_sync_point2 INTEGER DEFAULT -1,
    storage_policy_index INTEGER DEFAULT 0,
    reconciler_sync_point INTEGER DEFAULT -1
);
"""

_VIEW = f"""
CREATE VIEW container_stat AS
    SELECT {", ".join("ci." + column for column in INFO_COLUMNS)},
           coalesce(ps.object_count, 0) AS object_count,
           coalesce(ps.bytes_used, 0) AS bytes_used
      FROM container_info ci LEFT JOIN policy_stat ps
        ON ci.storage_policy_index = ps.storage_policy_index;
CREATE TRIGGER container_stat_update INSTEAD OF UPDATE ON container_stat
BEGIN
    UPDATE container_info SET {", ".join(f"{name} = NEW.{name}" for name in INFO_COLUMNS)};
END;
"""

SHARD_RANGE = ("""
CREATE TABLE shard_range (
    ROWID INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT,
    timestamp TEXT,
    lower TEXT,
    upper TEXT,
    object_count INTEGER DEFAULT 0,
    bytes_used INTEGER DEFAULT 0,
    meta_timestamp TEXT,
    deleted INTEGER DEFAULT 0,
    state INTEGER,
    state_timestamp TEXT,
    epoch TEXT,
    reported INTEGER DEFAULT 0,
    tombstones INTEGER DEFAULT -1
);
""", """
CREATE TRIGGER shard_range_update BEFORE UPDATE ON shard_range
BEGIN
    SELECT RAISE(FAIL, 'UPDATE not allowed; DELETE and INSERT');
END;
""")

SCHEMA = SYNC_SCHEMA + _OBJECT + _POLICY_STAT + _INFO + _VIEW + "".join(SHARD_RANGE)
