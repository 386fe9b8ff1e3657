# SPDX-License-Identifier: Apache-2.0
"""One line for each request: who asked what, what was answered, how long it took.

The server calls `access_log` when a request is over; the filter itself is no layer for the data.
"""

import time
from urllib.parse import quote, unquote

from swift.common.conf import config_int, config_true
from swift.common.log import get_logger

_stamp = (0, '')


def _date(now):
    global _stamp
    second = int(now)
    if _stamp[0] != second:
        _stamp = (second, time.strftime('%d/%b/%Y/%H/%M/%S', time.gmtime(second)))
    return _stamp[1]


def _field(text):
    """A value as one word: what could end the field or the line is quoted."""
    if not text:
        return '-'
    return text if text.isalnum() else quote(text, '/:=,;@!+*()\'$&~?%')


class ProxyLogging:
    """Filter; options ``access_log_*`` (as ``log_*``), ``log_headers``, ``reveal_sensitive_prefix``
    (how many characters of a token are shown; 16)."""

    def __init__(self, app, conf):
        self.app = app
        own = dict(conf)
        for key in ('name', 'level', 'facility', 'address', 'udp_host', 'udp_port'):
            value = conf.get('access_log_' + key, conf.get('log_' + key))
            if value is not None:
                own['log_' + key] = value
        self.logger = get_logger(own, own.get('log_name', 'proxy-server') + '-access')
        self.reveal = config_int(conf, 'reveal_sensitive_prefix', 16)
        self.log_headers = config_true(conf.get('log_headers', 'no'))

    def __call__(self, env, start_response):
        return self.app(env, start_response)

    def access_log(self, env, status, bytes_out, start, end):
        """Write the line; ``status`` is the status line, times are seconds since 1970."""
        if not self.logger.isEnabledFor(20):
            return
        get = env.get
        path = env['RAW_PATH_INFO']
        if env['QUERY_STRING']:
            path += '?' + _without_secrets(env['QUERY_STRING'])
        token = get('swift.token') or get('HTTP_X_AUTH_TOKEN') or get('HTTP_X_STORAGE_TOKEN')
        if token:
            token = token[:self.reveal] + '...'
        client = get('HTTP_X_CLUSTER_CLIENT_IP') or get(
            'HTTP_X_FORWARDED_FOR', '').split(',')[0].strip() or get('REMOTE_ADDR')
        code = '499' if get('swift.client_disconnect') else status[:3]
        shown = '-'
        if self.log_headers:
            shown = quote('\n'.join(f'{n}: {v}' for n, v in get('headers_raw', ())
                                    if 'token' not in n.lower() and 'key' not in n.lower()
                                    and n.lower() != 'authorization'))
        self.logger.info(
            '%s %s %s %s %s %s %s %s %s %s %s %d - %s %s %.4f %s - %.9f %.9f -',
            _field(client), get('REMOTE_ADDR', '-'), _date(end), env['REQUEST_METHOD'],
            _field(path), env['SERVER_PROTOCOL'], code, _field(get('HTTP_REFERER')),
            _field(get('HTTP_USER_AGENT')), _field(token), _field(get('CONTENT_LENGTH')),
            bytes_out, get('swift.trans_id', '-'), shown, end - start,
            get('swift.source') or '-', start, end)


def _without_secrets(query):
    """The query with signatures cut: a log must not hold what still opens a door."""
    if 'sig' not in query.lower() and '%' not in query:
        return query
    out = []
    for item in query.split('&'):
        name, eq, value = item.partition('=')
        if 'sig' in unquote(name).lower():
            value = value[:16] + '...'
        out.append(name + eq + value)
    return '&'.join(out)


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: ProxyLogging(app, conf)
