# SPDX-License-Identifier: Apache-2.0
"""Containers: listing their objects, metadata and access lists, creating and deleting them."""

import json
from urllib.parse import quote

from swift.common.expiry import DELETE_LATER, queue_container
from swift.common.request import Response, answer
from swift.common.reserved import is_reserved
from swift.proxy import shards
from swift.proxy.backend import backend_path, choose, respond
from swift.proxy.cached_info import (
    cache_key,
    container_entry,
    container_headers,
    remember,
)
from swift.proxy.controllers.base import Controller
from swift.proxy.controllers.listing import check_listing, listing_query

# What besides X-Container-Meta-* a client may set.
SETTABLE = frozenset(('x-container-read', 'x-container-write', 'x-container-sync-key',
                      'x-container-sync-to', 'x-versions-location'))


class ContainerController(Controller):
    """``/v1/<account>/<container>``"""

    kind = 'Container'
    delay_denial = ('GET', 'HEAD', 'OPTIONS')

    def __init__(self, app, req, account, container):
        super().__init__(app, req, account)
        self.container = container

    def _nodes(self):
        return self.app.container_ring.get_nodes(self.account, self.container)

    # -- reading -------------------------------------------------------------
    def GET(self):
        """The listing, always as JSON; the listing_formats filter makes the other forms."""
        app, req = self.app, self.req
        if self.account_exists() is None and not self._hidden_account():
            return self.authorize(None) or answer(404)
        bad = check_listing(req, app.constraints.container_listing_limit)
        if bad is not None:
            return bad
        parts = None
        if req.method == 'GET' and \
                req.environ.get('HTTP_X_BACKEND_RECORD_TYPE', 'auto').lower() == 'auto':
            response, entry, parts = self._listing()
        else:
            response, entry = self._from_servers(self._own_lines(), self._own_query())
        names = {n.lower(): v for n, v in response.headers}
        denied = self.authorize(names.get('x-container-read'))
        if denied is not None:
            return denied
        if parts is not None:
            self._fill(response, entry, *parts)
        self._dress(response, names)
        return response

    HEAD = GET

    def _own_lines(self):
        """What filters and daemons ask the container servers for."""
        return ''.join(f'{key[5:].replace("_", "-").title()}: {value}\r\n'
                       for key, value in self.req.environ.items()
                       if key.startswith('HTTP_X_BACKEND_'))

    def _own_query(self):
        """The listing's query; who asks for shards may say for which."""
        query = listing_query(self.req)
        if self.req.get('X-Backend-Record-Type', '').lower() == 'shard':
            query += ''.join(f"&{name}={quote(self.req.params[name], safe='')}"
                             for name in ('states', 'includes') if name in self.req.params)
        return query

    def _from_servers(self, lines, query):
        """``(response, entry)`` of the container itself; the entry is remembered."""
        app, req = self.app, self.req
        part, nodes = self._nodes()
        getter = app.getter(
            app, req.method, self.kind,
            app.node_iter(app.container_ring, part, nodes, shuffle=True), len(nodes), part,
            backend_path(self.account, self.container),
            app.backend_headers(req) + 'Accept: application/json\r\n' + lines, query=query,
            newest=self._newest())
        response = getter.response()
        entry = container_entry(response.status, {n.lower(): v for n, v in response.headers})
        remember(req.environ, cache_key(self.account, self.container), entry,
                 app.recheck_container)
        return response, entry

    def _newest(self):
        return self.req.get('X-Newest', '').lower() in shards.TRUE

    def _listing(self):
        """``(response, entry, None)`` of a listing of objects; of one that is in shards the
        arguments of `_fill` take None's place."""
        app, env = self.app, self.req.environ
        key = shards.shards_key('listing', self.account, self.container)
        cached = env.get('swift.cache') is not None and app.recheck_listing_shards
        if cached and not self._newest():
            entry = app.info_cache.known_container(self.req, self.account, self.container)
            if entry is not None and entry.get('sharding_state') == 'sharded':
                headers = container_headers(entry)
                bounds = shards.known_bounds(env, key, app.listing_shards_skip_chance)
                if bounds is not None and headers is not None:
                    return Response(200, headers), entry, (bounds.namespaces(), True)
        lines = ''.join(line + '\r\n' for line in self._own_lines().split('\r\n')
                        if line and not line.startswith('X-Backend-Record-Type'))
        lines += shards.AUTO + (shards.ALL_NAMES if cached else '')
        response, entry = self._from_servers(lines, listing_query(self.req) + '&states=listing')
        if response.get('X-Backend-Record-Type') != 'shard' or response.status // 100 != 2:
            return response, entry, None
        namespaces = shards.namespaces_of(shards.rows_of(response))
        whole = response.get('X-Backend-Override-Shard-Name-Filter', '').lower() in shards.TRUE
        if whole and namespaces and entry['sharding_state'] == 'sharded':
            bounds = shards.Bounds.of(namespaces)
            shards.remember_bounds(env, key, bounds, app.recheck_listing_shards)
            namespaces = bounds.namespaces()
        return response, entry, (namespaces, whole)

    def _fill(self, response, entry, namespaces, whole):
        """Give an answer the rows of its shards; ``whole``: all namespaces there are, not only
        those that are needed, in their order."""
        env = self.req.environ
        policy = env.get('HTTP_X_BACKEND_STORAGE_POLICY_INDEX') or str(entry['storage_policy'])
        listing = shards.ShardedListing(self.app, self.req, self.account, self.container, policy)
        rows = listing.rows(listing.wanted(namespaces) if whole else namespaces)
        response.body = json.dumps(rows).encode('ascii')
        response.status = 200
        for name in ('Content-Length', 'X-Backend-Record-Type', 'X-Backend-Record-Shard-Format',
                     'X-Backend-Override-Shard-Name-Filter'):
            response.set(name, None)
        response.set('X-Backend-Record-Storage-Policy-Index', policy)
        if not listing.constrained and len(rows) < listing.limit:
            # All of it was just read: better than what the shards told the root some time ago.
            response.set('X-Container-Object-Count', str(len(rows)))
            response.set('X-Container-Bytes-Used', str(sum(row['bytes'] for row in rows)))

    def _hidden_account(self):
        """Accounts of the system's own are made when they are first written to."""
        return self.account.startswith(self.app.constraints.auto_create_account_prefix)

    def _dress(self, response, names):
        """Headers for the client: the policy by name, owners' headers for owners only."""
        if self.req.environ.get('reseller_request'):
            response.headers.append(('X-Container-Sharding', str(names.get(
                'x-container-sysmeta-sharding', '').lower() in shards.TRUE)))
        hidden = {'x-put-timestamp'}
        if not self.req.environ.get('swift_owner'):
            hidden |= self.app.swift_owner_headers
        response.headers = [h for h in response.headers if h[0].lower() not in hidden]
        if response.status // 100 != 2:
            return
        response.headers.append(('Accept-Ranges', 'bytes'))
        index = names.get('x-backend-storage-policy-index')
        if index is not None:
            policy = self.app.policies.by_index(index)
            if policy is not None:
                response.headers.append(('X-Storage-Policy', policy.name))

    # -- writing -------------------------------------------------------------
    def _clean_acls(self):
        """Let the auth filter put access lists into their stored form; a 400 when it cannot."""
        clean = self.req.environ.get('swift.clean_acl')
        if clean is None:
            return None
        for key in ('HTTP_X_CONTAINER_READ', 'HTTP_X_CONTAINER_WRITE'):
            value = self.req.environ.get(key)
            if value:
                try:
                    self.req.environ[key] = clean(key[5:].replace('_', '-').title(), value)
                except ValueError as e:
                    return answer(400, str(e))
        return None

    def _policy(self):
        """``(index or None, response or None)`` of the policy asked for."""
        name = self.req.get('X-Storage-Policy')
        if not name:
            return None, None
        policy = self.app.policies.by_name(name)
        if policy is None:
            names = ', '.join(p.name for p in self.app.policies if not p.is_deprecated)
            return None, answer(400, f'Invalid X-Storage-Policy {name!r}: it is none of {names}')
        if policy.is_deprecated:
            return None, answer(400, f'Storage Policy {policy.name!r} is deprecated')
        return policy.index, None

    def _lines(self, timestamp):
        return self.app.backend_headers(self.req, timestamp) + self.metadata_lines(SETTABLE)

    def _protect_owner_headers(self):
        """Only owners may set what only owners may see."""
        if self.req.environ.get('swift_owner') or 'swift.authorize_override' in self.req.environ:
            return
        for name in self.app.swift_owner_headers:
            self.req.set(name, None)

    def _sharding(self):
        """Resellers say whether a container is to be sharded."""
        value = self.req.get('X-Container-Sharding')
        if value is not None and self.req.environ.get('reseller_request'):
            self.req.environ['HTTP_X_CONTAINER_SYSMETA_SHARDING'] = \
                str(value.lower() in shards.TRUE)

    def _forget(self):
        self.app.info_cache.forget(self.req, self.account, self.container)
        shards.forget_listing(self.req.environ, self.account, self.container)

    def PUT(self):
        """Create the container, or change its metadata."""
        app, req = self.app, self.req
        policy, bad = self._policy()
        bad = self._clean_acls() or bad \
            or app.constraints.check_metadata(req, 'container') \
            or not is_reserved(self.container) and app.constraints.check_name(
                'container', self.container) or None
        if bad is not None:
            return bad
        self._protect_owner_headers()
        self._sharding()
        account = self.account_exists(create=True)
        if account is None:
            return answer(404)
        most = app.max_containers_per_account
        if most and int(account.get('container_count') or 0) >= most and \
                self.account not in app.max_containers_whitelist:
            if app.info_cache.container(req, self.account, self.container)['status'] == 404:
                return answer(403, f'Reached container limit of {most}')
        part, nodes = self._nodes()
        lines = self._lines(app.new_timestamp(req))
        lines += f'X-Backend-Storage-Policy-Default: {app.policies.default.index}\r\n'
        if policy is not None:
            lines += f'X-Backend-Storage-Policy-Index: {policy}\r\n'
        slots = self.update_lines('Account', app.account_ring, self.account, None, len(nodes))
        answers = self.fan_out('PUT', app.container_ring, part, nodes,
                               backend_path(self.account, self.container), lines, slots)
        self._forget()
        response = respond(choose(answers, len(nodes)))
        return response

    def POST(self):
        """Change metadata and access lists."""
        app, req = self.app, self.req
        bad = self._clean_acls() or app.constraints.check_metadata(req, 'container')
        if bad is not None:
            return bad
        self._protect_owner_headers()
        self._sharding()
        if self.account_exists() is None:
            return answer(404)
        part, nodes = self._nodes()
        self._forget()
        answers = self.fan_out('POST', app.container_ring, part, nodes,
                               backend_path(self.account, self.container),
                               self._lines(app.new_timestamp(req)))
        self._forget()
        return respond(choose(answers, len(nodes)))

    def DELETE(self):
        """Delete the container, which has to be empty."""
        app, req = self.app, self.req
        if self.account_exists() is None:
            return answer(404)
        part, nodes = self._nodes()
        slots = self.update_lines('Account', app.account_ring, self.account, None, len(nodes))
        answers = self.fan_out('DELETE', app.container_ring, part, nodes,
                               backend_path(self.account, self.container),
                               app.backend_headers(req, app.new_timestamp(req)), slots)
        self._forget()
        best = choose(answers, len(nodes))
        if best is not None and best.status == 202:
            return answer(404)        # a write that is newer than this deletion
        return respond(best)

    def UPDATE(self):
        """Have the expirer delete objects of the container: no verb of clients, filters that have
        asked whether it may be give it with DELETE_LATER."""
        app = self.app
        later = self.req.environ[DELETE_LATER]
        queue = app.expiring_account, queue_container(
            int(later.timestamp), app.expiring_divisor, self.account, self.container,
            later.names[0])
        part, nodes = app.container_ring.get_nodes(*queue)
        lines = app.backend_headers(self.req, later.timestamp) + \
            'X-Backend-Storage-Policy-Index: 0\r\n'
        answers = self.fan_out('UPDATE', app.container_ring, part, nodes, backend_path(*queue),
                               lines, body=later.rows(self.account, self.container))
        return respond(choose(answers, len(nodes)))

    def allowed(self, method):
        return method != 'UPDATE' or DELETE_LATER in self.req.environ

    def OPTIONS(self):
        """What may be done here, and what scripts of other origins may do."""
        return self.options(self._info())

    def for_origin(self, response):
        """As the container's list of origins says."""
        return self.with_cors(response, self._info())

    def _info(self):
        return self.app.info_cache.container(self.req, self.account, self.container)


ContainerController.methods = {
    'GET': ContainerController.GET, 'HEAD': ContainerController.HEAD,
    'PUT': ContainerController.PUT, 'POST': ContainerController.POST,
    'DELETE': ContainerController.DELETE, 'OPTIONS': ContainerController.OPTIONS,
    'UPDATE': ContainerController.UPDATE}
