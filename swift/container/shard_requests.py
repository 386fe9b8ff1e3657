# SPDX-License-Identifier: Apache-2.0
"""What the container server answers about shards: their ranges, and where an object's row belongs.

    GET /sda/12/a/c    X-Backend-Record-Type: shard      the ranges, as JSON
    PUT /sda/12/a/c    X-Backend-Record-Type: shard      ranges to merge
"""
from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from swift.common.backend_server import Answer, Request
from swift.common.conf import config_true
from swift.common.db import Row
from swift.common.listing import json_body
from swift.common.shards import UPDATED, ShardRange, parse_states
from swift.common.timestamp import Timestamp
from swift.common.xml_text import xml_escape
from swift.container.backend import ContainerBroker
from swift.container.shard_broker import SHARDED, SHARDING
from swift.container.shard_table import Which

MAX_BODY = 64 << 20
SHARDS_PREFIX = ".shards_"


def wants_shards(request: Request, stat: Row) -> bool:
    """Whether a GET is to be answered with ranges rather than with objects."""
    kind = request.env.get("HTTP_X_BACKEND_RECORD_TYPE", "").lower()
    return kind == "shard" or kind == "auto" and stat["db_state"] in (SHARDING, SHARDED)


def list_shards(request: Request, broker: ContainerBroker, stat: Row, params: dict[str, str],
                kind: str, headers: dict[str, str]) -> Answer:
    """The ranges that the query and the headers ask for; 400 for what they cannot mean."""
    headers["X-Backend-Record-Type"] = "shard"
    which = Which(params.get("marker", ""), params.get("end_marker", ""),
                  params.get("includes") or None,
                  deleted=config_true(request.env.get("HTTP_X_BACKEND_INCLUDE_DELETED", "")))
    reverse = config_true(params.get("reverse", ""))
    wanted = request.env.get("HTTP_X_BACKEND_OVERRIDE_SHARD_NAME_FILTER", "").lower()
    if wanted == stat["db_state"] == SHARDED:
        headers["X-Backend-Override-Shard-Name-Filter"] = "true"
        which = Which(deleted=which.deleted)
        reverse = False
    words = [word.strip() for word in params.get("states", "").split(",") if word.strip()]
    if words:
        try:
            which.states = parse_states(params["states"])
        except ValueError as exc:
            raise Answer(400, f"Bad state: {exc}") from exc
        which.own = "auditing" in words
    full = request.env.get("HTTP_X_BACKEND_RECORD_SHARD_FORMAT", "full").lower() != "namespace"
    headers["X-Backend-Record-Shard-Format"] = "full" if full else "namespace"
    if not full and (which.deleted or which.own):
        raise Answer(400, "Deleted ranges and the state auditing are for the full format only")
    found = broker.listed_ranges(which, reverse, "listing" in words or "updating" in words)
    return Answer(200, _body(found, kind, full), headers)


def _body(found: list[ShardRange], kind: str, full: bool) -> bytes:
    if kind == "json":
        return json_body([_entry(shard) if full else shard.bounds() for shard in found])
    if kind == "xml":
        names = "".join(f"<name>{xml_escape(shard.name)}</name>" for shard in found)
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<container>{names}</container>'.encode()
    return "".join(f"{shard.name}\n" for shard in found).encode("utf-8", "surrogateescape")


def _entry(shard: ShardRange) -> dict[str, Any]:
    return {**shard.row(), "last_modified": Timestamp(shard.timestamp).isoformat}


def read_ranges(request: Request) -> list[ShardRange]:
    """The ranges in the body of a PUT; 400 for anything else, 413 for too much."""
    body = request.env["wsgi.input"].read(MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise Answer(413, "The list of shard ranges is too long")
    try:
        return [ShardRange.of(row) for row in json.loads(body)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise Answer(400, f"Invalid body: {exc!r}") from exc


def read_rows(request: Request) -> list[Row]:
    """The rows of objects in the body of an UPDATE; 400 for anything else."""
    body = request.env["wsgi.input"].read(MAX_BODY + 1)
    if len(body) > MAX_BODY:
        raise Answer(413, "The list of rows is too long")
    try:
        rows = []
        for row in json.loads(body):
            Timestamp(row["created_at"].partition("+")[0].partition("-")[0])
            for column in ("name", "content_type", "etag"):
                if not isinstance(row[column], str):
                    raise ValueError(f"{column} is no text")
            rows.append({**row, "size": int(row["size"]), "deleted": int(row["deleted"]),
                         "storage_policy_index": int(row.get("storage_policy_index", 0))})
        return rows
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise Answer(400, f"Invalid body: {exc!r}") from exc


def redirect(request: Request, broker: ContainerBroker, name: str) -> Answer | None:
    """301 to the shard that takes the rows of this name, for senders that can follow it."""
    env = request.env
    if not config_true(env.get("HTTP_X_BACKEND_ACCEPT_REDIRECT", "")):
        return None
    found = broker.shard_ranges(Which(includes=name, states=UPDATED))
    if not found:
        return None
    path = f"/{found[0].name}/{name}"
    quoted = quote(path, errors="surrogateescape")
    if path != quoted and not config_true(env.get("HTTP_X_BACKEND_ACCEPT_QUOTED_LOCATION", "")):
        return None                       # an old sender; the sharder moves its row later
    return Answer(301, b"", {"Location": quoted, "X-Backend-Location-Is-Quoted": "true",
                             "X-Backend-Redirect-Timestamp": found[0].timestamp})


def makes_missing(request: Request, account: str, prefix: str) -> bool:
    """Whether a container that is not there is made: one of a hidden account, except for shards,
    which only their parents make."""
    said = request.env.get("HTTP_X_BACKEND_AUTO_CREATE")
    if said:
        return config_true(said)
    return account.startswith(prefix) and not account.startswith(prefix + SHARDS_PREFIX[1:])
