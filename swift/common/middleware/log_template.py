# SPDX-License-Identifier: Apache-2.0
"""Access log lines of another form than the usual: ``log_msg_template``.

A field is ``{name}`` or ``{name.transformer}``; both are those of OpenStack Swift's documentation.
"""

import hashlib
import re
import time
from datetime import UTC, datetime

from swift.common.exceptions import ConfigError

FIELDS = frozenset((
    'client_ip', 'remote_addr', 'end_time', 'method', 'domain', 'path', 'protocol', 'status_int',
    'referer', 'user_agent', 'auth_token', 'bytes_recvd', 'bytes_sent', 'client_etag',
    'transaction_id', 'headers', 'request_time', 'source', 'log_info', 'start_time', 'ttfb',
    'policy_index', 'account', 'container', 'object', 'pid', 'wire_status_int', 'access_user_id'))
ANONYMIZABLE = frozenset((
    'client_ip', 'remote_addr', 'domain', 'path', 'referer', 'user_agent', 'client_etag',
    'headers', 'account', 'container', 'object'))
TIMES = frozenset(('start_time', 'end_time'))
SCALES = {'s': 1, 'ms': 1000, 'us': 1_000_000, 'ns': 1_000_000_000}
STRFTIME = frozenset('aAbBcdHIjmMpSUwWxXyYZ')
_field = re.compile(r'\{([a-z_]+)(?:\.([A-Za-z0-9]+))?\}')


def timestamp(value, transformer):
    """A point in time, in the form a transformer names."""
    if transformer == 'datetime':
        return time.strftime('%d/%b/%Y/%H/%M/%S', time.gmtime(value))
    if transformer == 'asctime':
        return time.asctime(time.gmtime(value))
    if transformer == 'iso8601':
        return datetime.fromtimestamp(value, UTC).replace(tzinfo=None).isoformat()
    if transformer in SCALES:
        return str(int(value * SCALES[transformer]))
    return time.strftime('%' + transformer, time.gmtime(value))


class Template:
    """A template; ConfigError for one with fields or transformers nobody knows."""

    def __init__(self, text, method='md5', salt=''):
        self.parts = _field.split(text)          # text, name, transformer, text, ...
        self.method, self.salt = method.lower(), salt
        if self.method not in hashlib.algorithms_available:
            raise ConfigError(f'log_anonymization_method: {method} is not known')
        for name, transformer in zip(self.parts[1::3], self.parts[2::3], strict=True):
            if name not in FIELDS:
                raise ConfigError(f'log_msg_template: there is no field {name}')
            if transformer and not self._fits(name, transformer):
                raise ConfigError(f'log_msg_template: {name} cannot be {transformer}')

    @staticmethod
    def _fits(name, transformer):
        if transformer == 'anonymized':
            return name in ANONYMIZABLE
        return name in TIMES and (transformer in SCALES or transformer in STRFTIME or
                                  transformer in ('datetime', 'asctime', 'iso8601'))

    def line(self, fields, quoted):
        """The line; ``fields`` by name, ``quoted`` makes a value one word."""
        out = [self.parts[0]]
        for at in range(1, len(self.parts), 3):
            name, transformer, text = self.parts[at:at + 3]
            value = fields[name]
            if transformer == 'anonymized':
                value = self._anonymous(value)
            elif transformer:
                value = timestamp(value, transformer)
            elif name in TIMES:
                value = f'{value:.9f}'
            out += [quoted(value), text]
        return ''.join(out)

    def _anonymous(self, value):
        if not value:
            return value
        if self.method == 'md5':
            digest = hashlib.md5(usedforsecurity=False)
        else:
            digest = hashlib.new(self.method)
        salt = self.salt.encode('utf-8')
        digest.update(salt + value.encode('utf-8', 'surrogateescape'))
        lead = f'{{S{self.method.upper()}}}' if salt else f'{{{self.method.upper()}}}'
        return lead + digest.hexdigest()
