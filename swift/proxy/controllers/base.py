# SPDX-License-Identifier: Apache-2.0
"""What the controllers of accounts, containers and objects have in common."""

from swift.common.request import Abort, Response, answer
from swift.common.timestamp import Timestamp
from swift.proxy.backend import Fanout, backend_path, choose, header_name, request_head


class Controller:
    """One request to one account, container or object.

    ``methods`` maps verbs to handlers; verbs in ``delay_denial`` are authorized by the handler,
    once it knows the container's access list.
    """

    kind = ''
    methods: dict = {}
    delay_denial: tuple = ()

    def __init__(self, app, req, account):
        self.app, self.req, self.account = app, req, account

    def allowed(self, method):
        """Whether the configuration lets this verb be."""
        return True

    def allowed_methods(self):
        return sorted(m for m in self.methods if self.allowed(m))

    def authorize(self, acl):
        """Ask the auth filter with the list that matters; a response when it says no."""
        self.req.acl = acl
        authorize = self.req.environ.get('swift.authorize')
        return authorize(self.req) if authorize is not None else None

    # -- headers to and from the servers -------------------------------------
    def metadata_lines(self, extra=()):
        """Header lines of metadata, and of the headers named in ``extra``, for the backend.

        ``X-Remove-<kind>-Meta-Foo`` becomes an empty value, which removes the item.
        """
        kind = self.kind.upper()
        prefixes = (f'HTTP_X_{kind}_META_', f'HTTP_X_{kind}_SYSMETA_')
        remove = f'HTTP_X_REMOVE_{kind}_'
        lines = []
        for key, value in self.req.environ.items():
            if key.startswith(prefixes):
                lines.append(f'{header_name(key)}: {value}\r\n')
            elif key.startswith(remove) and value:
                plain = 'HTTP_X_' + key[len('HTTP_X_REMOVE_'):]
                if plain in self.req.environ:
                    continue                    # what is set counts more
                name = header_name(plain)
                if key[len(remove):].startswith('META_') or name.lower() in extra:
                    lines.append(f'{name}: \r\n')
            elif key[:5] == 'HTTP_' and extra and header_name(key).lower() in extra:
                lines.append(f'{header_name(key)}: {value}\r\n')
        return ''.join(lines)

    def fan_out(self, method, ring, part, nodes, path, lines, slot_lines=None, query='',
                body=b'', count=None):
        """Send to one node for each replica; ``slot_lines[i]`` are the headers of replica i."""
        tail = f'Content-Length: {len(body)}\r\n\r\n'

        def build(slot, node):
            own = slot_lines[slot] if slot_lines else ''
            return (request_head(method, node, part, path, lines, query) + own + tail
                    ).encode('latin-1') + body

        count = len(nodes) if count is None else count
        return Fanout(self.app, self.app.node_iter(ring, part, nodes), count, build,
                      f'{method} {path}', self.kind).run()

    def update_lines(self, kind, ring, account, container, slots):
        """For each replica, the headers that name the server to tell about the change.

        With more replicas than servers of the other kind the servers are spread; with fewer, one
        replica names several.
        """
        part, nodes = ring.get_nodes(account, container)
        return spread(kind, part, nodes, slots)

    # -- accounts ------------------------------------------------------------
    def account_exists(self, create=False):
        """The account's cached entry, None when there is no account; it may be created."""
        entry = self.app.info_cache.account(self.req, self.account)
        if _is_there(entry):
            return entry
        if create and self.app.account_autocreate and not entry.get('deleted') and \
                (entry['status'] == 404 or entry['status'] // 100 == 2):
            self.create_account()
            self.app.info_cache.forget(self.req, self.account)
            entry = self.app.info_cache.account(self.req, self.account)
            if _is_there(entry):
                return entry
        if entry['status'] >= 500:
            raise Abort(answer(503))
        return None

    def create_account(self):
        """Make the account; 201, 202 or an error status."""
        app = self.app
        part, nodes = app.account_ring.get_nodes(self.account)
        lines = app.backend_headers(self.req, Timestamp.now())
        for key, value in self.req.environ.items():      # what the auth filter knows of it
            if key.startswith('HTTP_X_ACCOUNT_SYSMETA_'):
                lines += f'{header_name(key)}: {value}\r\n'
        kind, self.kind = self.kind, 'Account'
        try:
            answers = self.fan_out('PUT', app.account_ring, part, nodes,
                                   backend_path(self.account), lines)
        finally:
            self.kind = kind
        best = choose(answers, len(nodes))
        if best is None or best.status >= 300:
            app.logger.error('Could not autocreate account %r', self.account)
        return best.status if best else 503

    # -- cross-origin requests -----------------------------------------------
    def plain_options(self):
        """OPTIONS, whoever asks."""
        return Response(200, [('Allow', ', '.join(self.allowed_methods())),
                              ('Content-Type', 'text/html; charset=UTF-8'),
                              ('Content-Length', '0')])

    def options(self, info):
        """OPTIONS, plain or as a browser's preflight."""
        req = self.req
        origin, method = req.get('Origin'), req.get('Access-Control-Request-Method')
        if not origin:
            return self.plain_options()
        allow, cors = ', '.join(self.allowed_methods()), info.get('cors', {})
        if method not in self.allowed_methods() or not self.origin_allowed(cors, origin):
            return answer(401, headers=[('Allow', allow)])
        any_origin = (cors.get('allow_origin') or '').strip() == '*'
        headers = [('Allow', allow), ('Access-Control-Allow-Methods', allow),
                   ('Access-Control-Allow-Origin', '*' if any_origin else origin),
                   ('Content-Length', '0')]
        if not any_origin:
            headers.append(('Vary', 'Origin'))
        if cors.get('max_age'):
            headers.append(('Access-Control-Max-Age', cors['max_age']))
        asked = req.get('Access-Control-Request-Headers')
        if asked:
            names = dict.fromkeys(h.strip() for h in asked.split(',') if h.strip())
            headers += [('Access-Control-Allow-Headers', ', '.join(names)),
                        ('Vary', 'Access-Control-Request-Headers')]
        return Response(200, headers)

    def origin_allowed(self, cors, origin):
        """Whether the container's or the cluster's list names this origin."""
        allowed = {o for o in (cors.get('allow_origin') or '').split(' ') if o}
        allowed.update(self.app.cors_allow_origin)
        return '*' in allowed or origin in allowed

    def for_origin(self, response):
        """A response as the page of another origin that asked may see it; none of an account's."""
        return response

    def with_cors(self, response, info):
        """Add what lets a browser show an answer to the page that asked."""
        origin = self.req.get('Origin')
        if not origin:
            return response
        cors = info.get('cors', {})
        allowed = self.origin_allowed(cors, origin)
        if self.app.strict_cors_mode and not allowed:
            return response
        have = {n.lower() for n, _ in response.headers}
        if 'access-control-expose-headers' not in have:
            names = {'cache-control', 'content-language', 'content-type', 'expires',
                     'last-modified', 'pragma', 'etag', 'x-timestamp', 'x-trans-id',
                     'x-openstack-request-id', *(h.lower() for h in self.app.cors_expose_headers)}
            names.update(n for n in have if n.startswith(
                ('x-container-meta-', 'x-object-meta-')))
            names.update(h for h in (cors.get('expose_headers') or '').lower().split() if h)
            response.headers.append(('Access-Control-Expose-Headers', ', '.join(sorted(names))))
        if 'access-control-allow-origin' not in have:
            if (cors.get('allow_origin') or '').strip() == '*':
                response.headers.append(('Access-Control-Allow-Origin', '*'))
            else:
                response.headers.append(('Access-Control-Allow-Origin', origin))
                response.headers.append(('Vary', 'Origin'))
        return response


def _is_there(account):
    """Whether an account's entry is of one that was made."""
    return account['status'] // 100 == 2 and account.get('account_really_exists', True)


def spread(kind, part, nodes, slots):
    """Header lines naming ``nodes``, dealt out to ``slots`` replicas."""
    if not nodes or not slots:
        return [''] * slots
    dealt: list[list] = [[] for _ in range(slots)]
    for i in range(max(slots, len(nodes))):
        dealt[i % slots].append(nodes[i % len(nodes)])
    out = []
    for mine in dealt:
        hosts = ','.join(f"{n['ip']}:{n['port']}" for n in mine)
        devices = ','.join(n['device'] for n in mine)
        out.append(f'X-{kind}-Partition: {part}\r\nX-{kind}-Host: {hosts}\r\n'
                   f'X-{kind}-Device: {devices}\r\n')
    return out
