# SPDX-License-Identifier: Apache-2.0
"""What the proxy remembers of accounts and containers for a while.

The cache is whatever the cache filter put into ``swift.cache``; without that filter each request
asks the servers once. Entries are plain dictionaries of header values as WSGI has them. What does
not exist is remembered a tenth of the time, failures not at all.

OpenStack Swift's proxies may share the memcached: keys and fields are theirs, and so is the form in
the cache, real text. Their entries of accounts have no `deleted`; an account that is yet to be made
is to them one of status 200 that does not really exist.
"""

import random

from swift.common.request import (
    ALLOW_RESERVED,
    Request,
    http_date,
    real_text,
    split_path,
    wsgi_text,
)
from swift.common.storage_policy import policies
from swift.common.timestamp import Timestamp
from swift.proxy.footers import CALLBACK

CORS = 'x-container-meta-access-control-'
# By the kind of an entry, of the process: filters look into the cache, too.
_skip_chances = {'account': 0.0, 'container': 0.0}


def skip_cache(account, container):
    """Have such a share of the looks into the cache find nothing, so that what is asked for often
    is renewed before it runs out for all at once."""
    _skip_chances.update(account=account, container=container)


def cache_key(account, container=None):
    """The key of an entry."""
    return f'container/{account}/{container}' if container is not None else f'account/{account}'


def container_entry(status, headers):
    """A container's entry from the headers (lower case) of its HEAD."""
    meta, sysmeta, cors = _sorted_out(headers, 'x-container-')
    return {
        'status': status,
        'read_acl': headers.get('x-container-read'),
        'write_acl': headers.get('x-container-write'),
        'sync_key': headers.get('x-container-sync-key'),
        'sync_to': headers.get('x-container-sync-to'),
        'object_count': headers.get('x-container-object-count'),
        'bytes': headers.get('x-container-bytes-used'),
        'versions': headers.get('x-versions-location'),
        'storage_policy': headers.get('x-backend-storage-policy-index', '0'),
        'created_at': headers.get('x-backend-timestamp'),
        'put_timestamp': headers.get('x-backend-put-timestamp'),
        'delete_timestamp': headers.get('x-backend-delete-timestamp'),
        'status_changed_at': headers.get('x-backend-status-changed-at'),
        'sharding_state': headers.get('x-backend-sharding-state', 'unsharded'),
        'meta': meta, 'sysmeta': sysmeta, 'cors': cors,
    }


# What an entry must hold so that an answer to GET can be made of it.
_NEEDED = (('X-Backend-Timestamp', 'created_at'), ('X-Backend-Put-Timestamp', 'put_timestamp'),
           ('X-Backend-Delete-Timestamp', 'delete_timestamp'),
           ('X-Backend-Status-Changed-At', 'status_changed_at'),
           ('X-Backend-Storage-Policy-Index', 'storage_policy'),
           ('X-Container-Object-Count', 'object_count'), ('X-Container-Bytes-Used', 'bytes'),
           ('X-Backend-Sharding-State', 'sharding_state'))
_OPTIONAL = (('X-Container-Read', 'read_acl'), ('X-Container-Write', 'write_acl'),
             ('X-Container-Sync-Key', 'sync_key'), ('X-Container-Sync-To', 'sync_to'),
             ('X-Versions-Location', 'versions'))


def container_headers(entry):
    """The headers an entry was made of, or None when it lacks some."""
    if any(entry.get(name) is None for _, name in _NEEDED):
        return None
    headers = [(header, entry[name]) for header, name in _NEEDED]
    headers += [(header, entry[name]) for header, name in _OPTIONAL if entry.get(name)]
    put = Timestamp(entry['put_timestamp'])
    headers += [('X-Timestamp', Timestamp(entry['created_at']).normal),
                ('X-Put-Timestamp', put.normal), ('Last-Modified', http_date(put.ceil())),
                ('Content-Type', 'application/json; charset=utf-8')]
    for kind in ('meta', 'sysmeta'):
        headers += [(f'X-Container-{kind.title()}-{name.title()}', value)
                    for name, value in entry.get(kind, {}).items()]
    return headers


def account_entry(status, headers):
    """An account's entry from the headers of its HEAD."""
    meta, sysmeta, _ = _sorted_out(headers, 'x-account-')
    return {
        'status': status,
        'container_count': headers.get('x-account-container-count'),
        'total_object_count': headers.get('x-account-object-count'),
        'bytes': headers.get('x-account-bytes-used'),
        'storage_policies': {str(policy.index): _used(headers, policy) for policy in policies()},
        'deleted': headers.get('x-account-status', '').lower() == 'deleted',
        'account_really_exists': headers.get('x-backend-fake-account-listing') != 'yes',
        'meta': meta, 'sysmeta': sysmeta,
    }


def _used(headers, policy):
    """What an account's headers say it has by a policy."""
    prefix = f'x-account-storage-policy-{policy.name.lower()}-'
    return {name: int(headers.get(prefix + header) or 0) for name, header in (
        ('container_count', 'container-count'), ('object_count', 'object-count'),
        ('bytes', 'bytes-used'))}


def _sorted_out(headers, prefix):
    meta, sysmeta = {}, {}
    cors = dict.fromkeys(('allow_origin', 'expose_headers', 'max_age'))
    for name, value in headers.items():
        if not name.startswith(prefix):
            continue
        if name.startswith(prefix + 'meta-'):
            meta[name[len(prefix) + 5:]] = value
            if name.startswith(CORS):
                cors[name[len(CORS):].replace('-', '_')] = value
        elif name.startswith(prefix + 'sysmeta-'):
            sysmeta[name[len(prefix) + 8:]] = value
    return meta, sysmeta, cors


class InfoCache:
    """Entries for the proxy itself: from the cache, else from the servers."""

    def __init__(self, app):
        self.app = app

    def container(self, req, account, container):
        """The entry of a container; its ``status`` is 404 or 503 when there is none."""
        env = req.environ
        key = cache_key(account, container)
        entry = _known(env, key)
        if entry is None:
            ring = self.app.container_ring
            status, headers = self._head(req, 'Container', ring, account, container)
            entry = container_entry(status, headers)
            _missed(env, key, status)
            remember(env, key, entry, self.app.recheck_container)
        return entry

    def account(self, req, account):
        """The entry of an account."""
        env = req.environ
        key = cache_key(account)
        entry = _known(env, key)
        if entry is None:
            status, headers = self._head(req, 'Account', self.app.account_ring, account)
            entry = account_entry(status, headers)
            _missed(env, key, status)
            remember(env, key, entry, self.app.recheck_account)
        return entry

    def _head(self, req, kind, ring, account, container=None):
        from swift.proxy.backend import backend_path
        part, primaries = ring.get_nodes(account, container)
        app = self.app
        getter = app.getter(app, 'HEAD', kind, app.node_iter(ring, part, primaries, shuffle=True),
                            len(primaries), part, backend_path(account, container),
                            app.backend_headers(req))
        response = getter.response()
        return response.status, {n.lower(): v for n, v in response.headers}

    def known_container(self, req, account, container):
        """The entry of a container if it is remembered, else None."""
        return _known(req.environ, cache_key(account, container))

    def forget(self, req, account, container=None):
        """Drop an entry that a write made stale."""
        key = cache_key(account, container)
        req.environ.get('swift.infocache', {}).pop(key, None)
        cache = req.environ.get('swift.cache')
        if cache is not None:
            cache.delete(key)


def _known(env, key):
    infos = env.get('swift.infocache')
    if infos is not None and key in infos:
        return infos[key]
    cache = env.get('swift.cache')
    if cache is None:
        return None
    chance = _skip_chances[key.partition('/')[0]]
    if chance and random.random() < chance:
        return None
    keys = _wanted_with(env, key)
    found = {name: _recoded(entry, wsgi_text)
             for name, entry in zip(keys, cache.get_many(keys), strict=True) if entry is not None}
    if found:
        env.setdefault('swift.infocache', {}).update(found)
    return found.get(key)


def _missed(env, key, status):
    """What was not remembered has been asked for."""


def measure(statsd):
    """Have statsd told from now on, by OpenStack Swift's names, whether entries were remembered.

    These take the place of what knows nothing of it, so that it costs nobody anything else.
    """
    global _known, _missed
    known = _plain_known

    def measured(env, key):
        kind = key.partition('/')[0]
        if key in (env.get('swift.infocache') or ()):
            statsd.count(f'{kind}.info.infocache.hit', 1)
            return env['swift.infocache'][key]
        entry = known(env, key)
        if entry is not None:
            statsd.count(f'{kind}.info.cache.hit', 1)
        return entry

    def missed(env, key, status):
        state = 'disabled' if env.get('swift.cache') is None else 'miss'
        statsd.count(f"{key.partition('/')[0]}.info.cache.{state}.{status}", 1)

    _known, _missed = measured, missed


_plain_known = _known


def _wanted_with(env, key):
    """The keys to ask for instead of ``key`` alone: who handles an object looks at its container
    and its account, and one question costs half of two."""
    path, parts = env.get('swift.split_path') or (None, (None,) * 4)
    if path is None or path is not env['PATH_INFO'] or parts[2] is None \
            or any(_skip_chances.values()):               # each is skipped by a chance of its own
        return (key,)
    own = (cache_key(parts[1]), cache_key(parts[1], parts[2]))
    infos = env.get('swift.infocache') or ()
    if key not in own or own[0] in infos or own[1] in infos:
        return (key,)
    return own


def remember(env, key, entry, seconds):
    """Keep an entry for this request, and in the cache for as long as its status warrants."""
    env.setdefault('swift.infocache', {})[key] = entry
    cache = env.get('swift.cache')
    if cache is None:
        return
    if 200 <= entry['status'] < 300:
        # Not all at once: entries made together should not run out together.
        seconds *= 0.9 + 0.1 * random.random()
    elif entry['status'] in (404, 410):
        seconds *= 0.1
    else:
        return
    try:
        cache.set(key, _recoded(entry, real_text), seconds)
    except UnicodeDecodeError:
        pass                      # a header that is no UTF-8: each request asks the servers


def _recoded(entry, change):
    """An entry with `change` done to all its text that is not ASCII; itself when there is none."""
    shown = repr(entry)
    if shown.isascii() and '\\' not in shown:          # a quarter of what looking one by one costs
        return entry
    changed = {}
    for name, value in entry.items():
        if isinstance(value, str):
            new = value if value.isascii() else change(value)
        else:
            new = _recoded(value, change) if isinstance(value, dict) and value else value
        if new is not value or not name.isascii():
            changed[name] = new
    if not changed:
        return entry
    return {name if name.isascii() else change(name): changed.get(name, value)
            for name, value in entry.items()}


# -- for filters ---------------------------------------------------------------
def get_container_info(env, app, container=None):
    """The entry of the container a request is about, or of another one in its account, for a
    filter above the proxy."""
    _, account, own, _ = split_path(env)
    return _through(env, app, account, own if container is None else container)


def get_account_info(env, app):
    """The entry of the account a request is about."""
    _, account, _, _ = split_path(env)
    return _through(env, app, account, None)


def info_of(env, app, account, container=None):
    """The entry of any account or container, in the name of a request."""
    return _through(env, app, account, container)


def _through(env, app, account, container):
    key = cache_key(account, container)
    entry = _known(env, key)
    if entry is None:
        path = f'/v1/{account}' + (f'/{container}' if container is not None else '')
        status, headers, body = subrequest(env, app, 'HEAD', path, reserved='\0' in path)
        for _ in body:
            pass
        names = {n.lower(): v for n, v in headers}
        make = container_entry if container is not None else account_entry
        entry = make(status, names)
        _missed(env, key, status)
        # The proxy below has remembered it in the cache already.
        env.setdefault('swift.infocache', {}).setdefault(key, entry)
        entry = env['swift.infocache'][key]
    return entry


def subrequest(env, app, method, path, headers=None, query='', authorized=True, body=None,
               reserved=False, footers=None):
    """Ask ``app`` on behalf of a filter; ``(status, headers, body pieces)``.

    ``path`` is real text. With ``authorized`` no authorization takes place; ``reserved`` lets it
    hold reserved names. ``footers`` is called once the body was read (see swift.proxy.footers).
    """
    new = {k: v for k, v in env.items()
           if not k.startswith('HTTP_') or k in ('HTTP_HOST', 'HTTP_USER_AGENT', 'HTTP_REFERER')}
    for key in ('CONTENT_LENGTH', 'CONTENT_TYPE', 'swift.split_path', 'headers_raw',
                'swift.links', CALLBACK):
        new.pop(key, None)
    if footers is not None:
        new[CALLBACK] = footers
    wire = path.encode('utf-8', 'surrogateescape')
    from urllib.parse import quote
    new.update(REQUEST_METHOD=method, PATH_INFO=wire.decode('latin-1'), RAW_PATH_INFO=quote(wire),
               QUERY_STRING=query)
    new.setdefault('swift.infocache', env.setdefault('swift.infocache', {}))
    if authorized:
        new.pop('swift.authorize', None)
        new['swift.authorize_override'] = True
        new['swift.authorize'] = lambda req: None
    if body is None:
        new['CONTENT_LENGTH'] = '0'
    else:
        new['wsgi.input'] = body
    if reserved:
        new[ALLOW_RESERVED] = 'true'
    req = Request(new)
    for name, value in (headers or {}).items():
        req.set(name, value)
    got: list = []

    def start(status, items, exc_info=None):
        got[:] = [int(status[:3]), items]
    pieces = app(new, start)
    if not got:                   # a generator that answers when it is first asked
        pieces = iter(pieces)
        first = next(pieces, b'')
        import itertools
        pieces = itertools.chain((first,), pieces)
    return got[0], got[1], pieces
