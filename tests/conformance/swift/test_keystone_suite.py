# SPDX-License-Identifier: Apache-2.0
"""The tests of OpenStack Swift's suite that want Keystone, against this store behind the stack's.

functional-keystone.txt names them: projects and users of two domains, service tokens, resellers.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from benchlib.__main__ import free_base
from swift_cluster import SwiftCluster

HERE = Path(__file__).parent
CHECKOUT = Path(__file__).resolve().parents[3]
STACK_TIMEOUT = 600
TIMEOUT = 1800
# user: (domain, project, password, roles there)
USERS = {'tester': ('default', 'test', 'testing', ['admin']),
         'tester2': ('default', 'test2', 'testing2', ['admin']),
         'tester3': ('default', 'test', 'testing3', ['_member_']),
         'tester4': ('test-domain', 'test4', 'testing4', ['admin']),
         'tester5': ('default', 'test5', 'testing5', ['service']),
         'tester6': ('default', 'test', 'testing6', ['ResellerAdmin'])}
FILTERS = """[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory
www_authenticate_uri = {auth}
auth_url = {auth}
auth_type = password
username = swift-of-tests
password = swift
project_name = service
project_domain_id = default
user_domain_id = default
delay_auth_decision = true
cache = swift.cache
service_token_roles_required = true
service_token_roles = service
[filter:keystoneauth]
use = egg:swift#keystoneauth
reseller_prefix = AUTH, SERVICE
operator_roles = admin, swiftoperator
SERVICE_service_roles = service
reseller_admin_role = ResellerAdmin
"""

pytestmark = [pytest.mark.whole, pytest.mark.timeout(TIMEOUT + STACK_TIMEOUT)]


@pytest.fixture(scope='module')
def keystone(tmp_path_factory):
    """The stack's Keystone, alone."""
    data = tmp_path_factory.mktemp('identity') / 'stack'

    def stack(*words, check=True):
        done = subprocess.run([sys.executable, str(CHECKOUT / 'tools/stack'), *words[:1], '--data',
                               str(data), *words[1:]], capture_output=True, text=True,
                              timeout=STACK_TIMEOUT, check=False)
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done.stdout

    try:
        stack('up', 'keystone', '--no-packages', '--port-base', str(free_base()))
        yield Keystone(stack('env', 'openrc', '--user', 'admin'))
    finally:
        stack('reset', '--yes', check=False)


class Keystone:
    """Its API as the administrator."""

    def __init__(self, openrc):
        env = dict(line.removeprefix('export ').split('=', 1) for line in openrc.splitlines()
                   if line.startswith('export '))
        env = {name: value.strip("'") for name, value in env.items()}
        self.url = env['OS_AUTH_URL'].rstrip('/')
        if not self.url.endswith('/v3'):
            self.url += '/v3'
        answer = requests.post(self.url + '/auth/tokens', timeout=60, json={'auth': {
            'identity': {'methods': ['password'], 'password': {'user': {
                'name': env['OS_USERNAME'], 'domain': {'id': 'default'},
                'password': env['OS_PASSWORD']}}},
            'scope': {'project': {'name': env['OS_PROJECT_NAME'], 'domain': {'id': 'default'}}}}})
        assert answer.status_code == 201, answer.text
        self.headers = {'X-Auth-Token': answer.headers['X-Subject-Token']}

    def __call__(self, method, path, **body):
        answer = requests.request(method, self.url + path, headers=self.headers, timeout=60,
                                  data=json.dumps(body) if body else None)
        assert answer.ok, f'{method} {path}: {answer.status_code} {answer.text}'
        return answer.json() if answer.content else {}

    def ensure(self, kind, **values):
        """The id of the one with these values (its name and domain tell it apart)."""
        query = '&'.join(f'{name}={value}' for name, value in values.items()
                         if name in ('name', 'domain_id', 'type'))
        found = self('GET', f'/{kind}s?{query}')[f'{kind}s']
        return (found or [self('POST', f'/{kind}s', **{kind: values})[kind]])[0]['id']

    def user(self, name, domain, project, password, roles):
        domain_id = 'default' if domain == 'default' else self.ensure('domain', name=domain)
        project_id = self.ensure('project', name=project, domain_id=domain_id)
        user_id = self.ensure('user', name=name, domain_id=domain_id, password=password)
        for role in roles:
            self('PUT', f'/projects/{project_id}/users/{user_id}/roles/'
                        f"{self.ensure('role', name=role)}")

    def serves(self, url):
        """Put an object store into the catalog."""
        service = self.ensure('service', type='object-store', name='swift')
        region = self('GET', '/regions')['regions'][0]['id']
        self('POST', '/endpoints', endpoint={
            'service_id': service, 'interface': 'public', 'region_id': region,
            'url': url + '/v1/AUTH_%(tenant_id)s'})


@pytest.fixture(scope='module')
def store(keystone, tmp_path_factory):
    """A cluster whose proxy asks Keystone; its users are there."""
    for name, (domain, project, password, roles) in USERS.items():
        keystone.user(name, domain, project, password, roles)
    keystone.user('swift-of-tests', 'default', 'service', 'swift', ['admin', 'service'])
    cluster = SwiftCluster(tmp_path_factory.mktemp('store'), policies=2)
    cluster.configure()
    conf = cluster.etc / 'proxy-server.conf'
    conf.write_text(conf.read_text().replace('s3api tempauth', 'authtoken keystoneauth')
                    + FILTERS.format(auth=keystone.url))
    cluster.configure = lambda: None
    with cluster:
        keystone.serves(cluster.url)
        yield cluster


def test_all_that_want_keystone(suite, keystone, store, tmp_path):
    wanted = (HERE / 'functional-keystone.txt').read_text().split()
    passed, output = suite.run('127.0.0.1', store.proxy_port, wanted, tmp_path, TIMEOUT,
                               keystone=keystone.url)
    failed = sorted(set(wanted) - passed)
    assert not failed, f'{len(failed)} of {len(wanted)} failed: {failed}\n{output[-20000:]}'
