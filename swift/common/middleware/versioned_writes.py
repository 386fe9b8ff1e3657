# SPDX-License-Identifier: Apache-2.0
"""The first kind of versioning: what is overwritten is copied to a container the user names.

X-Versions-Location (a stack: DELETE brings the last version back) or X-History-Location (DELETE
leaves a marker) on the container. Versions are named ``<length of name, three hexadecimal
digits><name>/<timestamp>``. The other kind, X-Versions-Enabled, is `object_versioning`; one
section of the configuration makes both.
"""

import json
from urllib.parse import quote, unquote

from swift.common.conf import config_true
from swift.common.middleware.authbase import need_auth_above
from swift.common.middleware.object_versioning import ObjectVersioning
from swift.common.middleware.segments import discard, drain
from swift.common.middleware.versions_common import (
    DELETED,
    ask,
    denied,
    done,
    refusal,
    store_copy,
)
from swift.common.request import PathError, Request, answer, split_path
from swift.common.timestamp import Timestamp
from swift.proxy.cached_info import get_container_info
from swift.proxy.controllers.info import register

MODES = {'HTTP_X_VERSIONS_LOCATION': 'stack', 'HTTP_X_HISTORY_LOCATION': 'history'}
REMOVE = ('HTTP_X_REMOVE_VERSIONS_LOCATION', 'HTTP_X_REMOVE_HISTORY_LOCATION')
LOCATION, MODE = 'X-Container-Sysmeta-Versions-Location', 'X-Container-Sysmeta-Versions-Mode'
PAGE_BYTES = 64 << 20


def version_prefix(obj):
    """What names of an object's versions begin with."""
    return f'{len(obj.encode("utf-8", "surrogateescape")):03x}{obj}/'


class VersionedWrites:
    """Filter; option allow_versioned_writes."""

    def __init__(self, app, conf):
        need_auth_above(app, 'versioned_writes')
        self.app = app
        self.allowed = config_true(conf.get('allow_versioned_writes', 'false'))
        if self.allowed:
            register('versioned_writes', allowed_flags=['x-versions-location',
                                                        'x-history-location'])

    def __call__(self, env, start_response):
        method = env['REQUEST_METHOD']
        if method == 'OPTIONS':
            return self.app(env, start_response)
        try:
            _, _, container, obj = split_path(env)
        except PathError:
            return self.app(env, start_response)
        if obj is not None:
            if method in ('PUT', 'DELETE') and 'swift.raw_link' not in env:
                refused = self._object(env, method)
                if refused is not None:
                    return refused(env, start_response)
        elif container is not None:
            return self._container(env, start_response, method)
        return self.app(env, start_response)

    # -- containers ----------------------------------------------------------
    def _container(self, env, start_response, method):
        if method in ('PUT', 'POST'):
            refused = self._settings(env)
            if refused is not None:
                return refused(env, start_response)
            return self.app(env, start_response)

        def start(status, headers, exc_info=None):
            return start_response(status, self._shown(headers))

        return self.app(env, start)

    def _settings(self, env):
        """Turn the headers of the API into stored ones; a Response when they are wrong."""
        given = [key for key in MODES if env.get(key)]
        if len(given) > 1:
            return answer(400, 'Only one of X-Versions-Location or X-History-Location may be '
                          'specified')
        cleared = any(key in env for key in (*MODES, *REMOVE))
        value = env.get(given[0]) if given else None
        for key in (*MODES, *REMOVE):
            env.pop(key, None)
        req = Request(env)
        if value is None:
            if cleared:
                req.set(LOCATION, '')
                req.set(MODE, '')
            return None
        if not self.allowed:
            return answer(412, 'Versioned Writes is disabled')
        try:
            name = unquote(value.encode('latin-1').decode('utf-8'), errors='strict')
        except UnicodeError:
            name = ''
        if not name or '/' in name or '\0' in name:
            return answer(412, f"{given[0][5:].replace('_', '-').title()} must be the name of a "
                          'container')
        req.set(LOCATION, quote(name))
        req.set(MODE, MODES[given[0]])
        return None

    @staticmethod
    def _shown(headers):
        location = mode = None
        for name, value in headers:
            low = name.lower()
            if low == LOCATION.lower():
                location = value
            elif low == MODE.lower():
                mode = value
        if not location:
            return headers
        return [*headers, ('X-History-Location' if mode == 'history' else 'X-Versions-Location',
                           location)]

    # -- objects -------------------------------------------------------------
    def _object(self, env, method):
        """Keep what a write would destroy; a Response when the write must not be, or is done."""
        info = get_container_info(env, self.app)
        location = info['sysmeta'].get('versions-location')
        if not location or not self.allowed:
            return None
        refused = denied(env, info['write_acl'])
        if refused is not None:
            return refused
        version, account, container, obj = split_path(env)
        base = f'/{version}/{account}/{unquote(location)}'
        own = f'/{version}/{account}/{container}/{obj}'
        if method == 'PUT':
            return self._archive(env, own, base, obj)
        if info['sysmeta'].get('versions-mode') == 'history':
            return self._archive(env, own, base, obj) or self._mark(env, base, obj)
        return self._pop(env, own, base, obj)

    def _archive(self, env, own, base, obj):
        """Copy the current object to its place among the versions; a Response when it failed."""
        status, low, pieces = ask(env, self.app, 'GET', own, {'X-Newest': 'True'})
        if status != 200:
            discard(pieces)
            return None if status == 404 else refusal(status)
        stamp = Timestamp(low.get('x-timestamp') or 0)
        status = store_copy(env, self.app, low, pieces,
                            f'{base}/{version_prefix(obj)}{stamp.internal}', keep_expiry=True)
        return None if status // 100 == 2 else refusal(status)

    def _mark(self, env, base, obj):
        stamp = Timestamp.now()
        status, _ = done(env, self.app, 'PUT', f'{base}/{version_prefix(obj)}{stamp.internal}',
                         {'Content-Type': DELETED, 'Content-Length': '0'})
        return None if status // 100 == 2 else refusal(status)

    def _pop(self, env, own, base, obj):
        """DELETE of a stack: the newest version takes the object's place.

        A marker is left by a time when the container kept a history; where there is no object, it
        goes first.
        """
        names = self._newest(env, base, obj)
        if not isinstance(names, list):
            return names
        if names and names[0][1] == DELETED:
            status, _ = done(env, self.app, 'HEAD', own)
            if status // 100 == 2:
                return None
            if status != 404:
                return answer(503)
            status, _ = done(env, self.app, 'DELETE', f'{base}/{names[0][0]}')
            if status // 100 != 2 and status != 404:
                return refusal(status)
            del names[0]
            if not names or names[0][1] == DELETED:
                return answer(204)
        return self._restore(env, own, base, names)

    def _restore(self, env, own, base, names):
        """The newest version that is there takes the object's place: a 204 then."""
        for name, kind in names:
            if kind == DELETED:
                break
            status, low, pieces = ask(env, self.app, 'GET', f'{base}/{name}')
            if status == 404:
                discard(pieces)
                continue
            if status != 200:
                discard(pieces)
                return refusal(status)
            status = store_copy(env, self.app, low, pieces, own, keep_expiry=True)
            if status // 100 != 2:
                return refusal(status)
            status, _ = done(env, self.app, 'DELETE', f'{base}/{name}')
            return answer(204) if status // 100 == 2 or status == 404 else refusal(status)
        return None

    def _newest(self, env, base, obj):
        """``[(name, content type)]`` of the newest versions, or a Response."""
        prefix = quote(version_prefix(obj), errors='surrogateescape')
        status, _, pieces = ask(env, self.app, 'GET', base,
                                query=f'format=json&reverse=on&limit=100&prefix={prefix}')
        body = drain(pieces, PAGE_BYTES)
        if status == 404:
            return []
        if status // 100 != 2:
            return refusal(status)
        return [(i['name'], i['content_type']) for i in json.loads(body or b'[]')]


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}

    def make(app):
        app = VersionedWrites(app, conf)
        if config_true(conf.get('allow_object_versioning', 'false')):
            app = ObjectVersioning(app, conf)
        return app
    return make
