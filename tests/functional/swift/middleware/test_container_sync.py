# SPDX-License-Identifier: Apache-2.0
"""Container sync: the daemon against the filter, in one cluster that is its own peer."""

import pytest

from swift.common import storage, storage_policy
from swift.common.internal_client import InternalClient
from swift.container.sync import ContainerSync


@pytest.fixture
def daemons(cluster, monkeypatch):
    """One pass of the daemon on each node."""
    monkeypatch.setenv('SWIFT_DIR', str(cluster.etc))
    monkeypatch.setattr(storage, '_secrets', (b'changeme', b'tests'))
    monkeypatch.setattr(storage_policy, '_policies', None)
    conf = {'swift_dir': str(cluster.etc), 'mount_check': 'false', 'bind_ip': '127.0.0.1'}
    client = InternalClient.of(conf)
    made = [ContainerSync({**conf, 'devices': str(cluster.root / f'n{n}'),
                           'bind_port': str(cluster.ports['container', n])}, client=client)
            for n in range(cluster.nodes)]

    def passes(count=1):
        for _ in range(count):
            for daemon in made:
                daemon.run_once()
    return passes


def test_a_container_is_copied(user, container, daemons):
    """Objects, links, metadata and deletions, once by one node and then again by all."""
    target = container + '-copy'
    assert user('PUT', '/' + target, {'X-Container-Sync-Key': 'k'})[0] == 201
    user('PUT', f'/{container}/big', {'X-Object-Meta-Color': 'blue', 'Content-Type': 't/p'},
         b'x' * 200_000)
    user('PUT', f'/{container}/link', {'X-Symlink-Target': f'{container}/big'}, b'')
    status, _, text = user('POST', '/' + container, {
        'X-Container-Sync-To': f'//R/C/AUTH_test/{target}', 'X-Container-Sync-Key': 'k'})
    assert status == 204, text
    daemons(2)
    status, headers, body = user('GET', f'/{target}/big')
    assert (status, body, headers['x-object-meta-color']) == (200, b'x' * 200_000, 'blue')
    assert headers['x-timestamp'] == user('HEAD', f'/{container}/big')[1]['x-timestamp']
    assert user('HEAD', f'/{target}/link?symlink=get')[1]['x-symlink-target'] == f'{container}/big'
    user('DELETE', f'/{container}/big')
    user('PUT', f'/{container}/new', body=b'new')
    daemons(2)
    assert user('HEAD', f'/{target}/big')[0] == 404
    assert user('GET', f'/{target}/new')[2] == b'new'


def test_without_the_key_nothing_is_copied(user, container, daemons):
    """S15: a container whose key is another one takes nothing."""
    target = container + '-copy'
    user('PUT', '/' + target, {'X-Container-Sync-Key': 'another'})
    user('PUT', f'/{container}/o', body=b'o')
    user('POST', '/' + container, {'X-Container-Sync-To': f'//R/C/AUTH_test/{target}',
                                   'X-Container-Sync-Key': 'k'})
    daemons()
    assert user('HEAD', f'/{target}/o')[0] == 404
    assert user('POST', '/' + container, {'X-Container-Sync-To': '//R/X/AUTH_test/c'})[0] == 400
