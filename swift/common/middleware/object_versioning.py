# SPDX-License-Identifier: Apache-2.0
"""The second kind of versioning: X-Versions-Enabled on a container, ?version-id on its objects.

Each version is an object ``\\0<name>\\0<time, counted backwards>`` in the hidden container
``\\0versions\\0<container>``; the object itself is a static link to the current one. An object
stored while versioning was off is no link: its version id is ``null``. What is stored, and where,
is as in OpenStack Swift.
"""

import mimetypes
from urllib.parse import quote, unquote

from swift.common.conf import config_true
from swift.common.constraints import Constraints
from swift.common.middleware.authbase import need_auth_above
from swift.common.middleware.copy import TRUE
from swift.common.middleware.segments import discard
from swift.common.middleware.symlink import RESERVED_OK, TARGET, link_headers
from swift.common.middleware.versioned_containers import (
    CONTAINER,
    ENABLED,
    VersionedContainers,
    public_location,
    split_place,
    version_name,
)
from swift.common.middleware.versions_common import (
    DELETED,
    ask,
    denied,
    done,
    passed_on,
    refusal,
    run,
    store_copy,
)
from swift.common.request import (
    ALLOW_RESERVED,
    PathError,
    Request,
    Response,
    answer,
    http_date,
    split_path,
)
from swift.common.timestamp import Timestamp
from swift.proxy.cached_info import cache_key, get_container_info
from swift.proxy.controllers.info import register

LINK = 'x-object-sysmeta-versions-symlink'
ID = 'X-Object-Version-Id'
EXPIRY = ('HTTP_X_DELETE_AT', 'HTTP_X_DELETE_AFTER')
NOT_VERSIONED = 'version-aware operations require that the container is versioned'


def parse_version(text):
    """The Timestamp of a version id, None for ``null``; ValueError for what is no id."""
    if text == 'null':
        return None
    stamp = Timestamp(text)
    if stamp.normal != text:
        raise ValueError('not in the form of a version id')
    return stamp


class ObjectVersioning(VersionedContainers):
    """Filter; made by versioned_writes with allow_object_versioning."""

    def __init__(self, app, conf):
        need_auth_above(app, 'versioned_writes')
        self.app = app
        self.constraints = Constraints.load()
        register('object_versioning')

    def __call__(self, env, start_response):
        method = env['REQUEST_METHOD']
        if method == 'OPTIONS' or 'swift.raw_link' in env or ALLOW_RESERVED in env:
            return self.app(env, start_response)
        try:
            _, _, container, obj = split_path(env)
        except PathError:
            return self.app(env, start_response)
        if obj is None:
            if container is None:
                return self.app(env, start_response)
            return self.container(env, start_response, method)
        query = env.get('QUERY_STRING')
        if query and 'version-id' in query:
            version = Request(env).params.get('version-id')
            if version:
                return self._versioned(env, method, version)(env, start_response)
        if method in ('GET', 'HEAD'):
            return self._read(env, start_response)
        if method not in ('PUT', 'POST', 'DELETE'):
            return self.app(env, start_response)
        info = get_container_info(env, self.app)
        if CONTAINER not in info['sysmeta']:
            return self.app(env, start_response)
        return self._write(env, method, info)(env, start_response)

    # -- the current version -------------------------------------------------
    def _read(self, env, start_response):
        """Say which version an object is."""
        def start(status, headers, exc_info=None):
            if status[0] in '23' or status[:3] in ('412', '416'):
                headers = self._named(env, headers)
            return start_response(status, headers)

        return self.app(env, start)

    @staticmethod
    def _named(env, headers):
        places = [target for target, reserved in env.get('swift.links', ()) if reserved]
        if places:
            headers = [*headers, (ID, split_place(places[-1])[2])]
        else:
            _, account, container, _ = split_path(env)
            info = env.get('swift.infocache', {}).get(cache_key(account, container))
            if info is None or CONTAINER not in info['sysmeta']:
                return headers
            headers = [*headers, (ID, 'null')]
        return [(n, public_location(v)) if n == 'Content-Location' else (n, v)
                for n, v in headers]

    def _write(self, env, method, info):
        """The Response to a PUT, POST or DELETE in a container that has, or had, versions."""
        refused = denied(env, info['write_acl'])
        if refused is not None:
            return refused
        if method == 'POST':
            return self._post(env, info)
        enabled = config_true(info['sysmeta'].get(ENABLED, ''))
        if not enabled:
            return self.app
        bad = self._check(env) if method == 'PUT' else None
        return bad or (self._put if method == 'PUT' else self._delete)(env, info)

    def _check(self, env):
        obj = split_path(env)[3]
        return self.constraints.check_name('object', obj)

    def _keep_null(self, env, base):
        """Make a version of an object that is none. ``(there was an object, None or the Response
        when it failed)``."""
        version, account, container, obj = split_path(env)
        status, low, pieces = ask(env, self.app, 'GET', f'/{version}/{account}/{container}/{obj}',
                                  {'X-Newest': 'True'})
        if status != 200:
            discard(pieces)
            return False, None if status == 404 else refusal(status)
        if LINK in low:
            discard(pieces)
            return True, None
        stamp = Timestamp(low.get('x-timestamp') or 0)
        status = store_copy(env, self.app, low, pieces, f'{base}/{version_name(obj, stamp)}',
                            {'X-Timestamp': stamp.internal})
        return True, None if status // 100 == 2 else refusal(status)

    @staticmethod
    def _stamp(env):
        given = env.get('HTTP_X_TIMESTAMP')
        return Timestamp(Timestamp(given).normal) if given else Timestamp.now()

    def _put(self, env, info):
        """Store a new version, then make the object a link to it."""
        version, account, container, obj = split_path(env)
        hidden = unquote(info['sysmeta'][CONTAINER])
        there, failed = self._keep_null(env, f'/{version}/{account}/{hidden}')
        if failed is not None:
            return failed
        if there and env.get('HTTP_IF_NONE_MATCH', '').strip() == '*':
            return answer(412)
        stamp = self._stamp(env)
        self._settle_type(env, obj)
        new = self._inner(env, version, account, hidden, version_name(obj, stamp), stamp)
        for key in (*EXPIRY, 'HTTP_IF_NONE_MATCH'):
            new.pop(key, None)
        status, headers, pieces = run(self.app, new)
        response = passed_on(status, headers, pieces)
        if status != 201:
            return response
        size = new.get('CONTENT_LENGTH')
        if size is None:                # its length is known only now
            _, low = done(env, self.app, 'HEAD',
                          f'/{version}/{account}/{hidden}/{version_name(obj, stamp)}')
            size = low.get('content-length', '0')
        size = new.get('HTTP_X_OBJECT_SYSMETA_SLO_SIZE') or size
        status = self._link(env, hidden, stamp, stamp, {
            'type': new.get('CONTENT_TYPE'), 'etag': response.get('Etag', ''), 'size': size,
            'slo_etag': new.get('HTTP_X_OBJECT_SYSMETA_SLO_ETAG')})
        if status // 100 != 2:
            return refusal(status)
        response.set(ID, stamp.normal)
        return response

    @staticmethod
    def _settle_type(env, obj):
        """Guess the content type now: a version's name says nothing."""
        if env.get('HTTP_X_DETECT_CONTENT_TYPE', '').lower() in TRUE or \
                not env.get('CONTENT_TYPE') and 'HTTP_X_SYMLINK_TARGET' not in env:
            env['CONTENT_TYPE'] = mimetypes.guess_type(obj)[0] or 'application/octet-stream'
            env.pop('HTTP_X_DETECT_CONTENT_TYPE', None)

    @staticmethod
    def _inner(env, version, account, container, obj, stamp=None):
        """The request, for another object, authorized already."""
        wire = f'/{version}/{account}/{container}/{obj}'.encode('utf-8', 'surrogateescape')
        new = {**env, 'PATH_INFO': wire.decode('latin-1'), 'RAW_PATH_INFO': quote(wire),
               ALLOW_RESERVED: 'true', 'swift.authorize': lambda req: None}
        new.pop('swift.split_path', None)
        if stamp is not None:
            new['HTTP_X_TIMESTAMP'] = stamp.internal
        return new

    def _link(self, env, hidden, stamp, when, facts):
        """The status of making the object a link to a version; ``facts`` are the version's."""
        version, account, container, obj = split_path(env)
        headers = link_headers(
            quote(f'{hidden}/{version_name(obj, stamp)}', errors='surrogateescape'),
            None, facts['etag'].strip('"'), facts['size'], facts.get('slo_etag'))
        headers.update({RESERVED_OK: 'true', LINK: 'true', 'Content-Length': '0',
                        'Content-Type': facts['type'] or 'application/octet-stream',
                        'X-Timestamp': when.internal})
        for key in EXPIRY:
            if key in env:
                headers[key[5:].replace('_', '-').title()] = env[key]
        return done(env, self.app, 'PUT', f'/{version}/{account}/{container}/{obj}', headers,
                    reserved=False)[0]

    def _delete(self, env, info):
        """Leave a marker, then delete the link."""
        version, account, container, obj = split_path(env)
        base = f"/{version}/{account}/{unquote(info['sysmeta'][CONTAINER])}"
        _, failed = self._keep_null(env, base)
        if failed is not None:
            return failed
        stamp = self._stamp(env)
        status, _ = done(env, self.app, 'PUT', f'{base}/{version_name(obj, stamp)}', {
            'Content-Type': DELETED, 'Content-Length': '0', 'X-Timestamp': stamp.internal})
        if status // 100 != 2:
            return refusal(status)
        env['HTTP_X_TIMESTAMP'] = stamp.internal
        response = passed_on(*run(self.app, env))
        response.set(ID, stamp.normal)
        return response

    def _post(self, env, info):
        """Metadata: of the link, which may expire, and of the version, which does not."""
        version, account, container, obj = split_path(env)
        first = dict(env)
        first['swift.raw_link'] = True
        status, headers, pieces = run(self.app, first)
        low = {n.lower(): v for n, v in headers}
        response = passed_on(status, headers, pieces)
        if status // 100 != 2 or LINK not in low:
            if status // 100 == 2 and TARGET in low:
                return self.app         # a link of the user's own: that filter knows what to say
            return response
        hidden, name = unquote(low[TARGET]).split('/', 1)
        new = self._inner(env, version, account, hidden, name)
        for key in EXPIRY:
            new.pop(key, None)
        response = passed_on(*run(self.app, new))
        response.set(ID, split_place(low[TARGET])[2])
        return response

    # -- a version by its id -------------------------------------------------
    def _versioned(self, env, method, text):
        """The Response to a request with ?version-id."""
        try:
            stamp = parse_version(text)
        except ValueError:
            return answer(400, 'Invalid version-id parameter')
        info = get_container_info(env, self.app)
        hidden = info['sysmeta'].get(CONTAINER)
        if hidden is None and not (stamp is None and method in ('GET', 'HEAD', 'DELETE')):
            if info['status'] // 100 != 2:
                return self.app
            return answer(400, NOT_VERSIONED)
        if stamp is None:
            return self._null(env, method, versioned=hidden is not None)
        hidden = unquote(hidden)
        if method == 'PUT':
            return self._restore(env, info, hidden, stamp)
        refused = self._owner_only(env, hidden, stamp)
        if refused is not None:
            return refused
        if method == 'DELETE':
            return self._delete_version(env, hidden, stamp)
        version, account, _, obj = split_path(env)
        new = self._inner(env, version, account, hidden, version_name(obj, stamp))
        if method == 'POST':
            for key in EXPIRY:
                new.pop(key, None)
            response = passed_on(*run(self.app, new))
            response.set(ID, stamp.normal)
            return response
        return self._read_version(new, stamp)

    def _owner_only(self, env, hidden, stamp):
        """Versions are read and deleted with the rights on their own container, which has no
        access list: a Response for whoever is not the account's owner."""
        version, account, _, obj = split_path(env)
        probe = self._inner(env, version, account, hidden, version_name(obj, stamp))
        if 'swift.authorize' not in env:
            return None
        probe['swift.authorize'] = env['swift.authorize']
        return denied(probe, None)

    def _read_version(self, env, stamp):
        status, headers, pieces = run(self.app, env)
        name = [(ID, stamp.normal)]
        if status == 200 and any(n.lower() == 'content-type' and v == DELETED
                                 for n, v in headers):
            discard(pieces)
            return Response(404, [('Content-Type', DELETED), *name])
        if status // 100 in (2, 3) or status in (412, 416):
            headers = [h for h in headers if h[0].lower() != 'content-location'] + name
        return Response(status, headers, pieces)

    def _null(self, env, method, versioned):
        """The version that is none: the object, unless it is a link to one."""
        if method in ('PUT', 'POST'):
            return answer(400, 'Invalid version-id parameter')
        if method == 'DELETE':
            response = passed_on(*run(self.app, env))
            if versioned:
                response.set(ID, 'null')
            return response
        status, headers, pieces = run(self.app, env)
        if any(reserved for _, reserved in env.get('swift.links', ())[:1]):
            discard(pieces)
            return answer(404)
        return Response(status, [*headers, (ID, 'null')] if status // 100 in (2, 3) else headers,
                        pieces)

    def _restore(self, env, info, hidden, stamp):
        """PUT with ?version-id: make an older version the current one."""
        refused = denied(env, info['write_acl'])
        if refused is not None:
            return refused
        req = Request(env)
        if req.content_length or req.content_length is None and (
                not req.chunked or env['wsgi.input'].read(1)):
            return answer(400, 'PUT with version-id takes no body')
        version, account, _, obj = split_path(env)
        base = f'/{version}/{account}/{hidden}'
        status, low = done(env, self.app, 'HEAD', f'{base}/{version_name(obj, stamp)}')
        if status != 200:
            return answer(404 if status == 404 else 503)
        if low.get('content-type', '').startswith(DELETED):
            return answer(400, 'A delete marker cannot be made the current version')
        _, failed = self._keep_null(env, base)
        if failed is not None:
            return failed
        now = self._stamp(env)
        for key in EXPIRY:
            env.pop(key, None)
        env['HTTP_X_TIMESTAMP'] = now.internal
        status = self._link(env, hidden, stamp, now, {
            'type': low['content-type'], 'etag': low['etag'],
            'size': low.get('x-object-sysmeta-slo-size') or low['content-length'],
            'slo_etag': low.get('x-object-sysmeta-slo-etag')})
        if status // 100 != 2:
            return refusal(status)
        return answer(201, headers=[('Etag', low['etag'].strip('"')), (ID, stamp.normal),
                                    ('Last-Modified', http_date(now.ceil()))])

    def _delete_version(self, env, hidden, stamp):
        """Delete a version; the link first when it leads there."""
        version, account, container, obj = split_path(env)
        own = f'/{version}/{account}/{container}/{obj}'
        name = version_name(obj, stamp)
        status, low = done(env, self.app, 'HEAD', own, {'X-Newest': 'True'})
        if status >= 500:
            return answer(503)
        current = split_place(low[TARGET])[2] if LINK in low else 'null'
        if LINK in low and unquote(low[TARGET]) == f'{hidden}/{name}':
            status, _ = done(env, self.app, 'DELETE', own, reserved=False)
            if status // 100 != 2 and status != 404:
                return refusal(status)
            current = 'null'
        new = self._inner(env, version, account, hidden, name)
        response = passed_on(*run(self.app, new))
        response.set(ID, stamp.normal)
        response.set('X-Object-Current-Version-Id', current)
        return response
