# SPDX-License-Identifier: Apache-2.0
"""``/endpoints/account[/container[/object]]``: where the ring puts something, for programs that
bring computing to data. It asks nobody who they are: to be shown on inner networks only."""

import json
from urllib.parse import quote

from swift.common.request import PathError, Response, answer, split_plain
from swift.common.ring import Ring
from swift.common.storage_policy import policies
from swift.proxy.cached_info import get_container_info
from swift.proxy.controllers.info import register

FORMATS = {lead + text: int(text[0]) for lead in ('', 'v') for text in ('1', '1.0', '2', '2.0')}


class ListEndpoints:
    """Filter; options list_endpoints_path, swift_dir."""

    def __init__(self, app, conf):
        self.app = app
        self.swift_dir = conf.get('swift_dir', '/etc/swift')
        self.path = '/' + conf.get('list_endpoints_path', '/endpoints/').strip('/') + '/'
        self.rings = {}
        register('list_endpoints')

    def __call__(self, env, start_response):
        if not env['PATH_INFO'].startswith(self.path):
            return self.app(env, start_response)
        return self._answer(env)(env, start_response)

    def _ring(self, name):
        if name not in self.rings:
            self.rings[name] = Ring(self.swift_dir, ring_name=name)
        return self.rings[name]

    def _answer(self, env):
        if env['REQUEST_METHOD'] != 'GET':
            return answer(405, headers=[('Allow', 'GET')])
        rest = env['PATH_INFO'][len(self.path):]
        first, _, tail = rest.partition('/')
        version = FORMATS.get(first, 1)
        if first in FORMATS:
            rest = tail
        elif first.startswith('v'):
            return answer(400, f'{first}: no such version of this answer')
        try:
            _, account, container, obj = split_plain('/v1/' + rest)
        except PathError as e:
            return answer(400, str(e))
        headers = {}
        if obj is not None:
            asked = {**env, 'PATH_INFO': '/v1/' + rest}
            asked.pop('swift.split_path', None)
            index = get_container_info(asked, self.app)['storage_policy']
            policy = policies().by_index(index)
            if policy is None:
                return answer(503)
            headers = {'X-Backend-Storage-Policy-Index': str(index)}
            ring = self._ring(policy.ring_name)
        else:
            ring = self._ring('account' if container is None else 'container')
        part, nodes = ring.get_nodes(account, container, obj)
        names = '/'.join(name for name in (account, container, obj) if name is not None) + (
            '/' if obj is None and rest.endswith('/') else '')
        found = [f"http://{_host(n['ip'])}:{n['port']}/{n['device']}/{part}/{quote(names)}"
                 for n in nodes]
        body = found if version == 1 else {'endpoints': found, 'headers': headers}
        return Response(200, [('Content-Type', 'application/json')], json.dumps(body).encode())


def _host(ip):
    return f'[{ip}]' if ':' in ip else ip


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: ListEndpoints(app, conf)
