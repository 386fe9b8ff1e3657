# SPDX-License-Identifier: Apache-2.0
"""Containers whose objects have versions: switching it on and off, listing, deleting."""

import json
from typing import Any
from urllib.parse import quote, unquote

from swift.common.conf import config_true
from swift.common.constraints import Constraints
from swift.common.middleware.segments import drain
from swift.common.middleware.versions_common import ask, denied, done, passed_on, refusal, run
from swift.common.middleware.versions_listing import VersionListing
from swift.common.request import Request, Response, answer, split_path
from swift.common.reserved import is_reserved, reserved_name, split_reserved
from swift.common.storage_policy import policies
from swift.common.timestamp import Timestamp
from swift.proxy.cached_info import get_container_info

CONTAINER, ENABLED = 'versions-container', 'versions-enabled'     # keys of sysmeta
SYSMETA = 'X-Container-Sysmeta-'
SWITCH = 'HTTP_X_VERSIONS_ENABLED'
LATEST = 10 ** 15 - 1         # of a Timestamp's ticks
MAX_LISTING = 64 << 20
LEGACY = ('Cannot enable object versioning on a container that is already using the legacy '
          'versioned writes feature.')
SYNCED = 'Cannot enable object versioning on a container configured as source of container syncing.'


def backwards(stamp):
    """A Timestamp that sorts the other way round; its own inverse."""
    return Timestamp(0, delta=LATEST - stamp.raw)


def version_name(obj, stamp):
    """The name of an object's version."""
    return reserved_name(obj, backwards(stamp).normal)


def hidden_name(container):
    """The name of the container that holds the versions."""
    return reserved_name('versions', container)


def split_place(target):
    """``(container, object, version id)`` of the quoted place of a version; ValueError else."""
    hidden, _, name = unquote(target).partition('/')
    _, container = split_reserved(hidden, 2)
    obj, stamp = split_reserved(name, 2)
    return container, obj, backwards(Timestamp(stamp)).normal


def public_location(location):
    """A Content-Location as clients may see it: a version by its id."""
    version, account, rest = location[1:].split('/', 2)
    try:
        container, obj, stamp = split_place(rest)
    except ValueError:
        return location
    return f'/{version}/{account}/{quote(container)}/{quote(obj)}?version-id={stamp}'


class VersionedContainers:
    """The container half of the filter `object_versioning`."""

    app: Any
    constraints: Constraints

    def container(self, env, start_response, method):
        """Answer a request to a container."""
        if method in ('PUT', 'POST'):
            response = self._settings(env)
            if response is not None:
                return response(env, start_response)
        elif method == 'DELETE':
            return self._delete_container(env)(env, start_response)
        elif method in ('GET', 'HEAD'):
            query = env.get('QUERY_STRING')
            if method == 'GET' and query and 'versions' in query and \
                    'versions' in Request(env).params:
                return self._versions(env)(env, start_response)
            return self._show(env, method)(env, start_response)
        return self.app(env, start_response)

    # -- settings ------------------------------------------------------------
    def _settings(self, env):
        """Make ready what a container with versions needs; a Response when that is refused."""
        switch = env.get(SWITCH)
        starts = [k for k in ('HTTP_X_VERSIONS_LOCATION', 'HTTP_X_HISTORY_LOCATION',
                              'HTTP_X_CONTAINER_SYNC_TO') if env.get(k)]
        if switch is None and not starts:
            return None
        info = get_container_info(env, self.app)
        own = info['sysmeta'] if info['status'] // 100 == 2 else {}
        enable = switch is not None and config_true(switch)
        if starts and (enable or CONTAINER in own):
            if starts[0].endswith('SYNC_TO'):
                return answer(400, SYNCED if enable else 'Cannot set up container sync on a '
                              'container with object versioning')
            return answer(400, LEGACY if enable else 'Cannot use versioned writes on a container '
                          'with object versioning')
        if switch is None:
            return None
        env.pop(SWITCH)
        if enable:
            if own.get('versions-location'):
                return answer(400, LEGACY)
            if info['status'] // 100 == 2 and info.get('sync_to'):
                return answer(400, SYNCED)
            refused = denied(env, None) or self._make_hidden(env, info)
            if refused is not None:
                return refused
        elif CONTAINER not in own:
            return None                    # there is nothing to switch off
        self._store(env, enable)
        return None

    @staticmethod
    def _store(env, enabled):
        container = split_path(env)[2]
        req = Request(env)
        req.set(SYSMETA + CONTAINER, quote(hidden_name(container)))
        req.set(SYSMETA + ENABLED, 'True' if enabled else 'False')

    def _make_hidden(self, env, info):
        """Create the container for the versions, of the same storage policy; a Response when it
        cannot be."""
        version, account, container, _ = split_path(env)
        exists = info['status'] // 100 == 2
        headers = {}
        if exists:
            policy = policies().by_index(info['storage_policy'])
            if policy is not None:
                headers['X-Storage-Policy'] = policy.name
        elif env.get('HTTP_X_STORAGE_POLICY'):
            headers['X-Storage-Policy'] = env['HTTP_X_STORAGE_POLICY']
        elif env['REQUEST_METHOD'] == 'POST':
            return None                    # the POST will say that there is no container
        status, _, pieces = ask(env, self.app, 'PUT',
                                f'/{version}/{account}/{hidden_name(container)}', headers)
        text = drain(pieces, MAX_LISTING)
        if status // 100 == 2:
            return None
        return Response(status, [('Content-Type', 'text/html; charset=UTF-8')], text) \
            if status // 100 == 4 else answer(503)

    def _delete_container(self, env):
        """Delete a container; 409 while there are versions of its objects."""
        info = get_container_info(env, self.app)
        hidden = info['sysmeta'].get(CONTAINER)
        if hidden is None:
            return self.app
        refused = denied(env, None)
        if refused is not None:
            return refused
        version, account, _, _ = split_path(env)
        path = f'/{version}/{account}/{unquote(hidden)}'
        status, low = done(env, self.app, 'HEAD', path, {'X-Newest': 'True'})
        if status // 100 == 2 and int(low.get('x-container-object-count', 0)):
            return answer(409, 'Delete all versions before deleting container.')
        if status // 100 != 2 and status != 404:
            return answer(503)
        response = passed_on(*run(self.app, env))
        if response.status // 100 == 2:
            status, _ = done(env, self.app, 'DELETE', path)
            if status // 100 != 2 and status != 404:
                return refusal(status)
        return response

    # -- reading -------------------------------------------------------------
    def _show(self, env, method):
        """A HEAD or GET of a container: its size with that of the versions, links as objects."""
        status, headers, pieces = run(self.app, env)
        low = {n.lower(): v for n, v in headers}
        hidden = low.get((SYSMETA + CONTAINER).lower())
        if status // 100 != 2 or not hidden:
            return Response(status, headers, pieces)
        version, account, _, _ = split_path(env)
        response = Response(status, headers, pieces)
        self._tell(env, response, low, unquote(hidden))
        if method == 'GET' and status == 200:
            body = drain(pieces, MAX_LISTING)
            if body[:1] == b'[' and b'symlink_path' in body:
                items = json.loads(body)
                for item in items:
                    show_current(item, version, account)
                body = json.dumps(items).encode()
                response.set('Content-Length', str(len(body)))
            response.body = body
        return response

    def _tell(self, env, response, low, hidden):
        """Give a response the headers of a container whose versions are in ``hidden``."""
        version, account, _, _ = split_path(env)
        _, sizes = done(env, self.app, 'HEAD', f'/{version}/{account}/{hidden}')
        response.set('X-Versions-Enabled', 'True' if config_true(
            low.get((SYSMETA + ENABLED).lower(), '')) else 'False')
        response.set('X-Container-Bytes-Used', str(sum(
            int(h.get('x-container-bytes-used', 0)) for h in (low, sizes))))

    def _versions(self, env):
        """The listing of all versions, as JSON."""
        query = env['QUERY_STRING']
        limit = self.constraints.container_listing_limit
        listing = VersionListing(Request(env).params, limit)
        if listing.problem is not None:
            return listing.problem
        env['QUERY_STRING'] = listing.first_query()
        status, headers, pieces = run(self.app, env)
        env['QUERY_STRING'] = query
        if status // 100 != 2:
            return Response(status, headers, pieces)
        version, account, container, _ = split_path(env)
        low = {n.lower(): v for n, v in headers}
        first = json.loads(drain(pieces, MAX_LISTING) or b'[]')
        hidden = low.get((SYSMETA + CONTAINER).lower())

        def page(name, text):
            status, _, pieces = ask({k: v for k, v in env.items() if k != 'swift.raw_link'},
                                    self.app, 'GET', f'/{version}/{account}/{name}', query=text,
                                    reserved=is_reserved(name))
            body = drain(pieces, MAX_LISTING)
            if status == 404:
                return []
            if status // 100 != 2:
                raise ConnectionError(f'listing of versions: status {status}')
            return json.loads(body or b'[]')

        hidden = unquote(hidden) if hidden else None
        body = json.dumps(listing.items(first, container, hidden, page)).encode()
        response = Response(200, headers, body)
        response.set('Content-Type', 'application/json; charset=utf-8')
        response.set('Content-Length', str(len(body)))
        if hidden:
            self._tell(env, response, low, hidden)
        return response


def show_current(item, version, account):
    """A listing's entry of a link to a version, as that of the version."""
    found = place_of(item)
    if found is None:
        return
    container, obj, stamp = found
    item['symlink_path'] = \
        f'/{version}/{quote(account)}/{quote(container)}/{quote(obj)}?version-id={stamp}'
    item['version_symlink'] = True
    _, sep, params = item['hash'].partition(';')
    item['hash'] = item.pop('symlink_etag', item['hash'].partition(';')[0]) + sep + params
    size = item.pop('symlink_bytes', 0)
    item['bytes'] = item['bytes'] or size


def place_of(item):
    """``(container, object, version id)`` an entry of a listing links to, None for others."""
    path = item.get('symlink_path')
    if path is None or '%00' not in path:
        return None
    try:
        return split_place(path[1:].split('/', 2)[2])
    except (ValueError, IndexError):
        return None
