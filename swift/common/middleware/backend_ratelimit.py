# SPDX-License-Identifier: Apache-2.0
"""Keeps a disk from being asked more than it can answer: a storage server says 529 then.

The proxy goes on to the next node and does not hold it against this one. Rates are for each
device, of all requests and of each method; 0 is no limit. They may also stand in
backend-ratelimit.conf, in the server's own section, say [object-server]; what stands there counts,
and is read anew when the file has changed.
"""

import os
import time

from swift.common.conf import SWIFT_DIR, config_float, read_sections
from swift.common.exceptions import ConfigError
from swift.common.log import get_logger

METHODS = ('DELETE', 'GET', 'HEAD', 'POST', 'PUT', 'REPLICATE', 'UPDATE')
BODY = b'Too Many Backend Requests'
ANY = 'requests_per_device_per_second'
BUFFER = 'requests_per_device_rate_buffer'


class Rate:
    """One limit: how many requests a second, some of which may be saved up."""

    def __init__(self, rate, buffer, clock=time.monotonic):
        self.step, self.buffer, self.clock = 1 / rate, buffer, clock
        self.next = 0.0

    def take(self):
        """Whether a request may be done now."""
        now = self.clock()
        if self.next < now - self.buffer:
            self.next = now - self.buffer
        if self.next > now:
            return False
        self.next += self.step
        return True


class BackendRateLimit:
    """Filter; options requests_per_device_per_second, <method>_requests_per_device_per_second,
    requests_per_device_rate_buffer, backend_ratelimit_conf_path, config_reload_interval (0: it is
    read at the start only)."""

    def __init__(self, app, conf, clock=time.monotonic):
        self.app, self.conf, self.clock = app, conf, clock
        self.logger = get_logger(conf, conf.get('log_name', 'backend_ratelimit'))
        swift_dir = conf.get('swift_dir') or os.environ.get('SWIFT_DIR', SWIFT_DIR)
        self.path = conf.get('backend_ratelimit_conf_path',
                             os.path.join(swift_dir, 'backend-ratelimit.conf'))
        self.reload_interval = config_float(conf, 'config_reload_interval', 60)
        self.looked, self.look = clock(), self._look()
        self._set()

    def _set(self):
        conf = dict(self.conf)
        if self.look is not None:
            conf.update(read_sections(self.path).get(conf.get('log_name', ''), {}))
        self.buffer = config_float(conf, BUFFER, 1)
        self.rate = config_float(conf, ANY, 0)
        self.rates = {m: rate for m in METHODS
                      if (rate := config_float(conf, f'{m.lower()}_{ANY}', 0)) > 0}
        self.limits = {}

    def _look(self):
        """What tells whether the file has changed; None when there is none."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _perhaps_reload(self):
        self.looked, before, self.look = self.clock(), self.look, self._look()
        if self.look == before:
            return
        try:
            self._set()
        except ConfigError as exc:
            self.logger.error('ERROR the limits stay as they were: %s', exc)
        else:
            self.logger.info('Limits as of %s', self.path)

    def __call__(self, env, start_response):
        if self.reload_interval and self.clock() - self.looked >= self.reload_interval:
            self._perhaps_reload()
        if self.rate <= 0 and not self.rates:
            return self.app(env, start_response)
        device = env['PATH_INFO'][1:].partition('/')[0]
        method = env['REQUEST_METHOD']
        if method in METHODS and not self._allowed(device, method):
            start_response('529 Too Many Backend Requests', [
                ('Content-Type', 'text/plain'), ('Content-Length', str(len(BODY)))])
            return [BODY]
        return self.app(env, start_response)

    def _allowed(self, device, method):
        for key, rate in ((device, self.rate), ((device, method), self.rates.get(method, 0))):
            if rate > 0:
                limit = self.limits.get(key)
                if limit is None:
                    if len(self.limits) > 10_000:      # someone makes names up
                        self.limits.clear()
                    limit = self.limits[key] = Rate(rate, self.buffer)
                if not limit.take():
                    return False
        return True


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: BackendRateLimit(app, conf)
