# SPDX-License-Identifier: Apache-2.0
"""The proxy: takes client requests apart and sends each to the controller of its depth."""

import os
import random
import time
from functools import partial
from typing import Any

from swift.common import storage_policy
from swift.common.conf import (
    SWIFT_DIR,
    config_float,
    config_int,
    config_list,
    config_node_count,
    config_percent,
    config_true,
)
from swift.common.constraints import Constraints
from swift.common.ec import set_checksum
from swift.common.exceptions import ChunkReadError, ChunkReadTimeout
from swift.common.http_client import Pool
from swift.common.log import get_logger
from swift.common.request import Abort, PathError, Request, answer, split_path
from swift.common.ring import Ring
from swift.common.statsd import Statsd
from swift.common.timestamp import Timestamp
from swift.common.version import VERSION
from swift.proxy import cached_info
from swift.proxy.cached_info import InfoCache, skip_cache
from swift.proxy.controllers.account import AccountController
from swift.proxy.controllers.base import Controller
from swift.proxy.controllers.container import ContainerController
from swift.proxy.controllers.info import InfoController
from swift.proxy.controllers.obj import ObjectController
from swift.proxy.ec_get import EcGetter
from swift.proxy.get import Getter
from swift.proxy.nodes import ErrorLimiter, MeasuredLimiter, NodeIter
from swift.proxy.routes import Routes
from swift.proxy.unsupported import refuse_unsupported

OWNER_HEADERS = ('x-container-read, x-container-write, x-container-sync-key, '
                 'x-container-sync-to, x-account-meta-temp-url-key, '
                 'x-account-meta-temp-url-key-2, x-container-meta-temp-url-key, '
                 'x-container-meta-temp-url-key-2, x-account-access-control')


class Application:
    """The WSGI application of the proxy server: nodes are taken as they come, in turn.

    What other preferences cost, `RoutedApplication` pays, which replaces the attributes below.
    """

    getter, ec_getter = Getter, EcGetter
    object_controller = ObjectController

    def __init__(self, conf, logger=None, account_ring=None, container_ring=None):
        self.logger = logger or get_logger(conf, conf.get('log_name', 'proxy-server'))
        self.conf = conf
        swift_dir = conf.get('swift_dir') or os.environ.get('SWIFT_DIR', SWIFT_DIR)
        self.swift_dir = swift_dir
        self._timeouts(conf)
        self.account_autocreate = config_true(conf.get('account_autocreate', 'no'))
        self.allow_account_management = config_true(conf.get('allow_account_management', 'no'))
        self.allow_open_expired = config_true(conf.get('allow_open_expired', 'no'))
        self.max_containers_per_account = config_int(conf, 'max_containers_per_account', 0)
        self.max_containers_whitelist = set(
            config_list(conf.get('max_containers_whitelist', '')))
        self.deny_hosts = set(config_list(conf.get('deny_host_headers', '')))
        self.log_handoffs = config_true(conf.get('log_handoffs', 'yes'))
        self.swift_owner_headers = {h.lower() for h in config_list(
            conf.get('swift_owner_headers', OWNER_HEADERS))}
        self._cors(conf)
        self.constraints = Constraints.load()
        self.policies = storage_policy.policies()
        self.account_ring = account_ring or Ring(swift_dir, ring_name='account')
        self.container_ring = container_ring or Ring(swift_dir, ring_name='container')
        self._object_rings = {}
        limits = (config_float(conf, 'error_suppression_interval', 60),
                  config_int(conf, 'error_suppression_limit', 10))
        self.statsd: Any = Statsd.of(conf, 'proxy-server')
        if self.statsd is None:
            self.limiter = ErrorLimiter(*limits)
        else:
            self.limiter = MeasuredLimiter(self.statsd, *limits)
            cached_info.measure(self.statsd)
        set_checksum(conf)
        self.pool = Pool(config_float(conf, 'conn_timeout', 0.5))
        self.info_cache = InfoCache(self)
        self.agent = f'User-Agent: proxy-server {os.getpid()}\r\n'
        self.info = self._describe(conf)
        for ring in (self.account_ring, self.container_ring):
            self.request_node_count(ring)
        for policy in self.policies:
            if policy.coding is not None:
                self.object_ring(policy.index)       # one that does not fit is found at once

    def _timeouts(self, conf):
        self.node_timeout = config_float(conf, 'node_timeout', 10)
        self.recoverable_node_timeout = config_float(conf, 'recoverable_node_timeout',
                                                     self.node_timeout)
        self.client_timeout = config_float(conf, 'client_timeout', 60)
        self.post_quorum_timeout = config_float(conf, 'post_quorum_timeout', 0.5)
        self.recheck_account = config_float(conf, 'recheck_account_existence', 60)
        self.recheck_container = config_float(conf, 'recheck_container_existence', 60)
        self.recheck_updating_shards = config_float(conf, 'recheck_updating_shard_ranges', 3600)
        self.recheck_listing_shards = config_float(conf, 'recheck_listing_shard_ranges', 600)
        self.updating_shards_skip_chance, self.listing_shards_skip_chance = (
            config_percent(conf, f'container_{kind}_shard_ranges_skip_cache_pct')
            for kind in ('updating', 'listing'))
        skip_cache(config_percent(conf, 'account_existence_skip_cache_pct'),
                   config_percent(conf, 'container_existence_skip_cache_pct'))
        self.object_chunk_size = config_int(conf, 'object_chunk_size', 262144, 1)
        self.client_chunk_size = config_int(conf, 'client_chunk_size', 524288, 1)
        self.put_queue_depth = config_int(conf, 'put_queue_depth', 10, 1)
        self.expiring_divisor = config_int(conf, 'expiring_objects_container_divisor', 86400, 1)
        self.expiring_account = (conf.get('auto_create_account_prefix', '.')
                                 + conf.get('expiring_objects_account_name', 'expiring_objects'))
        self._node_count = config_node_count(conf)
        self.missing_suppression = config_int(conf, 'rebalance_missing_suppression_count', 1)

    def _cors(self, conf):
        self.cors_allow_origin = config_list(conf.get('cors_allow_origin', ''))
        self.cors_expose_headers = config_list(conf.get('cors_expose_headers', ''))
        self.strict_cors_mode = config_true(conf.get('strict_cors_mode', 't'))

    def _describe(self, conf):
        """What /info says."""
        self.expose_info = config_true(conf.get('expose_info', 'yes'))
        self.disallowed_sections = config_list(conf.get('disallowed_sections', 'swift.valid_api_'
                                                        'versions'))
        self.admin_key = conf.get('admin_key') or None
        return {'swift': dict(
            self.constraints.info(), version=VERSION,
            strict_cors_mode=self.strict_cors_mode,
            policies=[{'name': p.name, 'aliases': ', '.join(p.names),
                       **({'default': True} if p.is_default else {})}
                      for p in self.policies if not p.is_deprecated],
            allow_account_management=self.allow_account_management,
            account_autocreate=self.account_autocreate,
            allow_open_expired=self.allow_open_expired)}

    # -- rings and nodes -----------------------------------------------------
    def object_ring(self, index):
        """The ring of a storage policy; its file is read when the policy is first used."""
        ring = self._object_rings.get(index)
        if ring is None:
            policy = self.policies.by_index(index)
            if policy is None:
                raise Abort(answer(503, f'storage policy {index} is not known here'))
            ring = Ring(self.swift_dir, ring_name=policy.ring_name)
            policy.check_ring(ring.replica_count)
            self._object_rings[index] = ring
        return ring

    def coding(self, index):
        """How objects of a policy are erasure coded, None when they are replicated."""
        policy = self.policies.by_index(index)
        return policy.coding if policy is not None else None

    def request_node_count(self, ring):
        """How many nodes are asked at most for one request."""
        return self._node_count(ring.replica_count)

    def node_iter(self, ring, part, primaries, shuffle=False):
        """The nodes of a partition in the order to ask them."""
        return NodeIter(self.limiter, ring, part, primaries, self.request_node_count(ring),
                        self.on_handoff(ring), shuffle)

    write_iter: Any = node_iter             # for new objects
    fragment_iter: Any = node_iter          # for fragments to read, best ones first

    def on_handoff(self, ring):
        """What is to be told of the handoffs that are asked for a partition of a ring; None when
        it is nobody's business."""
        if self.statsd is None or not self.log_handoffs:
            return self._handoff if self.log_handoffs else None
        kind = 'account' if ring is self.account_ring else \
            'container' if ring is self.container_ring else 'object'
        replicas = round(ring.replica_count)
        return partial(self._count_handoff, kind, replicas,
                       self.request_node_count(ring) - replicas)

    def _count_handoff(self, kind, replicas, expected, node):
        """Only those count that are asked because places of the thing itself are left alone."""
        beyond = node['handoff_index'] + 1 - expected
        if beyond > 0:
            self.statsd.count(f'{kind}.handoff_count', 1)
        if beyond == replicas:
            self.statsd.count(f'{kind}.handoff_all_count', 1)
        self._handoff(node)

    def _handoff(self, node):
        self.logger.debug('Handoff requested (%s)', node['handoff_index'])

    def failed(self, node, kind, error, what):
        """Count an error of a node and log it."""
        limited = self.limiter.count(node)
        self.logger.error('ERROR with %s server %s:%s/%s re: %s: %r%s', kind, node['ip'],
                          node['port'], node['device'], what, error,
                          ' - it is left alone for a while' if limited else '')

    def server_error(self, node, kind, reply, what):
        """True when a node answered with a 5xx; it is counted, a missing disk shut out."""
        if reply.status < 500:
            return False
        if reply.status == 529:        # it is asked too much now: no fault of the node
            return True
        if reply.status == 507:
            self.limiter.shut_out(node)
            self.logger.error('ERROR Insufficient Storage %s:%s/%s', node['ip'], node['port'],
                              node['device'])
        else:
            self.failed(node, kind, f'{reply.status} {reply.reason}', what)
        return True

    def backend_headers(self, req, timestamp=None):
        """Header lines that every backend request of ``req`` carries."""
        env = req.environ
        lines = f"{self.agent}X-Trans-Id: {env.get('swift.trans_id', '-')}\r\n"
        if timestamp is not None:
            lines += f'X-Timestamp: {timestamp.internal}\r\n'
        return lines

    # -- requests ------------------------------------------------------------
    def __call__(self, environ, start_response):
        try:
            response = self.handle(Request(environ))
        except Abort as e:
            response = e.response
        except ChunkReadTimeout:
            response = answer(408)
        except ChunkReadError:
            environ['swift.client_disconnect'] = True
            response = answer(499)
        return response(environ, start_response)

    def handle(self, req):
        """The response to a request."""
        env = req.environ
        if env['PATH_INFO'] == '/info':
            return InfoController(self, req).handle()
        try:
            version, account, container, obj = split_path(env)
        except PathError as e:
            return answer(e.status, str(e) if e.status == 412 else None)
        if version not in self.constraints.valid_api_versions:
            return answer(400, 'the path names no API version of this server')
        if self.deny_hosts and env.get('HTTP_HOST', '').split(':')[0] in self.deny_hosts:
            return answer(403, 'Invalid host header')
        controller: Controller
        if obj is not None:
            controller = self.object_controller(self, req, account, container, obj)
        elif container is not None:
            controller = ContainerController(self, req, account, container)
        else:
            controller = AccountController(self, req, account)
        handler = controller.methods.get(req.method)
        if handler is None or not controller.allowed(req.method):
            return answer(405, headers=[('Allow', ', '.join(controller.allowed_methods()))])
        if req.method in ('PUT', 'POST'):
            refused = refuse_unsupported(env)
            if refused is not None:
                return refused
        if 'swift.trans_id' not in env:
            env['swift.trans_id'] = f'tx{random.getrandbits(80):020x}-{int(time.time()):010x}'
        authorize = env.get('swift.authorize')
        if authorize is not None:
            # Without a list of the container: whoever may do it anyhow need not wait for it.
            denied = authorize(req)
            if denied is None:
                if not env.get('swift.authorize_override'):
                    del env['swift.authorize']
            elif req.method not in controller.delay_denial:
                return controller.for_origin(denied) if 'HTTP_ORIGIN' in env else denied
        if 'HTTP_ORIGIN' not in env or req.method == 'OPTIONS':
            return handler(controller)
        try:
            response = handler(controller)
        except Abort as e:
            response = e.response
        return controller.for_origin(response)

    def new_timestamp(self, req):
        """The moment a write takes effect; one given by a trusted filter is kept."""
        given = req.environ.get('HTTP_X_TIMESTAMP')
        if given:
            try:
                return Timestamp(given)
            except ValueError:
                raise Abort(answer(400, f'X-Timestamp should be a UNIX timestamp float value; '
                                   f'was {given!r}')) from None
        return Timestamp.now()


def app_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    routes = Routes(conf, storage_policy.policies())
    if routes.are_plain:
        return Application(conf)
    from swift.proxy.routed import RoutedApplication  # it is made of what is above
    return RoutedApplication(conf, routes)


