# SPDX-License-Identifier: Apache-2.0
"""Server-side copies: COPY with Destination, and PUT with X-Copy-From, become a GET and a PUT.

The source is read with the client's own rights. Its metadata go along unless X-Fresh-Metadata is
true; what the request sets wins.
"""

from urllib.parse import quote, unquote, urlencode

from swift.common.concurrency import GreenletExit
from swift.common.constraints import Constraints
from swift.common.exceptions import ChunkReadError
from swift.common.middleware.authbase import need_auth_above
from swift.common.request import PathError, Request, answer, split_path, wsgi_text
from swift.proxy.cached_info import subrequest

TRUE = ('true', '1', 'yes', 'on', 't', 'y')
# Of the source, besides its metadata. Its expiry stays behind, as in Swift.
CARRIED = ('content-type', 'content-encoding', 'content-disposition', 'content-language',
           'cache-control', 'expires', 'x-robots-tag', 'x-delete-at')


OF_SOURCE = ('version-id', 'symlink', 'part-number')       # in the query
# A link that is copied as such (symlink=get) points where it did.
LINK = {'x-symlink-target': 'X-Symlink-Target',
        'x-symlink-target-account': 'X-Symlink-Target-Account',
        'x-symlink-target-etag': 'X-Symlink-Target-Etag'}


class PathHeaderError(ValueError):
    """A header that names a container and an object does not."""


def parse_target(name, value):
    """``(container, object)`` of X-Copy-From or Destination; PathHeaderError says what is wrong."""
    try:
        text = unquote(value, errors='strict') if value.isascii() else \
            unquote(value.encode('latin-1').decode('utf-8'), errors='strict')
    except UnicodeError:
        raise PathHeaderError(f'{name} header is not valid UTF-8') from None
    container, _, obj = text.lstrip('/').partition('/')
    if not container or not obj or '\0' in text:
        raise PathHeaderError(f'{name} header must be of the form <container name>/<object name>')
    return container, obj


class SourceBody:
    """A copy's source as ``wsgi.input``."""

    def __init__(self, pieces):
        self.pieces = iter(pieces)
        self.close = getattr(pieces, 'close', None)
        self.rest = b''

    def read1(self, size=65536):
        """Some bytes, b'' at the end."""
        data = self.rest
        if not data:
            try:
                data = next(self.pieces, b'')
                while data == b'':
                    data = next(self.pieces)
            except StopIteration:
                return b''
            except GreenletExit:
                raise
            except OSError as e:
                raise ChunkReadError(f'the source of a copy failed: {e}') from e
        self.rest = data[size:]
        return data[:size]

    def read(self, size=-1):
        """``size`` bytes, or all."""
        parts, have = [], 0
        while size < 0 or have < size:
            data = self.read1(65536 if size < 0 else size - have)
            if not data:
                break
            parts.append(data)
            have += len(data)
        return b''.join(parts)


class Copy:
    """Filter."""

    def __init__(self, app, conf):
        need_auth_above(app, 'copy')
        self.app = app
        self.constraints = Constraints.load()

    def __call__(self, env, start_response):
        method = env['REQUEST_METHOD']
        if method == 'COPY':
            handler = self._copy
        elif method == 'PUT' and env.get('HTTP_X_COPY_FROM'):
            handler = self._put
        elif method == 'OPTIONS':
            return self._options(env, start_response)
        else:
            return self.app(env, start_response)
        try:
            _, account, container, obj = split_path(env)
        except PathError:
            return self.app(env, start_response)
        if obj is None:
            return self.app(env, start_response)
        # The environ given is the server's: it looks into it when all is over.
        return handler(dict(env), start_response, account, container, obj)

    def _options(self, env, start_response):
        """Objects can be copied, too."""
        def start(status, headers, exc_info=None):
            headers = [(n, v + ', COPY' if n in ('Allow', 'Access-Control-Allow-Methods')
                        and status[0] == '2' and 'DELETE' in v and self._is_object(env)
                        and 'COPY' not in v else v)
                       for n, v in headers]
            return start_response(status, headers)
        if env.get('HTTP_ACCESS_CONTROL_REQUEST_METHOD') == 'COPY' and self._is_object(env):
            env['HTTP_ACCESS_CONTROL_REQUEST_METHOD'] = 'PUT'
        return self.app(env, start)

    @staticmethod
    def _is_object(env):
        try:
            return split_path(env)[3] is not None
        except PathError:
            return False

    def _copy(self, env, start_response, account, container, obj):
        """Turn COPY around into a PUT at the destination."""
        req = Request(env)
        target = env.get('HTTP_DESTINATION')
        if not target:
            return answer(412, 'Destination header required')(env, start_response)
        try:
            to_container, to_obj = parse_target('Destination', target)
            to_account = self._account(req, 'Destination-Account') or account
        except PathHeaderError as e:
            return answer(412, str(e))(env, start_response)
        if req.content_length:
            return answer(400, 'Copy requests require a zero byte body')(env, start_response)
        version = env['PATH_INFO'].split('/')[1]
        env.update(REQUEST_METHOD='PUT', CONTENT_LENGTH='0',
                   PATH_INFO=wsgi_text(f'/{version}/{to_account}/{to_container}/{to_obj}'),
                   HTTP_X_COPY_FROM=quote(f'/{container}/{obj}', errors='surrogateescape'),
                   HTTP_X_COPY_FROM_ACCOUNT=quote(account))
        env.pop('HTTP_DESTINATION', None)
        env.pop('HTTP_DESTINATION_ACCOUNT', None)
        return self._put(env, start_response, to_account, to_container, to_obj)

    def _account(self, req, name):
        value = req.get(name)
        if not value:
            return None
        try:
            text = unquote(value, errors='strict')
        except UnicodeError:
            text = ''
        if not text or '/' in text or '\0' in text:
            raise PathHeaderError(f'{name} header must be an account name without slashes')
        return text

    def _put(self, env, start_response, account, container, obj):
        req = Request(env)
        try:
            from_container, from_obj = parse_target('X-Copy-From', env['HTTP_X_COPY_FROM'])
            from_account = self._account(req, 'X-Copy-From-Account') or account
        except PathHeaderError as e:
            return answer(412, str(e))(env, start_response)
        if req.content_length or req.chunked and env['wsgi.input'].read(1):
            return answer(400, 'Copy requests require a zero byte body')(env, start_response)
        version = env['PATH_INFO'].split('/')[1]
        status, headers, body = self._source(
            env, f'/{version}/{from_account}/{from_container}/{from_obj}')
        names = {n.lower(): v for n, v in headers}
        try:
            if status // 100 != 2:
                return self._pass_on(status, headers, body, env, start_response)
            length = names.get('content-length')
            if length is None:
                return answer(413, 'the source has no known length')(env, start_response)
            if int(length) > self.constraints.max_file_size:
                return answer(413, 'Your request is too large.')(env, start_response)
            return self._store(env, start_response, names, status,
                               SourceBody(body), (from_account, from_container, from_obj))
        finally:
            close = getattr(body, 'close', None)
            if close is not None:
                close()

    @staticmethod
    def _pass_on(status, headers, body, env, start_response):
        data = b''.join(body)
        response = answer(status)
        if data:
            response.body = data
            response.set('Content-Type', next(
                (v for n, v in headers if n.lower() == 'content-type'), 'text/plain'))
        challenge = [h for h in headers if h[0].lower() == 'www-authenticate']
        response.headers += challenge
        return response(env, start_response)

    def _source(self, env, path):
        passed = {}
        for key in ('HTTP_RANGE', 'HTTP_IF_RANGE', 'HTTP_X_NEWEST', 'HTTP_X_AUTH_TOKEN',
                    'HTTP_X_OPEN_EXPIRED'):
            if key in env:
                passed[key[5:].replace('_', '-').title()] = env[key]
        for key in ('MATCH', 'NONE_MATCH', 'MODIFIED_SINCE', 'UNMODIFIED_SINCE'):
            value = env.pop('HTTP_X_COPY_FROM_IF_' + key, None)
            if value is None and env.get('HTTP_IF_' + key, '*').strip() != '*':
                value = env.pop('HTTP_IF_' + key)     # but *, with which the target is meant
            if value is not None:
                passed['If-' + key.replace('_', '-').title()] = value
        passed.setdefault('X-Newest', 'true')
        new = dict(env)
        new['swift.source'] = 'SSC'
        return subrequest(new, self.app, 'GET', path, passed,
                          query=self._source_query(Request(env).params), authorized=False)

    @staticmethod
    def _source_query(params):
        out = {n: params[n] for n in ('part-number', 'version-id') if n in params}
        if params.get('multipart-manifest') == 'get':
            out.update({'multipart-manifest': 'get', 'format': 'raw'})
        if params.get('symlink') == 'get':
            out['symlink'] = 'get'
        return urlencode(out, errors='surrogateescape')

    def _store(self, env, start_response, source, status, body, where):
        """PUT what the source gave."""
        req = Request(env)
        for key in ('HTTP_X_COPY_FROM', 'HTTP_X_COPY_FROM_ACCOUNT', 'HTTP_TRANSFER_ENCODING',
                    'HTTP_RANGE', 'HTTP_IF_MATCH', 'HTTP_IF_MODIFIED_SINCE', 'HTTP_X_NEWEST',
                    'HTTP_IF_UNMODIFIED_SINCE', 'HTTP_EXPECT'):
            env.pop(key, None)
        fresh = env.pop('HTTP_X_FRESH_METADATA', '').lower() in TRUE
        if env.get('HTTP_X_OBJECT_MANIFEST') is None and not fresh and \
                'x-object-manifest' in source and 'multipart-manifest=get' in \
                env.get('QUERY_STRING', ''):
            env['HTTP_X_OBJECT_MANIFEST'] = source['x-object-manifest']
        if 'multipart-manifest=get' in env.get('QUERY_STRING', '') and \
                source.get('x-static-large-object', '').lower() == 'true':
            # It has to be checked like any other that is put there.
            env['QUERY_STRING'] = 'multipart-manifest=put'
            source = {n: v for n, v in source.items() if n != 'etag'
                      and not n.startswith('x-object-sysmeta-')}
        env['CONTENT_LENGTH'] = source['content-length']
        env['wsgi.input'] = body
        # A copied part does not have the whole's hash.
        env.pop('HTTP_ETAG', None)
        if status == 200 and 'etag' in source and \
                source['etag'][:1] != '"':         # quoted: of a large object, hash of hashes
            env['HTTP_ETAG'] = source['etag'].strip('"')
        if not env.get('CONTENT_TYPE') and 'content-type' in source:
            env['CONTENT_TYPE'] = source['content-type']
        if not fresh:
            for name, value in source.items():
                if name.startswith('x-object-meta-') or name in CARRIED:
                    if req.get(name) is None:
                        req.set(name, value)
        self._add_sysmeta(req, source)
        for name, header in LINK.items():
            if name in source and req.get(header) is None:
                req.set(header, source[name])
        self._drop_source_query(env)
        account, container, obj = where

        def start(line, headers, exc_info=None):
            if line[0] == '2':
                headers = [*headers, ('X-Copied-From', quote(f'{container}/{obj}')),
                           ('X-Copied-From-Account', quote(account))]
                headers += [(f'X-Copied-From-{what}', source[name]) for name, what in
                            (('last-modified', 'Last-Modified'),
                             ('x-object-version-id', 'Version-Id')) if name in source]
                headers += [(n, v) for n, v in req.header_items()
                            if n == 'X-Delete-At' or n.startswith('X-Object-Meta-')]
            return start_response(line, headers)

        result = self.app(env, start)
        return result if isinstance(result, list) else list(result)

    @staticmethod
    def _drop_source_query(env):
        """What in the query was about the source means nothing, or something else, with a PUT."""
        query = env.get('QUERY_STRING', '')
        if any(name in query for name in OF_SOURCE):
            env['QUERY_STRING'] = '&'.join(
                item for item in query.split('&') if item.partition('=')[0] not in OF_SOURCE)

    @staticmethod
    def _add_sysmeta(req, source):
        for name, value in source.items():
            if name.startswith('x-object-sysmeta-') and req.get(name) is None:
                req.set(name, value)


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    return lambda app: Copy(app, {**global_conf, **local_conf})
