# SPDX-License-Identifier: Apache-2.0
"""Containers as web sites: X-Container-Meta-Web-Index, -Error, -Listings and their like.

It acts for readers who are nobody in particular, and for those who ask for it with X-Web-Mode:
an index object stands for a directory, else a page that lists it; an error gets the container's
own page. All that is shown is read with the reader's own rights. To stand after the auth filter.
"""

import json
from html import escape
from urllib.parse import quote, urlsplit

from swift.common.conf import config_true
from swift.common.middleware.authbase import need_auth_above
from swift.common.middleware.segments import discard, drain
from swift.common.middleware.versions_common import run
from swift.common.middleware.web_listing import listing_page
from swift.common.request import PathError, Request, Response, answer, split_path
from swift.proxy.cached_info import get_container_info, subrequest
from swift.proxy.controllers.info import register

MAX_LISTING = 64 << 20
DIRECTORY = 'application/directory'


def redirect(env, base):
    """A 301 to the same address with a slash at its end. What `base` - a split URL - has of scheme
    and host takes the place of the request's."""
    host = base.netloc or env.get('HTTP_HOST') or f"{env['SERVER_NAME']}:{env['SERVER_PORT']}"
    where = f"{base.scheme or env['wsgi.url_scheme']}://{host}" \
        f"{quote(env['PATH_INFO'].encode('latin-1'))}/"
    if env.get('QUERY_STRING'):
        where += '?' + env['QUERY_STRING']
    return Response(301, [('Location', where), ('Content-Type', 'text/html; charset=UTF-8')],
                    f'<html><body>Moved: <a href="{escape(where)}">here</a></body></html>'.encode())


class StaticWeb:
    """Filter; option url_base."""

    def __init__(self, app, conf):
        need_auth_above(app, 'staticweb')
        self.app = app
        self.base = urlsplit(conf.get('url_base', '').strip())
        register('staticweb')

    def __call__(self, env, start_response):
        if env['REQUEST_METHOD'] not in ('GET', 'HEAD') or \
                env.get('REMOTE_USER', '.wsgi.tempurl') != '.wsgi.tempurl' and \
                not config_true(env.get('HTTP_X_WEB_MODE', 'false')):
            return self.app(env, start_response)
        try:
            _, _, container, _ = split_path(env)
        except PathError:
            return self.app(env, start_response)
        if container is None:
            return self.app(env, start_response)
        info = get_container_info(env, self.app)
        web = {n[4:]: v.encode('latin-1').decode('utf-8', 'surrogateescape')
               for n, v in info['meta'].items() if n.startswith('web-') and v}
        if info['status'] // 100 != 2:
            return self.app(env, start_response)
        if not web:
            # Whoever asks for the site is not to take a listing for it.
            asked = config_true(env.get('HTTP_X_WEB_MODE', 'false')) and split_path(env)[3] is None
            return (answer(404) if asked else self.app)(env, start_response)
        return Site(self.app, env, web, self.base, info['read_acl']).response()(
            env, start_response)


class Site:
    """One request to a container that is a web site; ``web`` are its settings."""

    def __init__(self, app, env, web, base, acl):
        self.app, self.env, self.web, self.base, self.acl = app, env, web, base, acl
        self.version, self.account, self.container, self.obj = split_path(env)
        self.authorize = env.get('swift.authorize')
        self.listings = config_true(web.get('listings', 'false'))
        self.index = web.get('index', '').strip()

    def response(self):
        """The Response."""
        if self.obj is None:
            refused = self._refusal()
            if refused is not None:
                return self._error(refused.status, refused)
            if self.env['PATH_INFO'].endswith('/'):
                return self._directory('')
            if self.index or self.listings:
                return redirect(self.env, self.base)
            return self._own() if not self.web.get('error') else self._error(404)
        response = self._own()
        if response.status in (200, 206, 304, 412, 416):
            if not self._stands_for_directory(response):
                return response
            discard(response.body)
        elif response.status != 404:
            return self._error(response.status, response)
        if self.obj.endswith('/'):
            discard(response.body)
            return self._directory(self.obj)
        if self._is_directory(self.obj + '/'):
            discard(response.body)
            return redirect(self.env, self.base)
        return self._error(404, response if response.status == 404 else None)

    def _refusal(self):
        """The Response for who may not list the container, to whom it has no first page either."""
        if self.authorize is None or self.env.get('REMOTE_USER') == '.wsgi.tempurl':
            return None              # what a temporary URL is of is asked with each object
        req = Request(dict(self.env))
        req.acl = self.acl
        return self.authorize(req)

    def _own(self):
        env = dict(self.env)
        response = Response(*run(self.app, env))
        for key in ('swift.links',):
            if key in env:
                self.env[key] = env[key]
        return response

    def _stands_for_directory(self, response):
        kind = response.get('Content-Type', '').partition(';')[0]
        return kind == self.web.get('directory-type', DIRECTORY) and \
            int(response.get('Content-Length') or 0) <= 1

    def _get(self, name):
        """The Response for another object of the container, with the reader's rights."""
        env = dict(self.env)
        wire = f'/{self.version}/{self.account}/{self.container}/{name}'.encode(
            'utf-8', 'surrogateescape')
        env.update(PATH_INFO=wire.decode('latin-1'), RAW_PATH_INFO=quote(wire))
        env.pop('swift.split_path', None)
        if self.authorize is not None:
            env['swift.authorize'] = self.authorize
        return Response(*run(self.app, env))

    # -- directories ---------------------------------------------------------
    def _directory(self, prefix):
        """The page of what begins with ``prefix``."""
        if self.index:
            response = self._get(prefix + self.index)
            if response.status // 100 in (2, 3) or response.status in (412, 416):
                return response
            if response.status != 404:
                return self._error(response.status, response)
            discard(response.body)
        if not self.listings:
            if prefix == '' and not self.index:
                return self._own()
            return self._error(404)
        return self._listing(prefix)

    def _ask(self, query, prefix):
        """``(status, headers, entries)`` of a listing."""
        env = {**self.env, 'swift.web_listing': prefix}
        if self.authorize is not None:
            env['swift.authorize'] = self.authorize
        status, headers, pieces = subrequest(
            env, self.app, 'GET', f'/{self.version}/{self.account}/{self.container}',
            query=f"format=json&prefix={quote(prefix, errors='surrogateescape')}{query}",
            authorized=False)
        body = drain(pieces, MAX_LISTING)
        return status, headers, json.loads(body or b'[]') if status // 100 == 2 else []

    def _is_directory(self, prefix):
        """Whether the reader may see a page of what begins with ``prefix``. More is not told:
        which names there are is for those who may list them."""
        if self.index:
            response = self._get(prefix + self.index)
            discard(response.body)
            if response.status // 100 in (2, 3) or response.status in (412, 416):
                return True
        if not (self.listings or self.index):
            return False
        status, _, entries = self._ask('&delimiter=/&limit=1', prefix)
        return status // 100 == 2 and bool(entries)

    def _listing(self, prefix):
        status, headers, entries = self._ask('&delimiter=/', prefix)
        if status // 100 != 2:
            response = answer(status)
            response.headers += [h for h in headers if h[0].lower() == 'www-authenticate']
            return self._error(status, response)
        if prefix and not entries:
            return self._error(404)
        self.env['swift.web_page'] = True
        body = listing_page(self.web, f'/{self.version}/{self.account}/{self.container}', prefix,
                            entries, Request(self.env).params)
        return Response(200, [('Content-Type', 'text/html; charset=UTF-8'),
                              ('Content-Length', str(len(body)))], body)

    # -- errors --------------------------------------------------------------
    def _error(self, status, plain=None):
        """The container's page for an error; ``plain`` when it has none."""
        if plain is None:
            plain = answer(status)
        suffix = self.web.get('error', '').strip()
        if not suffix:
            return plain
        page = self._get(f'{status}{suffix}')
        if page.status // 100 != 2:
            discard(page.body)
            return plain
        discard(plain.body)
        self.env['swift.web_page'] = True
        kept = [h for h in plain.headers if h[0].lower() == 'www-authenticate']
        return Response(status, page.headers + kept, page.body)


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: StaticWeb(app, conf)
