# SPDX-License-Identifier: Apache-2.0
"""Containers that are sharded: which shard takes an object's row, and listings out of many shards.

Where shards begin is remembered (``swift.infocache``, ``swift.cache``) under the keys and in the
form that OpenStack Swift's proxies use, so that both can share a memcached.
"""

import json
import random
from urllib.parse import quote

from swift.common.listing import successor
from swift.common.request import Abort, answer
from swift.common.shards import Bounds, Namespace, within
from swift.proxy.backend import backend_path
from swift.proxy.controllers.listing import PARAMETERS

SHARDED = ('sharding', 'sharded')
TRUE = ('true', '1', 'yes', 'on', 't', 'y')
_NAMESPACES = 'X-Backend-Record-Shard-Format: namespace\r\nX-Backend-Include-Deleted: false\r\n'
AUTO = 'X-Backend-Record-Type: auto\r\n' + _NAMESPACES
OBJECTS = 'X-Backend-Record-Type: object\r\n'
SHARDS = 'X-Backend-Record-Type: shard\r\n' + _NAMESPACES
# The answer may then be remembered, whatever part of the listing was asked for.
ALL_NAMES = 'X-Backend-Override-Shard-Name-Filter: sharded\r\n'


def shards_key(kind, account, container):
    """The cache's key; ``kind`` is ``updating`` or ``listing``."""
    return f'shard-{kind}-v2/{account}/{container}'


def known_bounds(env, key, skip_chance=0.0):
    """`Bounds` that are remembered, or None; now and then the cache is passed by on purpose, so
    that what is used all the time is looked up anew."""
    infos = env.setdefault('swift.infocache', {})
    pairs = infos.get(key)
    cache = env.get('swift.cache')
    if pairs is None and cache is not None and \
            not (skip_chance and random.random() < skip_chance):
        pairs = infos[key] = cache.get(key)
    return Bounds(pairs) if pairs else None


def remember_bounds(env, key, bounds, seconds):
    """Keep `Bounds` for the rest of the request, and in the cache."""
    env.setdefault('swift.infocache', {})[key] = bounds.pairs
    cache = env.get('swift.cache')
    if cache is not None and seconds:
        cache.set(key, bounds.pairs, seconds)


def forget_listing(env, account, container):
    """Drop what is remembered for listings."""
    key = shards_key('listing', account, container)
    env.get('swift.infocache', {}).pop(key, None)
    if env.get('swift.cache') is not None:
        env['swift.cache'].delete(key)


def whole_body(response):
    """The body of an answer in one piece."""
    body = response.body
    return body if isinstance(body, bytes) else b''.join(body)


def rows_of(response):
    """The list in a listing's body; 503 for anything else."""
    try:
        rows = json.loads(whole_body(response) or b'[]')
    except ValueError:
        rows = None
    if not isinstance(rows, list):
        raise Abort(answer(503))
    return rows


def namespaces_of(rows):
    """The namespaces of a list of shard ranges; 503 when they are none."""
    try:
        return [Namespace(row['name'], row['lower'], row['upper']) for row in rows]
    except (KeyError, TypeError):
        raise Abort(answer(503)) from None


def read_container(app, req, account, container, lines, query):
    """The Response of a GET to a container's servers."""
    part, nodes = app.container_ring.get_nodes(account, container)
    newest = req.get('X-Newest', '').lower() in TRUE
    return app.getter(app, 'GET', 'Container',
                      app.node_iter(app.container_ring, part, nodes, shuffle=True), len(nodes),
                      part, backend_path(account, container), app.backend_headers(req) + lines,
                      query=query, newest=newest).response()


# -- writing -------------------------------------------------------------------
def updating_shard(app, req, account, container, obj):
    """The `Namespace` of the shard that takes the rows of an object's name, None if it is not
    known: then the root takes them, and its sharder moves them."""
    env = req.environ
    cached = env.get('swift.cache') is not None and app.recheck_updating_shards
    key = shards_key('updating', account, container)
    bounds = known_bounds(env, key, app.updating_shards_skip_chance) if cached else None
    if bounds is None:
        query = 'format=json&states=updating'
        if not cached:
            query += f"&includes={quote(obj, safe='', errors='surrogateescape')}"
        response = read_container(app, req, account, container, SHARDS, query)
        if response.status // 100 != 2 or response.get('X-Backend-Record-Type') != 'shard':
            return None
        bounds = Bounds.of(namespaces_of(rows_of(response)))
        if cached and bounds.pairs:
            remember_bounds(env, key, bounds, app.recheck_updating_shards)
    return bounds.holder(obj)


# -- listing -------------------------------------------------------------------
class ShardedListing:
    """A listing put together from those of shards, which may have shards themselves.

    ``policy`` is the storage policy index of the root: rows of another one are not shown. Raises
    Abort (503) when one of the shards cannot be read: a listing with a gap would look complete.
    """

    def __init__(self, app, req, account, container, policy):
        self.app, self.req = app, req
        self.policy = policy
        self.visited = {(account, container)}
        params = {name: value for name, value in req.params.items() if name in PARAMETERS}
        self.reverse = params.pop('reverse', '').lower() in TRUE
        self.first = params.pop('marker', '')
        self.last = params.pop('end_marker', '')
        self.prefix = params.get('prefix', '')
        limit = params.pop('limit', '')
        most = app.constraints.container_listing_limit
        self.limit = min(int(limit), most) if limit.isascii() and limit.isdigit() else most
        self.params = params
        self.constrained = any((self.first, self.last, self.prefix, params.get('delimiter'),
                                params.get('path')))

    def wanted(self, namespaces):
        """Those of all namespaces that the listing needs, in its order."""
        marker, end_marker = (self.last, self.first) if self.reverse else (self.first, self.last)
        found = within(namespaces, marker, end_marker)
        return found[::-1] if self.reverse else found

    def rows(self, namespaces):
        """The rows of the listing; ``namespaces`` are in its order."""
        return self._collect(namespaces, self.first, self.last, self.limit)

    def _collect(self, namespaces, marker, end_marker, limit):
        rows: list[dict] = []
        for space in namespaces:
            if len(rows) >= limit:
                break
            last = _name(rows[-1]) if rows else marker
            if end_marker and rows and (last <= end_marker if self.reverse
                                        else last >= end_marker):
                break
            if self._passes(space, rows):
                continue
            rows += self._of_shard(space, last, self._end(space, end_marker), limit - len(rows))
        return rows

    def _end(self, space, end_marker):
        """Where the part of a namespace ends: what a shard has beyond its bounds is not shown."""
        if end_marker and space.contains(end_marker):
            return end_marker
        return space.lower if self.reverse else space.end_marker

    def _passes(self, space, rows):
        """Whether a namespace can hold nothing to show: because of the prefix, or because all
        of it is in the group that was listed last."""
        if self.prefix:
            above = successor(self.prefix)
            if space.upper and space.upper < self.prefix or above and space.lower >= above:
                return True
        if not rows or 'subdir' not in rows[-1]:
            return False
        bound = space.lower if self.reverse else space.upper
        return bound.startswith(rows[-1]['subdir'])

    def _of_shard(self, space, marker, end_marker, limit):
        place = (space.account, space.container)
        kind = OBJECTS if place in self.visited else AUTO
        query = 'format=json' + ''.join(
            f"&{name}={quote(value, safe='', errors='surrogateescape')}"
            for name, value in {**self.params, 'marker': marker, 'end_marker': end_marker,
                                'limit': str(limit), 'reverse': str(self.reverse).lower(),
                                'states': 'listing'}.items() if value or name == 'path')
        lines = kind + f'X-Backend-Storage-Policy-Index: {self.policy}\r\n' + self._reserved()
        response = read_container(self.app, self.req, *place, lines, query)
        if response.status // 100 != 2:
            self.app.logger.error('Listing of %s aborted: shard %s answered %s',
                                  self.req.environ['PATH_INFO'], space.name, response.status)
            raise Abort(answer(503))
        rows = rows_of(response)
        if response.get('X-Backend-Record-Type') == 'shard':
            self.visited.add(place)
            return self._collect(namespaces_of(rows), marker, end_marker, limit)
        policy = response.get('X-Backend-Record-Storage-Policy-Index',
                              response.get('X-Backend-Storage-Policy-Index'))
        if policy != self.policy:
            self.app.logger.error('Listing of %s aborted: shard %s is of policy %s, not %s',
                                  self.req.environ['PATH_INFO'], space.name, policy, self.policy)
            raise Abort(answer(503))
        return rows

    def _reserved(self):
        value = self.req.environ.get('HTTP_X_BACKEND_ALLOW_RESERVED_NAMES')
        return f'X-Backend-Allow-Reserved-Names: {value}\r\n' if value else ''


def _name(row):
    return row.get('name', row.get('subdir', ''))
