# SPDX-License-Identifier: Apache-2.0
"""One line for each request: who asked what, what was answered, how long it took.

The server calls `access_log` when a request is over; the filter itself is no layer for the data.
What is answered before it, by a healthcheck say, has no line. Fields are quoted as OpenStack
Swift's are, so that what reads its logs reads these: a path that was quoted is so twice.
Where it also stands right before the proxy, it logs the requests that other filters make.
"""

import logging
import os
import time
from urllib.parse import quote, unquote

from swift.common.conf import config_int, config_list, config_true
from swift.common.log import get_logger, log_line
from swift.common.middleware.log_template import Template
from swift.common.request import PathError, split_path
from swift.common.statsd import Statsd
from swift.proxy.cached_info import cache_key

VERSIONS = ('v1', 'v1.0')
METHODS = 'GET,HEAD,POST,PUT,DELETE,COPY,OPTIONS,UPDATE'
SECRET = ('token', 'key', 'authorization', 'cookie')         # in names of headers
FIRST_BYTE = 'swift.first_byte'        # when a GET's answer began
SEEN = 'swift.access_log'               # the request came to the filter
BEFORE = 'swift.received_before'        # bytes of the client's that were read for others
STORE_PATH = 'swift.store_path'        # what a request of the S3 API is about, as split_path has it
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
    return text if text.isalnum() else quote(text, '/:')


def _word(value):
    """As `_field`, of a value of any type."""
    return '-' if not value else _field(str(value))


def _received(env):
    """Bytes that were read of the client's body; of another body, what was to be sent."""
    received = getattr(env.get('wsgi.input'), 'received', None)
    return int(env.get('CONTENT_LENGTH') or 0) if received is None else \
        received - env.get(BEFORE, 0)


class ProxyLogging:
    """Filter; options ``access_log_*`` (as ``log_*``), access_log_headers (or log_headers),
    access_log_headers_only, reveal_sensitive_prefix (how many characters of a token are shown;
    16), log_msg_template, log_anonymization_method, log_anonymization_salt, log_statsd_*,
    log_statsd_valid_http_methods."""

    def __init__(self, app, conf):
        self.app = app
        own = dict(conf)
        for key in ('name', 'level', 'facility', 'address', 'udp_host', 'udp_port'):
            value = conf.get('access_log_' + key, conf.get('log_' + key))
            if value is not None:
                own['log_' + key] = value
        name = own.get('log_name', 'proxy-server')
        self.logger = get_logger(own, name + '-access')
        self.reveal = config_int(conf, 'reveal_sensitive_prefix', 16)
        self.log_headers = config_true(conf.get('access_log_headers',
                                                conf.get('log_headers', 'no')))
        self.only = {h.lower() for h in config_list(conf.get('access_log_headers_only', ''))}
        template = conf.get('log_msg_template')
        self.template = Template(template, conf.get('log_anonymization_method', 'md5'),
                                 conf.get('log_anonymization_salt', '')) if template else None
        self.statsd = Statsd.of(conf, 'proxy-server')
        self.methods = set(config_list(conf.get(
            'access_log_statsd_valid_http_methods',
            conf.get('log_statsd_valid_http_methods', METHODS))))
        # The one right before the proxy sees what filters ask. What the S3 API asks is what its
        # client asks, and has a line already.
        self.inner = app is not None and not hasattr(app, 'app')

    def __call__(self, env, start_response):
        env[SEEN] = True
        if self.inner and 'swift.source' in env and \
                (env['swift.source'] != 'S3' or env.get('swift.log_twice')):
            return self._log_inner(env, start_response)
        if self.statsd is not None and env['REQUEST_METHOD'] == 'GET':
            return self.app(env, _noting(env, start_response))
        return self.app(env, start_response)

    def _log_inner(self, env, start_response):
        """Log a request that another filter makes, when its body is read or let go."""
        begun = time.time()
        env[BEFORE] = getattr(env.get('wsgi.input'), 'received', 0)
        got: list = []

        def start(status, headers, exc_info=None):
            got[:] = [status]
            env[FIRST_BYTE] = time.time()
            return start_response(status, headers)

        return Counted(self, env, self.app(env, start), got, begun)

    # -- a line --------------------------------------------------------------
    def access_log(self, env, status, bytes_out, start, end):
        """Write the line; ``status`` is the status line, times are seconds since 1970."""
        get = env.get
        if SEEN not in env:
            return
        code = '499' if get('swift.client_disconnect') else status[:3]
        if self.statsd is not None:
            self._measure(self.statsd, env, code, bytes_out, start, end)
        if not self.logger.isEnabledFor(20):
            return
        path = quote(env['PATH_INFO'].encode('latin-1'))
        if env['QUERY_STRING']:
            path += '?' + self._without_secrets(env['QUERY_STRING'])
        token = get('swift.token') or get('HTTP_X_AUTH_TOKEN') or get('HTTP_X_STORAGE_TOKEN')
        if token:
            token = token[:self.reveal] + '...'
        client = get('HTTP_X_CLUSTER_CLIENT_IP') or get(
            'HTTP_X_FORWARDED_FOR', '').split(',')[0].strip() or get('REMOTE_ADDR')
        shown = self._headers(env) if self.log_headers else '-'
        user = get('swift.access_logging')
        user = user.get('user_id') if user else None
        if self.template is not None:
            self._by_template(self.template, env, status, bytes_out, start, end, {
                'client_ip': client, 'path': path, 'status_int': code, 'auth_token': token,
                'headers': None if shown == '-' else unquote(shown), 'access_user_id': user})
            return
        log_line(self.logger, logging.INFO, ' '.join((
            _field(client), get('REMOTE_ADDR', '-'), _date(end), env['REQUEST_METHOD'],
            _field(path), env['SERVER_PROTOCOL'], str(code), _field(get('HTTP_REFERER')),
            _field(get('HTTP_USER_AGENT')), _field(token), str(_received(env) or '-'),
            str(bytes_out or '-'), _field(get('HTTP_ETAG')), get('swift.trans_id', '-'), shown,
            f'{end - start:.4f}', get('swift.source') or '-',
            _field(','.join(get('swift.log_info', ()))), f'{start:.9f}', f'{end:.9f}',
            self._policy(env), _field(user))))

    @staticmethod
    def _policy(env):
        """The storage policy index of what the request was about, as far as it is known."""
        parts, infos = env.get('swift.split_path'), env.get('swift.infocache')
        names = _s3_names(env) or parts and parts[1]
        if not names or not infos or names[3] is None:
            return '-'
        info = infos.get(cache_key(names[1], names[2]))
        return str(info['storage_policy']) if info is not None and 'storage_policy' in info else '-'

    def _by_template(self, template, env, status, bytes_out, start, end, fields):
        get = env.get
        try:
            _, account, container, obj = split_path(env)
        except PathError:
            account = container = obj = None
        fields.update({
            'remote_addr': get('REMOTE_ADDR'), 'end_time': end, 'start_time': start,
            'method': env['REQUEST_METHOD'], 'domain': get('HTTP_HOST', '').partition(':')[0],
            'protocol': env['SERVER_PROTOCOL'], 'referer': get('HTTP_REFERER'),
            'user_agent': get('HTTP_USER_AGENT'), 'bytes_recvd': _received(env),
            'bytes_sent': bytes_out, 'client_etag': get('HTTP_ETAG'),
            'transaction_id': get('swift.trans_id'), 'request_time': f'{end - start:.4f}',
            'source': get('swift.source'), 'log_info': ','.join(get('swift.log_info', ())),
            'ttfb': None, 'policy_index': self._policy(env), 'account': account,
            'container': container, 'object': obj, 'pid': os.getpid(),
            'wire_status_int': status[:3]})
        log_line(self.logger, logging.INFO, template.line(fields, _word))

    def _headers(self, env):
        """The request's headers as one word, without what opens doors."""
        pairs = env.get('headers_raw') or [
            (k[5:].replace('_', '-').title(), v) for k, v in env.items() if k[:5] == 'HTTP_']
        return quote('\n'.join(
            f'{n}: {v}' for n, v in pairs
            if not any(word in n.lower() for word in SECRET)
            and (not self.only or n.lower() in self.only))) or '-'

    def _without_secrets(self, query):
        """The query with signatures cut: a log must not hold what still opens a door."""
        if 'sig' not in query.lower() and '%' not in query:
            return query
        out = []
        for item in query.split('&'):
            name, eq, value = item.partition('=')
            if 'sig' in unquote(name).lower():
                value = value[:self.reveal] + '...'
            out.append(name + eq + value)
        return '&'.join(out)

    # -- metrics -------------------------------------------------------------
    def _measure(self, statsd, env, code, bytes_out, start, end):
        try:
            version, _, container, obj = _s3_names(env) or split_path(env)
            kind = 'object' if obj is not None else 'container' if container is not None \
                else 'account'
            if version not in VERSIONS:          # logging in, say
                kind = 'UNKNOWN'
        except PathError:
            kind = 'UNKNOWN'
        method = env['REQUEST_METHOD']
        if method not in self.methods:
            method = 'BAD_METHOD'
        moved = _received(env) + bytes_out
        names = [f'{kind}.{method}.{code}']
        index = self._policy(env)
        # Who was refused, and what is put together of other requests, was no storage policy's.
        if index != '-' and code not in ('401', '403') and method != 'COPY':
            names.append(f'object.policy.{index}.{method}.{code}')
        for name in names:
            statsd.timing(name + '.timing', end - start)
            if method == 'GET' and FIRST_BYTE in env:
                statsd.timing(name + '.first-byte.timing', env[FIRST_BYTE] - start)
            statsd.count(name + '.xfer', moved)


def _s3_names(env):
    """What a client of the S3 API asked for; what the API then asks has names of its own."""
    return env.get(STORE_PATH) if 'swift.source' not in env else None


def _noting(env, start_response):
    """As ``start_response``, and note when it was called."""
    def start(status, headers, exc_info=None):
        env[FIRST_BYTE] = time.time()
        return start_response(status, headers, exc_info)
    return start


class Counted:
    """A body of an inner request; its end is what is logged."""

    def __init__(self, log, env, pieces, got, begun):
        self.log, self.env, self.pieces, self.got, self.begun = log, env, pieces, got, begun
        self.sent, self.open = 0, True

    def __iter__(self):
        try:
            for piece in self.pieces:
                self.sent += len(piece)
                yield piece
        finally:
            self.close()

    def close(self):
        """Let the body go, and write the line."""
        if not self.open:
            return
        self.open = False
        close = getattr(self.pieces, 'close', None)
        if close is not None:
            close()
        if self.got:
            self.log.access_log(self.env, self.got[0], self.sent, self.begun, time.time())


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: ProxyLogging(app, conf)
