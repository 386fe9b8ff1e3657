# SPDX-License-Identifier: Apache-2.0
"""Accounts: listing their containers, their metadata, creating and deleting them."""

import json

from swift.common.acl import check_account_acl, format_account_acl, parse_account_acl
from swift.common.request import ALLOW_RESERVED, Response, answer
from swift.common.timestamp import Timestamp
from swift.proxy.backend import backend_path, choose, respond
from swift.proxy.cached_info import account_entry, cache_key, remember
from swift.proxy.controllers.base import Controller
from swift.proxy.controllers.listing import check_listing, listing_query

STATUS_DELETED = ('X-Account-Status', 'Deleted')
ACL_SYSMETA = 'HTTP_X_ACCOUNT_SYSMETA_CORE_ACCESS_CONTROL'


class AccountController(Controller):
    """``/v1/<account>``"""

    kind = 'Account'

    def allowed(self, method):
        return method not in ('PUT', 'DELETE') or self.app.allow_account_management

    def _nodes(self):
        return self.app.account_ring.get_nodes(self.account)

    # -- reading -------------------------------------------------------------
    def GET(self):
        """The listing, always as JSON; the listing_formats filter makes the other forms."""
        app, req = self.app, self.req
        bad = app.constraints.check_name('account', self.account)
        if bad is not None:
            return bad
        bad = check_listing(req, app.constraints.account_listing_limit)
        if bad is not None:
            return bad
        part, nodes = self._nodes()
        getter = app.getter(
            app, req.method, self.kind,
            app.node_iter(app.account_ring, part, nodes, shuffle=True), len(nodes), part,
            backend_path(self.account), self._read_lines(), query=listing_query(req),
            newest=req.get('X-Newest', '').lower() in ('true', '1', 'yes', 'on', 't'))
        response = getter.response()
        names = {n.lower(): v for n, v in response.headers}
        if not req.environ.get('QUERY_STRING') or response.status == 404:
            remember(req.environ, cache_key(self.account), account_entry(
                response.status, names), app.recheck_account)
        if response.status == 404:
            if names.get('x-account-status', '').lower() == 'deleted':
                return answer(410, headers=[STATUS_DELETED])
            if app.account_autocreate:
                return self._empty()
        if response.status // 100 == 2:
            self._show_acl(response, names)
            response.headers.append(('Accept-Ranges', 'bytes'))
        response.headers = [h for h in response.headers
                            if h[0].lower() not in ('x-put-timestamp',)]
        return self.with_cors(response, {})

    HEAD = GET

    def _read_lines(self):
        lines = self.app.backend_headers(self.req) + 'Accept: application/json\r\n'
        if ALLOW_RESERVED in self.req.environ:
            lines += 'X-Backend-Allow-Reserved-Names: true\r\n'
        return lines

    def _empty(self):
        """What an account looks like that will exist once it is used."""
        now = Timestamp.now().normal
        headers = [('Content-Type', 'application/json; charset=utf-8'),
                   ('X-Account-Container-Count', '0'), ('X-Account-Object-Count', '0'),
                   ('X-Account-Bytes-Used', '0'), ('X-Timestamp', now), ('X-Put-Timestamp', now),
                   ('X-Backend-Fake-Account-Listing', 'yes')]
        return Response(200, headers, json.dumps([]).encode())

    def _show_acl(self, response, names):
        """Owners see the access list they set; it is kept where clients cannot reach."""
        if not self.req.environ.get('swift_owner'):
            hidden = self.app.swift_owner_headers
            response.headers = [h for h in response.headers if h[0].lower() not in hidden]
            return
        acl = parse_account_acl(names.get('x-account-sysmeta-core-access-control'))
        if acl:
            response.headers.append(('X-Account-Access-Control', format_account_acl(acl)))

    # -- writing -------------------------------------------------------------
    def _take_acl(self):
        """Move a new access list to where it is kept; a response when it is wrong."""
        text = self.req.get('X-Account-Access-Control')
        if self.req.get('X-Remove-Account-Access-Control') and text is None:
            text = ''
        if text is None:
            return None
        wrong = check_account_acl(text)
        if wrong is not None:
            return answer(400, f'X-Account-Access-Control invalid: {wrong}')
        acl = parse_account_acl(text)
        self.req.environ.pop('HTTP_X_ACCOUNT_ACCESS_CONTROL', None)
        self.req.environ[ACL_SYSMETA] = format_account_acl(acl) if acl else ''
        return None

    def _checks(self):
        return (self.app.constraints.check_name('account', self.account)
                or self.app.constraints.check_metadata(self.req, 'account') or self._take_acl())

    def _write(self, method, part, nodes, lines):
        answers = self.fan_out(method, self.app.account_ring, part, nodes,
                               backend_path(self.account), lines)
        self.app.info_cache.forget(self.req, self.account)
        return choose(answers, len(nodes))

    def PUT(self):
        """Create the account, or change its metadata."""
        bad = self._checks()
        if bad is not None:
            return bad
        part, nodes = self._nodes()
        lines = self.app.backend_headers(self.req, self.app.new_timestamp(self.req)) \
            + self.metadata_lines()
        return respond(self._write('PUT', part, nodes, lines))

    def POST(self):
        """Change metadata; an account that is not there is made, if that is allowed."""
        bad = self._checks()
        if bad is not None:
            return bad
        part, nodes = self._nodes()
        lines = self.app.backend_headers(self.req, self.app.new_timestamp(self.req)) \
            + self.metadata_lines()
        best = self._write('POST', part, nodes, lines)
        if best is not None and best.status == 404 and self.app.account_autocreate:
            self.create_account()
            lines = self.app.backend_headers(self.req, Timestamp.now()) + self.metadata_lines()
            best = self._write('POST', part, nodes, lines)
        return respond(best)

    def DELETE(self):
        """Mark the account deleted; the reaper removes what it holds."""
        if self.req.environ.get('QUERY_STRING'):
            return answer(400)       # a query meant for something else must not cost an account
        part, nodes = self._nodes()
        lines = self.app.backend_headers(self.req, self.app.new_timestamp(self.req))
        return respond(self._write('DELETE', part, nodes, lines))

    def OPTIONS(self):
        """What may be done here; a preflight gets no leave, since only containers list origins."""
        return self.plain_options()


AccountController.methods = {
    'GET': AccountController.GET, 'HEAD': AccountController.HEAD, 'PUT': AccountController.PUT,
    'POST': AccountController.POST, 'DELETE': AccountController.DELETE,
    'OPTIONS': AccountController.OPTIONS}
