# SPDX-License-Identifier: Apache-2.0
"""Objects that stand for other objects: X-Symlink-Target, and -Target-Account, -Target-Etag.

A link is an empty object; GET and HEAD give what it points to, with that's own access checked,
``?symlink=get`` the link itself. A static link, one with X-Symlink-Target-Etag, is a 409 once its
target has changed. What it points to is kept in X-Object-Sysmeta-Symlink-*, as OpenStack Swift
does, and for listings in the entry's hash.
"""

from urllib.parse import quote, unquote

from swift.common.conf import config_int
from swift.common.middleware.copy import PathHeaderError, parse_target
from swift.common.middleware.listing_entries import answer_changed
from swift.common.middleware.segments import discard
from swift.common.request import (
    ALLOW_RESERVED,
    PathError,
    Request,
    Response,
    answer,
    real_text,
    split_path,
)
from swift.proxy.cached_info import subrequest
from swift.proxy.controllers.info import register

EMPTY = 'd41d8cd98f00b204e9800998ecf8427e'       # MD5 of no bytes
TARGET = 'x-object-sysmeta-symlink-target'
ACCOUNT, ETAG, BYTES = TARGET + '-account', TARGET + '-etag', TARGET + '-bytes'
RESERVED_OK = 'x-object-sysmeta-allow-reserved-names'
OVERRIDE = 'X-Object-Sysmeta-Container-Update-Override-Etag'
LENGTH = len(TARGET)
SEEN = ('200', '206', '304', '412', '416')       # answers about an object that is there
SHOWN = {TARGET: 'X-Symlink-Target', ACCOUNT: 'X-Symlink-Target-Account',
         ETAG: 'X-Symlink-Target-Etag', BYTES: 'X-Symlink-Target-Bytes'}
POSTED = ('The requested POST was applied to a symlink. POST directly to the target to apply '
          'requested metadata.')


def link_headers(target, account=None, etag=None, size=None, slo_etag=None):
    """The headers that make an empty object a link to ``target``, a quoted container/object."""
    override = f'{EMPTY}; symlink_target={target}'
    headers = {TARGET: target}
    if account is not None:
        headers[ACCOUNT] = account
        override += f'; symlink_target_account={account}'
    if etag is not None:
        headers[ETAG], headers[BYTES] = etag, str(size)
        override += f'; symlink_target_etag={etag}; symlink_target_bytes={size}'
    if slo_etag is not None:
        override += f'; slo_etag={slo_etag}'
    headers[OVERRIDE] = override
    return headers


def _named_target(env):
    """``(account or None, container, object)`` of the headers that ask for a link, which are taken
    away; PathHeaderError says what is wrong."""
    value = env.pop('HTTP_X_SYMLINK_TARGET')
    if value.startswith('/'):
        raise PathHeaderError('X-Symlink-Target header must be of the form '
                              '<container name>/<object name>')
    account = env.pop('HTTP_X_SYMLINK_TARGET_ACCOUNT', None)
    if account is not None:
        try:
            account = unquote(real_text(account), errors='strict')
        except UnicodeError:
            account = ''
        if not account or '/' in account or '\0' in account:
            raise PathHeaderError('X-Symlink-Target-Account header must be an account name '
                                  'without slashes')
    return (account, *parse_target('X-Symlink-Target', value))


def plain(status, text, headers=()):
    """A response of plain text, in which nothing needs to be escaped."""
    return Response(status, [*headers, ('Content-Type', 'text/plain; charset=UTF-8')],
                    text.encode('utf-8', 'surrogateescape'))


def is_link_query(env):
    """Whether the request is for the link itself."""
    query = env.get('QUERY_STRING')
    return bool(query) and 'symlink=get' in query and Request(env).params.get('symlink') == 'get'


class Symlink:
    """Filter; option symloop_max (links followed at most for one request)."""

    def __init__(self, app, conf):
        self.app = app
        self.most = config_int(conf, 'symloop_max', 2, 1)
        register('symlink', symloop_max=self.most, static_links=True)

    def __call__(self, env, start_response):
        method = env['REQUEST_METHOD']
        if method in ('GET', 'HEAD'):
            handler = self._read
        elif method == 'PUT' and 'HTTP_X_SYMLINK_TARGET' in env:
            handler = self._put
        elif method == 'POST':
            handler = self._post
        else:
            return self.app(env, start_response)
        try:
            _, _, container, obj = split_path(env)
        except PathError:
            return self.app(env, start_response)
        if obj is not None:
            return handler(env, start_response)
        if container is not None and method == 'GET':
            return self._listing(env, start_response)
        return self.app(env, start_response)

    # -- reading -------------------------------------------------------------
    def _read(self, env, start_response):
        authorize = env.get('swift.authorize')
        got: list = []

        def start(status, headers, exc_info=None):
            got[:] = status, headers

        pieces = self.app(env, start)
        status, headers = got
        for name, _ in headers:
            if len(name) == LENGTH and name.lower() == TARGET and status[:3] in SEEN:
                break
        else:
            start_response(status, headers)
            return pieces
        if 'swift.raw_link' in env:
            start_response(status, headers)
            return pieces
        if is_link_query(env) and not _reserved_ok(headers):
            start_response(status, _shown(headers))
            return pieces
        return self._follow(env, start_response, authorize, headers, pieces)

    def _follow(self, env, start_response, authorize, headers, pieces):
        """The answer of what a link, whose answer this was, leads to."""
        followed, expected = 0, None
        hop = env
        while True:
            low = {n.lower(): v for n, v in headers}
            discard(pieces)
            reserved = low.get(RESERVED_OK, '').lower() == 'true'
            followed += not reserved         # what versioning has put there is not the user's
            env.setdefault('swift.links', []).append((low[TARGET], reserved))
            if followed > self.most:
                return answer(409, 'Too many levels of symbolic links, maximum allowed is '
                              f'{self.most}')(env, start_response)
            expected = low.get(ETAG, expected)
            hop = self._hop(hop, low, authorize, reserved)
            got: list = []
            pieces = self.app(hop, lambda s, h, e=None, g=got: g.append((s, h)))
            status, headers = got[0]
            names = {n.lower(): v for n, v in headers}
            seen = status[:3] in SEEN
            if seen and expected is not None:
                own = names.get('etag', '').strip('"')
                found = names.get(ETAG) or own
                if expected not in (found, own):
                    discard(pieces)
                    wrong = answer(409, f'Object Etag {found!r} does not match '
                                   f'X-Symlink-Target-Etag header {expected!r}')
                    wrong.set('Content-Location', _location(hop))
                    return wrong(env, start_response)
                expected = None
            if not seen or TARGET not in names:
                break
            if is_link_query(env) and not _reserved_ok(headers):
                headers = _shown(headers)
                break
        headers = [h for h in headers if h[0].lower() != 'content-location']
        start_response(status, [*headers, ('Content-Location', names.get(
            'content-location') or _location(hop))])
        return pieces

    @staticmethod
    def _hop(env, low, authorize, reserved):
        """The request for a link's target, made from the one for the link."""
        version, account, _, _ = split_path(env)
        account = unquote(low[ACCOUNT], errors='strict') if ACCOUNT in low else account
        path = f"/{version}/{account}/{unquote(low[TARGET], errors='strict')}"
        wire = path.encode('utf-8', 'surrogateescape')
        new = dict(env)
        new.update({'PATH_INFO': wire.decode('latin-1'), 'RAW_PATH_INFO': quote(wire),
                    'swift.source': 'SYM'})
        new.pop('swift.split_path', None)
        new.pop(ALLOW_RESERVED, None)
        if reserved:
            # Whoever may read the link may read the version that is behind it.
            new[ALLOW_RESERVED] = 'true'
            new['swift.authorize'] = lambda req: None
        elif authorize is not None:
            new['swift.authorize'] = authorize
        return new

    # -- writing -------------------------------------------------------------
    def _put(self, env, start_response):
        """Store a link."""
        req = Request(env)
        if req.content_length or req.content_length is None and (
                not req.chunked or env['wsgi.input'].read(1)):
            status = 411 if req.content_length is None and not req.chunked else 400
            text = None if status == 411 else 'Symlink requests require a zero byte body'
            return answer(status, text)(env, start_response)
        version, own_account, own_container, own_obj = split_path(env)
        try:
            account, container, obj = _named_target(env)
        except PathHeaderError as e:
            return plain(412, str(e))(env, start_response)
        other, account = account is not None, account or own_account
        if (account, container, obj) == (own_account, own_container, own_obj):
            return answer(400, 'Symlink cannot target itself')(env, start_response)
        etag = env.pop('HTTP_X_SYMLINK_TARGET_ETAG', '').strip('"')
        size = slo_etag = None
        if etag:
            if quote(etag) != etag:
                return answer(400, 'Bad X-Symlink-Target-Etag format')(env, start_response)
            if 'swift.symlink_override' in env:
                # Container sync brings links in any order, perhaps before what they lead to.
                found = env.pop('HTTP_X_SYMLINK_TARGET_BYTES', '0'), None, 'application/symlink'
            else:
                found = self._look(env, f'/{version}/{account}/{container}/{obj}', etag)
            if not isinstance(found, tuple):
                return found(env, start_response)
            size, slo_etag, kind = found
            env.setdefault('CONTENT_TYPE', kind)
        env.setdefault('CONTENT_TYPE', 'application/symlink')
        env['CONTENT_LENGTH'] = '0'
        env.pop('HTTP_TRANSFER_ENCODING', None)
        env.pop('HTTP_ETAG', None) if env.get('HTTP_ETAG', EMPTY).strip('"') == EMPTY else None
        headers = link_headers(quote(f'{container}/{obj}', errors='surrogateescape'),
                               quote(account) if other else None,
                               etag or None, size, slo_etag)
        for name, value in headers.items():
            req.set(name, value)
        return self.app(env, start_response)

    def _look(self, env, path, etag):
        """``(size, slo_etag, type)`` of a static link's target; a Response when it differs."""
        for _ in range(self.most + 2):
            status, items, pieces = subrequest(env, self.app, 'HEAD', path, authorized=False)
            discard(pieces)
            low = {n.lower(): v for n, v in items}
            if status == 404:
                return answer(409, 'X-Symlink-Target does not exist')
            if status // 100 != 2:
                return answer(status, headers=[h for h in items
                                               if h[0].lower() == 'www-authenticate'])
            if TARGET in low and ETAG in low:
                version, account, _ = path[1:].split('/', 2)
                account = unquote(low[ACCOUNT]) if ACCOUNT in low else account
                path = f'/{version}/{account}/{unquote(low[TARGET])}'
                if low.get(RESERVED_OK) or low[ETAG] != etag:
                    break              # a version never changes; what differs will not agree
                continue
            break
        found = low.get(ETAG) or low.get('etag', '').strip('"')
        if found != etag:
            return answer(409, f'Object Etag {found!r} does not match X-Symlink-Target-Etag header '
                          f'{etag!r}')
        size = low.get(BYTES) or low.get('x-object-sysmeta-slo-size') or low['content-length']
        return size, low.get('x-object-sysmeta-slo-etag'), low['content-type']

    def _post(self, env, start_response):
        """Metadata of a link: done, and the client told where the target is."""
        if 'swift.raw_link' in env:
            return self.app(env, start_response)
        if 'HTTP_X_SYMLINK_TARGET' in env:
            return answer(400, 'A PUT request is required to set a symlink target')(
                env, start_response)
        got: list = []

        def start(status, headers, exc_info=None):
            got[:] = status, headers

        pieces = self.app(env, start)
        low = {n.lower(): v for n, v in got[1]}
        if TARGET not in low or got[0][0] != '2':
            start_response(*got)
            return pieces
        discard(pieces)
        hop = self._hop(env, low, None, False)
        response = Response(307, [('Content-Type', 'text/html; charset=UTF-8')], POSTED.encode())
        response.set('Location', _location(hop))
        response.set(SHOWN[ETAG], low.get(ETAG))
        return response(env, start_response)

    # -- listings ------------------------------------------------------------
    def _listing(self, env, start_response):
        """A container's listing in which links say where they lead."""
        def change(item):
            if '; symlink_target=' in item.get('hash', ''):
                version, account, _, _ = split_path(env)
                show_link(item, version, account)

        return answer_changed(self.app, env, start_response, (b'; symlink_target=',), change)


def show_link(item, version, account):
    """Turn what a listing's entry has in its hash of a link into keys of the entry."""
    value, *params = item['hash'].split('; ')
    found = {}
    for param in params:
        name, _, text = param.partition('=')
        if name.startswith('symlink_target'):
            found[name] = text
        else:
            value += f'; {param}'
    item['hash'] = value
    account = found.get('symlink_target_account', quote(account))
    item['symlink_path'] = f"/{version}/{account}/{found['symlink_target']}"
    if 'symlink_target_bytes' in found:
        item['symlink_bytes'] = int(found['symlink_target_bytes'])
    if 'symlink_target_etag' in found:
        item['symlink_etag'] = found['symlink_target_etag']


def _shown(headers):
    """A link's own headers as clients know them."""
    return [(SHOWN.get(n.lower(), n), v) for n, v in headers]


def _reserved_ok(headers):
    return any(n.lower() == RESERVED_OK for n, _ in headers)


def _location(env):
    return quote(env['PATH_INFO'].encode('latin-1'))


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: Symlink(app, conf)
