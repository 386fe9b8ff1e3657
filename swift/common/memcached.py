# SPDX-License-Identifier: Apache-2.0
"""The proxy's cache of account and container facts: memcached, or the process itself.

Values are JSON on the wire, never pickles. A cache that does not answer is a cache miss, not an
error: every user of it can ask the servers instead.
"""

import json
import logging
import os
import time
from hashlib import md5

from pymemcache.client.murmur3 import murmur3_32

from swift.common.concurrency import StreamSocket, socket, ssl
from swift.common.conf import config_float, config_int, config_list, config_true, read_sections
from swift.common.exceptions import ConfigError
from swift.common.log import get_logger
from swift.common.statsd import Statsd

MAX_LOCAL = 100_000        # entries of the in-process cache
SHARED_TTL = 1.0           # seconds, when other workers have caches of their own
TRIES = 3                  # servers asked for a key, if those that have it fail
LOGGER = logging.getLogger('swift.memcache')
DEAD_SECONDS = 60.0        # for which a memcached that failed is left alone
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

    def get_many(self, keys):
        """The values of several keys, in their order."""
        return [self.get(key) for key in keys]

    def delete(self, key):
        self.items.pop(key, None)

    def _shrink(self):
        now = self.clock()
        self.items = {k: v for k, v in self.items.items() if v[0] >= now}
        while len(self.items) >= MAX_LOCAL * 0.9:
            for key in list(self.items)[:MAX_LOCAL // 10]:      # the oldest entries come first
                del self.items[key]


class MemcacheCache:
    """A cache in memcached servers, which all workers and proxies share, OpenStack Swift's too.

    A server that fails - ``most_errors`` times, each within ``dead_seconds`` of the one before -
    is left alone for so long; its keys are looked for on others meanwhile. So they are at once
    when it fails: on ``tries`` servers in all.
    """

    def __init__(self, servers, timeout=1.5, connect_timeout=0.3, pool_size=10, tls=None,
                 dead_seconds=DEAD_SECONDS, most_errors=1, tries=TRIES):
        self.tries = tries
        self.warn_at, self.logger = -1, LOGGER     # bytes of a value; set by who wants it
        self.servers = {name: Server(name, timeout, connect_timeout, pool_size, tls)
                        for name in servers}
        for server in self.servers.values():
            server.dead_seconds, server.most_errors = dead_seconds, most_errors

    def close(self):
        """Drop the connections."""
        for server in self.servers.values():
            server.close()

    @staticmethod
    def _key(key):
        return md5(key.encode('utf-8', 'surrogateescape'), usedforsecurity=False).hexdigest()

    def _server(self, key, failed=()):
        """Who has a key: the one with the highest hash of both (rendezvous hashing)."""
        now = time.monotonic()
        live = [server for server in self.servers.values()
                if server.dead_until <= now and server not in failed]
        if len(live) > 1:
            return max(live, key=lambda server: murmur3_32(f'{server.name}-{key}'))
        return live[0] if live else None

    def _ask(self, command, key, more=''):
        """The line that answers a command, None when no server gives one."""
        key = self._key(key)
        failed: list[Server] = []
        while len(failed) < self.tries:
            server = self._server(key, failed)
            answer = self._question(server, f'{command} {key}{more}\r\n', _read_line)
            if answer is not None or server is None:
                return answer
            failed.append(server)
        return None

    @staticmethod
    def _question(server, message, read):
        if server is None:
            return None
        try:
            return server.ask(message.encode(), read)
        except (OSError, ValueError):
            server.fail()
            return None

    def get(self, key):
        """The value, None when there is none or no server answers."""
        return self.get_many((key,))[0]

    def get_many(self, keys):
        """The values of several keys, in their order; each server is asked once."""
        hashes = [self._key(key) for key in keys]
        found: dict[bytes, bytes] = {}
        left: list[str] = hashes
        failed: list[Server] = []
        for _ in range(self.tries):
            asked: dict[Server | None, list[str]] = {}
            for name in left:
                asked.setdefault(self._server(name, failed), []).append(name)
            left = []
            for server, names in asked.items():
                if server is None:
                    continue
                values = self._question(server, f'get {" ".join(names)}\r\n', _read_values)
                if values is None:
                    failed.append(server)
                    left += names
                else:
                    found.update(values)
            if not left:
                break
        return [_value(found.get(name.encode())) for name in hashes]

    def set(self, key, value, ttl=0, time=0):
        """Keep a value of plain types for ``ttl`` (or ``time``) seconds.

        keystonemiddleware, told ``cache = swift.cache``, keeps its JSON here, as bytes.
        """
        ttl = ttl or time
        if isinstance(value, bytes):
            value = value.decode('latin-1')
        data = json.dumps(value)         # ASCII
        if 0 <= self.warn_at <= len(data):
            self.logger.warning('The value of %s in memcached has %d bytes', key, len(data))
        self._ask('set', key, f' {JSON_FLAG} {max(1, round(ttl))} {len(data)}\r\n{data}')

    def incr(self, key, delta, ttl):
        """Add to a number, which is zero when there is none; what it is then.

        None when no server answers. memcached's numbers are never below zero.
        """
        start = str(max(0, delta))
        for _ in range(2):             # another process may make it in between
            answer = self._ask('incr' if delta >= 0 else 'decr', key, f' {abs(delta)}')
            if answer is not None and answer.strip().isdigit():
                return int(answer)
            answer = self._ask('add', key, f' 0 {max(1, round(ttl))} {len(start)}\r\n{start}')
            if answer is None:
                return None
            if answer == b'STORED':
                return int(start)
        return None

    def delete(self, key):
        self._ask('delete', key)


now = time.monotonic                   # `set` has an argument that is called as the module


class MeasuredCache(MemcacheCache):
    """One that tells statsd how long answers take: of as many as OpenStack Swift does."""

    statsd: Statsd

    def _took(self, what, since, share):
        self.statsd.timing(f'memcached.{what}.timing', now() - since, share)

    def get_many(self, keys):
        since = now()
        try:
            return super().get_many(keys)
        finally:
            self._took('get', since, 0.01)

    def set(self, key, value, ttl=0, time=0):
        since = now()
        super().set(key, value, ttl, time)
        self._took('set', since, 0.1)

    def incr(self, key, delta, ttl):
        since = now()
        try:
            return super().incr(key, delta, ttl)
        finally:
            self._took('incr' if delta >= 0 else 'decr', since, 0.001)

    def delete(self, key):
        since = now()
        super().delete(key)
        self._took('delete', since, 0.1)


class Server:
    """One memcached: kept connections, by TLS with an SSLContext ``tls``, and whether it is left
    alone."""

    def __init__(self, name, timeout, connect_timeout, pool_size, tls=None):
        self.name, self.address, self.tls = name, _address(name), tls
        self.timeout, self.connect_timeout, self.pool_size = timeout, connect_timeout, pool_size
        self.idle = []
        self.dead_until = self.failed_at = 0.0
        self.errors = 0
        self.dead_seconds, self.most_errors = DEAD_SECONDS, 1

    def close(self):
        while self.idle:
            self.idle.pop().close()

    def fail(self):
        """It did not answer as it should: leave it alone for a while, if it does so often."""
        now = time.monotonic()
        self.errors = self.errors + 1 if now - self.failed_at < self.dead_seconds else 1
        self.failed_at = now
        if self.errors >= self.most_errors:
            self.dead_until = now + self.dead_seconds
        self.close()

    def ask(self, message, read):
        """What ``read`` makes of the answer.

        Raises OSError when there is no answer in time, ValueError for one that is none.
        """
        kept = bool(self.idle)
        sock = self.idle.pop() if kept else self._connect()
        good = False
        try:
            sock.sendall(message)
            answer = read(sock)
            good = True
        except ConnectionError:
            if not kept:
                raise
        finally:
            if good and len(self.idle) < self.pool_size:
                self.idle.append(sock)
            else:
                sock.close()
        if not good:
            # It was closed since it was used: so will the others be.
            self.close()
            return self.ask(message, read)
        return answer

    def _connect(self):
        found = socket.getaddrinfo(*self.address, 0, socket.SOCK_STREAM)
        family, kind, _, _, address = found[0]
        sock = StreamSocket(family, kind) if self.tls is None else socket.socket(family, kind)
        try:
            sock.settimeout(self.connect_timeout)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(self.timeout)
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_hostname=self.address[0])
        except BaseException:     # also a green thread's end must not leak the socket
            sock.close()
            raise
        return sock


def _read_line(sock):
    """The only line of an answer."""
    line, rest = _line(sock, b'')
    if rest:
        raise ValueError(f'memcached said more than {line[:80]!r}')
    return line


def _read_values(sock):
    """The values of an answer to ``get``, by their keys."""
    values = {}
    line, rest = _line(sock, b'')
    while line != b'END':
        said, key, _, size = line.split(b' ')
        end = int(size) + 2
        while len(rest) < end:
            rest += _more(sock)
        if said != b'VALUE' or rest[end - 2:end] != b'\r\n':
            raise ValueError('a value of memcached does not end where it should')
        values[key] = rest[:end - 2]
        line, rest = _line(sock, rest[end:])
    if rest:
        raise ValueError('memcached said more than its values')
    return values


def _value(data):
    """What a value is, None for what is no JSON."""
    if data is None:
        return None
    try:
        return json.loads(data)
    except ValueError:
        return None


def _line(sock, data):
    """``(next line, what came after it)``; ``data`` came before."""
    while b'\r\n' not in data:
        data += _more(sock)
    line, _, rest = data.partition(b'\r\n')
    return line, rest


def _more(sock):
    piece = sock.recv(65536)
    if not piece:
        raise ConnectionResetError('memcached closed the connection')
    return piece


def _address(text):
    host, colon, port = text.rpartition(':')
    if not colon:
        host, port = text, '11211'
    if not port.isdigit():
        raise ConfigError(f'memcache_servers: no port in {text!r}')
    return host.strip('[]'), int(port)


def _tls(conf):
    """How servers are made sure of, and we to them; None without tls_enabled."""
    if not config_true(conf.get('tls_enabled', 'no')):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    named = {name: conf.get(name) for name in ('tls_cafile', 'tls_certfile', 'tls_keyfile')}
    try:
        if named['tls_cafile']:
            context.load_verify_locations(named['tls_cafile'])
        else:
            context.load_default_certs()
        if named['tls_certfile']:
            context.load_cert_chain(named['tls_certfile'], named['tls_keyfile'])
    except OSError as exc:              # SSLError is one
        given = ', '.join(f'{name} {value}' for name, value in named.items() if value)
        raise ConfigError(f'{given}: {exc}') from None
    return context


def make_cache(conf):
    """The cache an ini section describes.

    ``memcache_servers`` (comma separated host:port), io_timeout, connect_timeout,
    memcache_max_connections, error_suppression_interval (seconds; 0: no server is left alone),
    error_suppression_limit, tries, item_size_warning_threshold, tls_enabled, tls_cafile,
    tls_certfile, tls_keyfile, each else memcache.conf's; without servers the cache is the process's
    own.
    """
    path = os.path.join(conf.get('swift_dir') or os.environ.get('SWIFT_DIR', '/etc/swift'),
                        'memcache.conf')
    if os.path.exists(path):
        conf = {**read_sections(path).get('memcache', {}), **conf}
    servers = conf.get('memcache_servers')
    if servers:
        statsd = Statsd.of(conf, 'proxy-server')     # as OpenStack Swift calls it
        kind = MemcacheCache if statsd is None else MeasuredCache
        cache = kind(config_list(servers), config_float(conf, 'io_timeout', 1.5),
                     config_float(conf, 'connect_timeout', 0.3),
                     config_int(conf, 'memcache_max_connections', 10, 1), _tls(conf),
                     config_float(conf, 'error_suppression_interval', DEAD_SECONDS),
                     config_int(conf, 'error_suppression_limit', 1, 1),
                     config_int(conf, 'tries', TRIES, 1))
        if isinstance(cache, MeasuredCache) and statsd is not None:
            cache.statsd = statsd
        cache.warn_at = config_int(conf, 'item_size_warning_threshold', -1, -1)
        cache.logger = get_logger(conf, conf.get('log_name', 'memcache'))
        return cache
    alone = conf.get('workers', 'auto').strip() in ('0', '1')
    return LocalCache(None if alone else SHARED_TTL)
