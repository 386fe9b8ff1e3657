# SPDX-License-Identifier: Apache-2.0
"""The proxy's cache of account and container facts: memcached, or the process itself.

Values are JSON on the wire, never pickles. A cache that does not answer is a cache miss, not an
error: every user of it can ask the servers instead.
"""

import json
import os
import time
from hashlib import md5

from pymemcache.client.hash import HashClient
from pymemcache.exceptions import MemcacheError

from swift.common.conf import config_float, config_int, config_list, read_sections
from swift.common.exceptions import ConfigError

MAX_LOCAL = 100_000        # entries of the in-process cache
SHARED_TTL = 1.0           # seconds, when other workers have caches of their own
JSON_FLAG = 2              # by which OpenStack Swift's proxies know what to parse


class LocalCache:
    """A cache in this process.

    With several worker processes each has its own and learns nothing of the others' changes, so
    entries live ``max_ttl`` seconds at most then.
    """

    def __init__(self, max_ttl=None, clock=time.monotonic):
        self.items = {}
        self.max_ttl = max_ttl
        self.clock = clock

    def get(self, key):
        """The value, None when there is none (any more)."""
        item = self.items.get(key)
        if item is None:
            return None
        if item[0] < self.clock():
            self.items.pop(key, None)
            return None
        return item[1]

    def set(self, key, value, ttl=0, time=0):
        """Keep a value, which nobody may change afterwards, for ``ttl`` (or ``time``) seconds."""
        ttl = ttl or time
        if len(self.items) >= MAX_LOCAL:
            self._shrink()
        if self.max_ttl is not None:
            ttl = min(ttl, self.max_ttl)
        self.items[key] = (self.clock() + ttl, value)

    def incr(self, key, delta, ttl):
        """Add to a number, which is zero when there is none; what it is then, never below zero."""
        value = max(0, int(self.get(key) or 0) + delta)
        self.items[key] = (self.clock() + ttl, value)
        return value

    def delete(self, key):
        self.items.pop(key, None)

    def _shrink(self):
        now = self.clock()
        self.items = {k: v for k, v in self.items.items() if v[0] >= now}
        while len(self.items) >= MAX_LOCAL * 0.9:
            for key in list(self.items)[:MAX_LOCAL // 10]:      # the oldest entries come first
                del self.items[key]


class MemcacheCache:
    """A cache in memcached servers, which all workers and proxies share, OpenStack Swift's too."""

    def __init__(self, servers, timeout=1.5, connect_timeout=0.3, pool_size=10):
        self.client = HashClient(
            [_address(s) for s in servers], timeout=timeout, connect_timeout=connect_timeout,
            use_pooling=True, max_pool_size=pool_size, ignore_exc=True, retry_attempts=0,
            dead_timeout=60, no_delay=True)

    def close(self):
        """Drop the connections."""
        self.client.close()

    @staticmethod
    def _key(key):
        return md5(key.encode('utf-8', 'surrogateescape'), usedforsecurity=False).hexdigest()

    def get(self, key):
        """The value, None when there is none or no server answers."""
        try:
            raw = self.client.get(self._key(key))
            return json.loads(raw) if raw is not None else None
        except (MemcacheError, OSError, ValueError):
            return None

    def set(self, key, value, ttl=0, time=0):
        """Keep a value of plain types for ``ttl`` (or ``time``) seconds.

        keystonemiddleware, told ``cache = swift.cache``, keeps its JSON here, as bytes.
        """
        ttl = ttl or time
        if isinstance(value, bytes):
            value = value.decode('latin-1')
        try:
            self.client.set(self._key(key), json.dumps(value), max(1, round(ttl)),
                            flags=JSON_FLAG)
        except (MemcacheError, OSError):
            pass                     # a cache that is down is a miss next time

    def incr(self, key, delta, ttl):
        """Add to a number, which is zero when there is none; what it is then.

        None when no server answers. memcached's numbers are never below zero.
        """
        name, seconds = self._key(key), max(1, round(ttl))
        try:
            for _ in range(2):             # another process may make it in between
                change = self.client.incr if delta >= 0 else self.client.decr
                value = change(name, abs(delta))
                if value is not None:
                    return int(value)
                if self.client.add(name, str(max(0, delta)), seconds, noreply=False):
                    return max(0, delta)
        except (MemcacheError, OSError, ValueError):
            pass
        return None

    def delete(self, key):
        try:
            self.client.delete(self._key(key))
        except (MemcacheError, OSError):
            pass                     # as above


def _address(text):
    host, colon, port = text.rpartition(':')
    if not colon:
        host, port = text, '11211'
    if not port.isdigit():
        raise ConfigError(f'memcache_servers: no port in {text!r}')
    return host.strip('[]'), int(port)


def make_cache(conf):
    """The cache an ini section describes.

    ``memcache_servers`` (comma separated host:port), or memcache.conf's; without any the cache is
    the process's own.
    """
    servers = conf.get('memcache_servers')
    if not servers:
        path = os.path.join(conf.get('swift_dir') or os.environ.get('SWIFT_DIR', '/etc/swift'),
                            'memcache.conf')
        if os.path.exists(path):
            servers = read_sections(path).get('memcache', {}).get('memcache_servers')
    if servers:
        return MemcacheCache(config_list(servers), config_float(conf, 'io_timeout', 1.5),
                             config_float(conf, 'connect_timeout', 0.3),
                             config_int(conf, 'memcache_max_connections', 10, 1))
    alone = conf.get('workers', 'auto').strip() in ('0', '1')
    return LocalCache(None if alone else SHARED_TTL)
