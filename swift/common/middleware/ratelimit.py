# SPDX-License-Identifier: Apache-2.0
"""Slows down who asks too often: writes by account and by container, listings by container.

Requests above the rate wait; who would have to wait longer than max_sleep_time_seconds gets a
498. Who is blacklisted, here or by X-Account-Sysmeta-Global-Write-Ratelimit on the account's
servers, can do nothing. How large a rate a container has depends on its size. The count is kept in
the cache filter's cache, so that with memcached it is the cluster's.
"""

import time

from swift.common.concurrency import sleep
from swift.common.conf import config_float, config_int, config_list
from swift.common.exceptions import ConfigError
from swift.common.log import get_logger
from swift.common.request import PathError, Response, split_path
from swift.proxy.cached_info import get_account_info, get_container_info
from swift.proxy.controllers.info import register

WRITES = ('PUT', 'DELETE', 'POST', 'COPY')
EXPIRE = 3600                 # seconds a count is kept without requests
BLOCK = 1                     # seconds a blocked account waits for its refusal


class TooMany(Exception):
    """The wait would be longer than allowed."""


def read_limits(conf, prefix):
    """``[(size, rate)]`` by size, of options like container_ratelimit_100 = 50."""
    found = []
    for name, value in conf.items():
        if not name.startswith(prefix):
            continue
        size = name[len(prefix):]
        try:
            rate = float(value)
        except ValueError:
            rate = -1.0
        if not size.isdigit() or rate < 0:
            raise ConfigError(f'{name} = {value}: should be {prefix}<objects> = <requests a '
                              'second>')
        found.append((int(size), rate))
    return sorted(found)


def rate_of(limits, size):
    """The rate of a container with ``size`` objects, between those of the next sizes; None when
    it has none."""
    below = None
    for at, rate in limits:
        if size < at:
            if below is None:
                return None
            low, first = below
            return first + (rate - first) * (size - low) / (at - low)
        below = (at, rate)
    return below[1] if below else None


class RateLimit:
    """Filter; options account_ratelimit, account_whitelist, account_blacklist,
    container_ratelimit_<size>, container_listing_ratelimit_<size>, clock_accuracy,
    rate_buffer_seconds, max_sleep_time_seconds, log_sleep_time_seconds."""

    def __init__(self, app, conf):
        self.app = app
        self.logger = get_logger(conf, conf.get('log_name', 'ratelimit'))
        self.account_rate = config_float(conf, 'account_ratelimit', 0)
        self.max_sleep = config_float(conf, 'max_sleep_time_seconds', 60)
        self.log_sleep = config_float(conf, 'log_sleep_time_seconds', 0)
        self.accuracy = config_int(conf, 'clock_accuracy', 1000, 1)
        self.buffer = config_float(conf, 'rate_buffer_seconds', 5)
        self.free = set(config_list(conf.get('account_whitelist', '')))
        self.blocked = set(config_list(conf.get('account_blacklist', '')))
        self.writes = read_limits(conf, 'container_ratelimit_')
        self.listings = read_limits(conf, 'container_listing_ratelimit_')
        register('ratelimit', account_ratelimit=self.account_rate,
                 max_sleep_time_seconds=self.max_sleep,
                 container_ratelimits=self.writes, container_listing_ratelimits=self.listings)

    def __call__(self, env, start_response):
        if env.get('swift.cache') is None or 'swift.ratelimit.handled' in env:
            return self.app(env, start_response)
        try:
            parts = split_path(env)
        except PathError:
            return self.app(env, start_response)
        env['swift.ratelimit.handled'] = True
        refused = self._limit(env, env['REQUEST_METHOD'], *parts[1:])
        return (refused or self.app)(env, start_response)

    def _limit(self, env, method, account, container, obj):
        """Wait as long as it takes; a Response when that would be too long."""
        if account in self.free:
            return None
        own = get_account_info(env, self.app)['sysmeta'].get('global-write-ratelimit')
        if own == 'WHITELIST':
            return None
        if account in self.blocked or own == 'BLACKLIST':
            self.logger.error('Returning 497 because of blacklisting: %s', account)
            sleep(BLOCK)
            return Response(497, [('Content-Type', 'text/plain; charset=UTF-8')],
                            b'Your account has been blacklisted')
        if container is None or method not in WRITES and not (self.listings and method == 'GET'):
            return None
        for key, rate in self._rates(env, method, account, container, obj, own):
            try:
                seconds = self._wait(env['swift.cache'], key, rate)
            except TooMany:
                self.logger.error('Returning 498 for %s to %s/%s/%s: rate limit %s', method,
                                  account, container, obj, key)
                return Response(498, [('Content-Type', 'text/plain; charset=UTF-8')], b'Slow down')
            if seconds > 0:
                if self.log_sleep and seconds > self.log_sleep:
                    self.logger.warning('Ratelimit sleep log: %s for %s/%s/%s', seconds, account,
                                        container, obj)
                sleep(seconds)
        return None

    def _rates(self, env, method, account, container, obj, own):
        """``(key, requests a second)`` of each limit that a request counts against."""
        if method in WRITES:
            if self.account_rate and obj is None and method in ('PUT', 'DELETE'):
                yield f'ratelimit/{account}', self.account_rate
            try:
                rate = float(own) if own else 0.0
            except ValueError:
                rate = 0.0
            if rate > 0:
                yield f'ratelimit/global-write/{account}', rate
        limits, kind = (self.writes, '') if obj is not None else (self.listings, '_listing')
        if limits and (obj is not None and method in WRITES or obj is None and method == 'GET'):
            info = get_container_info(env, self.app)
            rate = rate_of(limits, int(info['object_count'] or 0))
            if rate:
                yield f'ratelimit{kind}/{account}/{container}', rate

    def _wait(self, cache, key, rate):
        """Seconds to wait for a turn; TooMany when they are too many. Without a cache: none."""
        now = round(time.time() * self.accuracy)
        step = max(1, round(self.accuracy / rate))
        running = cache.incr(key, step, EXPIRE)
        if running is None:
            return 0.0
        if now - running > self.buffer * self.accuracy:
            # Nobody has asked for some time: what was not used up is not saved for later.
            cache.set(key, now + step, EXPIRE)
            return 0.0
        need = max(running - now - step, 0)
        if need > self.max_sleep * self.accuracy:
            cache.incr(key, -step, EXPIRE)
            raise TooMany
        return need / self.accuracy


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: RateLimit(app, conf)
