# SPDX-License-Identifier: Apache-2.0
"""Listings as the client wants them: plain text, JSON or XML. Inside, all listings are JSON."""

import json
from xml.sax.saxutils import escape, quoteattr

from swift.common.request import PathError, Request, answer, split_path
from swift.proxy.controllers.info import registered

FORMATS = {'json': 'application/json', 'xml': 'application/xml', 'plain': 'text/plain',
           'text': 'text/plain'}
TYPES = ('text/plain', 'application/json', 'application/xml', 'text/xml')
OBJECT_FIELDS = ('name', 'hash', 'bytes', 'content_type', 'last_modified')
CONTAINER_FIELDS = ('name', 'count', 'bytes', 'last_modified', 'storage_policy')


def wanted_type(req):
    """The content type the client asked for, None when it takes none of ours.

    The query counts more than the Accept header. ValueError when that cannot be understood,
    UnicodeEncodeError for a query that is not UTF-8.
    """
    fmt = req.params.get('format') if req.environ.get('QUERY_STRING') else None
    if fmt is not None:
        fmt.encode('utf-8')
        return FORMATS.get(fmt.lower(), 'text/plain')
    accept = req.environ.get('HTTP_ACCEPT')
    if not accept or accept.strip() == '*/*':
        return 'text/plain'
    return best_match(accept, TYPES)


def json_only(req, wanted):
    """``wanted``; for a listing of versions, which is always JSON, None when JSON is unwelcome."""
    if 'versions' not in req.params:
        return wanted
    accept = req.environ.get('HTTP_ACCEPT')
    if req.params.get('format'):
        fits = wanted == FORMATS['json']
    else:
        fits = not accept or best_match(accept, (FORMATS['json'],)) is not None
    return FORMATS['json'] if fits else None


def best_match(accept, offers):
    """The offer an Accept header likes best; None when it likes none.

    Of ranges liked equally the more specific one counts, then the one named first. Plain
    splitting, so that no header takes long. ValueError when it cannot be understood.
    """
    ranges = [_media_range(item) for item in accept.split(',')]
    refused = {(major, minor) for major, minor, quality in ranges if quality <= 0}
    ranges.sort(key=lambda r: (-r[2], (r[0] == '*') + (r[1] == '*')))
    for major, minor, quality in ranges:
        for offer in offers if quality > 0 else ():
            kind = offer.partition('/')[::2]
            if major in ('*', kind[0]) and minor in ('*', kind[1]) and kind not in refused:
                return offer
    return None


def _media_range(item):
    """``(type, subtype, quality)`` of an element of an Accept header."""
    pieces = [p.strip() for p in item.split(';')]
    major, slash, minor = pieces[0].lower().partition('/')
    if not slash or not major or not minor or any(c in '"/ ' for c in major + minor):
        raise ValueError(f'not a media range: {item[:80]!r}')
    quality = 1.0
    for piece in pieces[1:]:
        name, _, value = piece.partition('=')
        if name.strip().lower() == 'q':
            quality = float(value.strip().strip('"'))
            if not quality >= 0:
                raise ValueError('a quality is not less than 0')
    return major, minor, quality


def _xml_field(name, value):
    return f'<{name}>{escape(str(value))}</{name}>'


def _xml_item(tag, fields, item):
    if 'subdir' in item:
        name = item['subdir']
        return (f'<subdir name={quoteattr(_clean(name))}><name>{escape(_clean(name))}</name>'
                '</subdir>')
    inner = ''.join(_xml_field(f, _clean(str(item[f]))) for f in fields if f in item)
    return f'<{tag}>{inner}</{tag}>'


def _clean(text):
    """Text without what XML cannot hold."""
    if text.isprintable():
        return text
    return ''.join(c if c in '\t\n\r' or ' ' <= c <= '\ud7ff' or '\ue000' <= c <= '\ufffd'
                   or c >= '\U00010000' else '\ufffd' for c in text)


def to_xml(listing, account, container):
    """The listing as an XML document, bytes."""
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    if container is None:
        items = ''.join(_xml_item('container', CONTAINER_FIELDS, i) + '\n' for i in listing)
        return f'{head}<account name={quoteattr(_clean(account))}>\n{items}</account>'.encode(
            'utf-8', 'replace')
    if not listing:
        return f'{head}<container name={quoteattr(_clean(container))} />'.encode(
            'utf-8', 'replace')
    items = ''.join(_xml_item('object', OBJECT_FIELDS, i) for i in listing)
    return f'{head}<container name={quoteattr(_clean(container))}>{items}</container>'.encode(
        'utf-8', 'replace')


def to_text(listing):
    """One name a line, bytes."""
    return ''.join([(i['name'] if 'name' in i else i['subdir']) + '\n' for i in listing]).encode(
        'utf-8', 'surrogateescape')


class ListingFormats:
    """Filter for GET and HEAD of accounts and containers."""

    def __init__(self, app):
        self.app = app

    def __call__(self, env, start_response):
        if env['REQUEST_METHOD'] not in ('GET', 'HEAD'):
            return self.app(env, start_response)
        try:
            version, account, container, obj = split_path(env)
        except PathError:
            return self.app(env, start_response)
        if obj is not None or version not in ('v1', 'v1.0'):
            return self.app(env, start_response)
        try:
            wanted = wanted_type(Request(env))
        except UnicodeEncodeError:
            return answer(400, '"format" parameter not valid UTF-8')(env, start_response)
        except ValueError:
            return answer(400, 'Invalid Accept header')(env, start_response)
        if container is not None and env['REQUEST_METHOD'] == 'GET' and \
                'versions' in env.get('QUERY_STRING', '') and registered('object_versioning'):
            wanted = json_only(Request(env), wanted)
        if wanted is None:
            return answer(406, 'Accept: none of ' + ', '.join(TYPES))(env, start_response)
        return self._convert(env, start_response, wanted, account, container)

    def _convert(self, env, start_response, wanted, account, container):
        got: list = []

        def start(status, headers, exc_info=None):
            got[:] = [status, headers]

        pieces = self.app(env, start)
        status, headers = got
        kind = next((v for n, v in headers if n.lower() == 'content-type'), '')
        if status[0] != '2' or not (kind.startswith('application/json') or not kind):
            start_response(status, headers)
            return pieces
        full = f'{wanted}; charset=utf-8'
        headers = [h for h in headers if h[0].lower() != 'content-type']
        headers.append(('Content-Type', full))
        # Else Accept was not looked at, or a listing of versions has one form anyhow.
        params = Request(env).params
        if 'format' not in params and (
                env['REQUEST_METHOD'] == 'HEAD' or 'versions' not in params):
            headers.append(('Vary', 'Accept'))
        if env['REQUEST_METHOD'] == 'HEAD' or status[:3] != '200':
            headers = [h for h in headers if h[0].lower() != 'content-length']
            if status[:3] != '200' and env['REQUEST_METHOD'] != 'HEAD':
                headers.append(('Content-Length', '0'))
            if env['REQUEST_METHOD'] == 'HEAD':
                status = '204 No Content'
                headers.append(('Content-Length', '0'))
            start_response(status, headers)
            _close(pieces)
            return [b'']
        try:
            body = pieces[0] if isinstance(pieces, list) and len(pieces) == 1 \
                else b''.join(pieces)
        finally:
            _close(pieces)
        if wanted != 'application/json':
            body = self._other(body, wanted, account, container)
        headers = [h for h in headers if h[0].lower() != 'content-length']
        headers.append(('Content-Length', str(len(body))))
        start_response(status if body else '204 No Content', headers)
        return [body]

    @staticmethod
    def _other(body, wanted, account, container):
        listing = json.loads(body)
        if wanted == 'text/plain':
            return to_text(listing)
        return to_xml(listing, account, container)


def _close(pieces):
    close = getattr(pieces, 'close', None)
    if close is not None:
        close()


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    return ListingFormats
