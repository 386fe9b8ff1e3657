# SPDX-License-Identifier: Apache-2.0
"""Signed addresses: temp_url_sig and temp_url_expires let whoever has them do one thing.

The signature is an HMAC over method, end and path (or ``prefix:`` and a path's beginning) with a
key of the account or the container. It gives access within that account or container only, also
to what the object refers to.
"""

import binascii
import calendar
import ipaddress
import time
from urllib.parse import parse_qsl, quote, urlencode

from swift.common.conf import config_list
from swift.common.middleware.signatures import (
    parse_signature,
    read_digests,
    shown_digests,
    signed_scope,
)
from swift.common.request import (
    PathError,
    answer,
    http_date,
    split_path,
)
from swift.proxy.controllers.info import register

ISO = '%Y-%m-%dT%H:%M:%SZ'
OURS = ('temp_url_sig', 'temp_url_expires', 'temp_url_prefix', 'temp_url_ip_range', 'filename',
        'inline')
# What a write may carry; the rest of X-* is dropped, and refused when it would make the object
# stand for another one.
WRITTEN = ('HTTP_X_OBJECT_META_', 'HTTP_X_DELETE_A', 'HTTP_X_REMOVE_DELETE_A', 'HTTP_X_FORWARDED_',
           'HTTP_X_TRANS_ID_EXTRA', 'HTTP_X_DETECT_CONTENT_TYPE', 'HTTP_X_ROBOTS_TAG')
REFERRING = ('HTTP_X_OBJECT_MANIFEST', 'HTTP_X_SYMLINK_', 'HTTP_X_COPY_FROM',
             'HTTP_X_STATIC_LARGE_OBJECT')
READ = ('HTTP_X_NEWEST', 'HTTP_X_FORWARDED_', 'HTTP_X_CLUSTER_CLIENT_IP', 'HTTP_X_TRANS_ID_EXTRA')
ACTIONS = ('multipart-manifest', 'extract-archive', 'bulk-delete', 'version-id', 'symlink')


class HeaderNames:
    """Names of headers from an option: apart by blanks, ``*`` at the end of one for any ending."""

    def __init__(self, text):
        self.names = text.lower().split()
        self._whole = frozenset(self.names)
        self._begin = tuple(n[:-1] for n in self.names if n.endswith('*'))

    def __contains__(self, name):
        return name in self._whole or name.startswith(self._begin)


def parse_expires(text):
    """Seconds since 1970 of temp_url_expires, a number or ISO 8601 in UTC; ValueError else."""
    if text.isascii() and text.isdigit() and len(text) < 16:
        return int(text)
    return calendar.timegm(time.strptime(text, ISO))


def disposition(obj, params, stored):
    """The Content-Disposition of a download, bytes as text."""
    filename = params.get('filename')
    if 'inline' in params:
        if not filename:
            return 'inline'
        kind = 'inline'
    elif filename or not stored:
        kind = 'attachment'
    else:
        return stored
    name = filename or obj.rstrip('/').rpartition('/')[2]
    plain, full = (quote(name, safe=safe, errors='surrogateescape') for safe in (' /', '/'))
    return f'{kind}; filename="{plain}"; filename*=UTF-8\'\'{full}'


class TempURL:
    """Filter; options methods, allowed_digests, incoming_remove_headers, incoming_allow_headers,
    outgoing_remove_headers, outgoing_allow_headers.

    The incoming lists say what is dropped besides, and kept nevertheless; the outgoing ones are all
    there is.
    """

    def __init__(self, app, conf):
        self.app = app
        self.methods = config_list(conf.get('methods', 'GET HEAD PUT POST DELETE')
                                   .replace(' ', ','))
        self.digests = read_digests(conf)
        self.dropped, self.kept = (HeaderNames(conf.get(f'incoming_{what}_headers', ''))
                                   for what in ('remove', 'allow'))
        self.hidden = HeaderNames(conf.get('outgoing_remove_headers', 'x-object-meta-*'))
        self.shown = HeaderNames(conf.get('outgoing_allow_headers', 'x-object-meta-public-*'))
        ours = {n[5:].replace('_', '-').lower() + '*' for n in WRITTEN + READ}
        register('tempurl', methods=self.methods, **shown_digests(self.digests),
                 incoming_remove_headers=sorted({'x-*', *self.dropped.names}),
                 incoming_allow_headers=sorted(
                     {n for n in ours if n not in self.dropped} | {*self.kept.names}),
                 outgoing_remove_headers=self.hidden.names,
                 outgoing_allow_headers=self.shown.names)

    def __call__(self, env, start_response):
        query = env.get('QUERY_STRING')
        if not query or 'temp_url_' not in query or env['REQUEST_METHOD'] == 'OPTIONS':
            return self.app(env, start_response)
        # Of what is given twice the first counts, as it always has.
        params = dict(reversed(parse_qsl(query, keep_blank_values=True,
                                         errors='surrogateescape')))
        if 'temp_url_sig' not in params and 'temp_url_expires' not in params:
            return self.app(env, start_response)
        scope = self._check(env, params)
        if scope is None:
            return answer(401, 'Temp URL invalid',
                          [('Www-Authenticate', 'Swift realm="unknown"')])(env, start_response)
        refused = self._clean(env, params)
        if refused is not None:
            return refused(env, start_response)
        self._grant(env, params, scope)
        if env['REQUEST_METHOD'] not in ('GET', 'HEAD'):
            return self.app(env, start_response)
        return self._read(env, start_response, params)

    # -- may it be? ----------------------------------------------------------
    def _check(self, env, params):
        """``(account, container or None)`` that the signature opens, None when it is not valid."""
        method = env['REQUEST_METHOD']
        try:
            version, account, container, obj = split_path(env)
            expires = parse_expires(params.get('temp_url_expires', ''))
            digest, given = parse_signature(params.get('temp_url_sig', ''))
        except (PathError, ValueError, binascii.Error, OverflowError):
            return None
        prefix = params.get('temp_url_prefix')
        if not obj and container and prefix == '' and method in ('GET', 'HEAD'):
            obj = ''                # of a web site, which may be listed then
        if not container or obj is None or method not in self.methods or \
                digest not in self.digests or expires <= time.time():
            return None
        path = f'/{version}/{account}/{container}/{obj}'
        if prefix is not None:
            if not obj.startswith(prefix):
                return None
            path = f'prefix:/{version}/{account}/{container}/{prefix}'
        ip_range = params.get('temp_url_ip_range')
        if ip_range is not None and not self._in_range(env, ip_range):
            return None
        methods = ('HEAD', 'GET', 'PUT', 'POST') if method == 'HEAD' else (method,)
        lead = '' if ip_range is None else f'ip={ip_range}\n'
        texts = [f'{lead}{m}\n{expires}\n{path}'.encode('utf-8', 'surrogateescape')
                 for m in methods if m in self.methods]
        return signed_scope(env, self.app, account, container, texts, digest, given)

    @staticmethod
    def _in_range(env, text):
        try:
            return ipaddress.ip_address(env.get('REMOTE_ADDR', '')) in \
                ipaddress.ip_network(text)
        except ValueError:
            return False

    # -- what it may carry ---------------------------------------------------
    def _clean(self, env, params):
        """Drop what the signer did not sign for; a 400 for what would change its meaning."""
        reading = env['REQUEST_METHOD'] in ('GET', 'HEAD')
        for key in [k for k in env if k.startswith('HTTP_')
                    and not k.startswith('HTTP_X_BACKEND_')]:       # filters' own
            name = key[5:].replace('_', '-').lower()
            if not reading and key.startswith(REFERRING):
                return answer(400, f'The header {name.title()!r} is not allowed in this tempurl')
            unsigned = key.startswith('HTTP_X_') and \
                not key.startswith(READ if reading else WRITTEN)
            if name not in self.kept and (unsigned or name in self.dropped):
                del env[key]
        if 'content-type' in self.dropped and 'content-type' not in self.kept:
            env.pop('CONTENT_TYPE', None)
        if not reading:
            for name in ACTIONS:
                if name in params:
                    return answer(400, f'The parameter {name!r} is not allowed in this tempurl')
        return None

    @staticmethod
    def _grant(env, params, scope):
        account, container = scope
        own_container, prefix = split_path(env)[2], params.get('temp_url_prefix')

        def authorize(req):
            try:
                _, of_account, of_container, obj = split_path(req.environ)
            except PathError:
                return answer(401)
            if obj is None and req.environ.get('swift.source') != 'DLO':
                # Only as the page of a web site, and of what was signed for.
                listed = req.environ.get('swift.web_listing')
                if prefix is None or own_container != of_container or listed is None or \
                        not listed.startswith(prefix):
                    return answer(401)
            if of_account != account or of_container is None or \
                    container is not None and of_container != container or \
                    req.method not in ('GET', 'HEAD') and obj is None:
                return answer(401)
            return None

        env['swift.authorize'] = authorize
        env['swift.authorize_override'] = True
        env['REMOTE_USER'] = '.wsgi.tempurl'
        env['QUERY_STRING'] = urlencode([(n, params[n]) for n in OURS if n in params],
                                        errors='surrogateescape')

    def _read(self, env, start_response, params):
        obj = split_path(env)[3]

        def start(status, headers, exc_info=None):
            kept = [h for h in headers
                    if h[0].lower() not in self.hidden or h[0].lower() in self.shown]
            if status[0] == '2' and obj and 'swift.web_page' not in env:
                stored = next((v for n, v in kept if n.lower() == 'content-disposition'), None)
                kept = [h for h in kept if h[0].lower() not in ('content-disposition', 'expires')]
                kept += [('Content-Disposition', disposition(obj, params, stored)),
                         ('Expires', http_date(parse_expires(params['temp_url_expires'])))]
            return start_response(status, kept)

        return self.app(env, start)


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: TempURL(app, conf)
