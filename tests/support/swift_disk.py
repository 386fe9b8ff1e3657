# SPDX-License-Identifier: Apache-2.0
"""What is on a Swift device, in a form that two implementations can be compared by."""
from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path
from typing import Any

from swift.common import db_connection, safe_pickle

# What is decided by who wrote it and when, not by what was asked for.
_VOLATILE_COLUMNS = {"id", "created_at", "ROWID"}
_LOCKS = re.compile(r"\.lock(-.*)?\Z")


def xattrs(path: Path) -> dict[str, str]:
    """Swift's metadata of a file, as real text."""
    data, number = b"", 0
    while True:
        try:
            data += os.getxattr(path, f"user.swift.metadata{number or ''}")
        except OSError:
            break
        number += 1
    if not data:
        return {}
    return {key.decode(): value.decode("utf-8", "surrogateescape")
            for key, value in safe_pickle.loads(data, encoding="bytes").items()}


def database(path: Path) -> dict[str, Any]:
    """Schema and rows of a container's or account's database, pending rows left out."""
    conn = sqlite3.connect(path)
    conn.create_function("chexor", 3, db_connection.chexor)
    conn.row_factory = sqlite3.Row
    try:
        tables = [row[0] for row in conn.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        found: dict[str, Any] = {}
        for table in tables:
            if table.startswith("sqlite_"):
                continue
            rows = [dict(row) for row in conn.execute(f"SELECT * FROM {table}")]
            volatile = _VOLATILE_COLUMNS if table.endswith("_stat") or table.endswith("_info") \
                else {"ROWID"}
            found[table] = sorted(
                ({key: value for key, value in row.items() if key not in volatile}
                 for row in rows), key=repr)
        return found
    finally:
        conn.close()


def columns(path: Path) -> dict[str, list[str]]:
    """Table or view -> its columns, and the names of indexes and triggers under their types."""
    conn = sqlite3.connect(path)
    try:
        found: dict[str, list[str]] = {}
        for kind, name in conn.execute("SELECT type, name FROM sqlite_master").fetchall():
            if name.startswith("sqlite_"):
                continue
            if kind in ("table", "view"):
                found[name] = [row[1] for row in conn.execute(f"PRAGMA table_info({name})")]
            else:
                found.setdefault(kind, []).append(name)
        return {name: sorted(value) if name in ("index", "trigger") else value
                for name, value in found.items()}
    finally:
        conn.close()


def snapshot(device: Path) -> dict[str, Any]:
    """Relative path -> contents, parsed where the format is one of Swift's; no locks."""
    found: dict[str, Any] = {}
    for base, _, names in os.walk(device):
        for name in names:
            path = Path(base) / name
            key = str(path.relative_to(device))
            if _LOCKS.match(name) or key.startswith("tmp") or name == "hashes.invalid":
                continue
            if name == "hashes.pkl":
                found[key] = {suffix: value for suffix, value in
                              safe_pickle.loads(path.read_bytes()).items() if suffix != "updated"}
            elif name.endswith(".db"):
                found[key] = database(path)
            elif name.endswith((".data", ".meta", ".ts")):
                found[key] = (xattrs(path), path.read_bytes())
            elif "/async_pending" in f"/{key}":
                found[key] = safe_pickle.loads(path.read_bytes())
            elif name.endswith(".pending"):
                found[key] = [safe_pickle.loads(__import__("base64").b64decode(line))
                              for line in path.read_bytes().split(b":") if line]
            else:
                found[key] = path.read_bytes()
    return found
