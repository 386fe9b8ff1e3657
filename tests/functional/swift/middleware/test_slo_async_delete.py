# SPDX-License-Identifier: Apache-2.0
"""DELETE ?multipart-manifest=delete&async=yes: the segments are the object expirer's to delete."""

import json

import pytest
from swift_expirer import expire, queued

ASYNC = '?multipart-manifest=delete&async=yes'


@pytest.fixture
def large(user, container):
    """The path of a manifest in a container of its own; a segment twice, bytes of its own."""
    for name in ('1', '2é'):
        assert user('PUT', f'/{container}/{name}'.replace('é', '%C3%A9'), body=b'x' * 9)[0] == 201
    assert user('PUT', f'/{container}m')[0] == 201
    manifest = [{'path': f'/{container}/1'}, {'path': f'/{container}/1', 'range': '2-3'},
                {'path': f'/{container}/2é'}, {'data': 'eHl6'}]
    assert user('PUT', f'/{container}m/big?multipart-manifest=put',
                body=json.dumps(manifest).encode())[0] == 201
    return f'/{container}m/big'


def names(user, path):
    return [row['name'] for row in json.loads(user('GET', path + '?format=json')[2])]


def test_the_expirer_deletes_the_segments(in_process, user, container, large):
    assert json.loads(in_process.request('GET', '/info')[2])['slo']['allow_async_delete'] is True
    assert user('DELETE', large + ASYNC)[::2] == (204, b'')
    assert user('HEAD', large)[0] == 404
    assert names(user, '/' + container) == ['1', '2é']
    user('PUT', f'/{container}/1', body=b'new')
    assert len(queued(in_process, container)) == 2
    expire(in_process)
    assert names(user, '/' + container) == ['1']
    assert user('GET', f'/{container}/1')[2] == b'new'
    assert queued(in_process, container) == []


def test_what_cannot_be_left_to_it(user, container, large):
    assert user('DELETE', f'/{container}m/none{ASYNC}')[::2] == (404, b'SLO manifest not found')
    assert user('DELETE', f'/{container}/1{ASYNC}')[::2] == (400, b'Not an SLO manifest')

    def put(*paths):
        assert user('PUT', f'/{container}m/outer?multipart-manifest=put', body=json.dumps(
            [{'path': path} for path in paths]).encode())[0] == 201

    put(large)
    assert user('DELETE', f'/{container}m/outer{ASYNC}')[::2] == (
        400, b'No segments may be large objects.')
    user('PUT', f'/{container}m/1', body=b'x')
    put(f'/{container}/1', f'/{container}m/1')
    assert user('DELETE', f'/{container}m/outer{ASYNC}')[::2] == (
        400, f'All segments must be in one container. Found segments in "{container}", '
             f'"{container}m"'.encode())
    assert user('HEAD', f'/{container}m/outer')[0] == user('HEAD', f'/{container}/1')[0] == 200


def test_without_a_yes_the_client_waits(user, container, large):
    assert user('DELETE', large + '?multipart-manifest=delete&async=no')[2].startswith(
        b'Number Deleted: 3')
    assert names(user, '/' + container) == []


def test_security_nothing_is_queued_for_who_may_not_delete(in_process, user, container, large):
    """Who may read and delete the manifest alone, and who may delete its segments alone."""
    other = in_process.login('test:tester3')
    other.base = user.base
    reading = {'X-Container-Read': 'test:tester3'}
    writing = {'X-Container-Write': 'test:tester3'}
    user('POST', f'/{container}m', {**reading, **writing})
    assert other('DELETE', large + ASYNC)[0] == 403
    user('POST', f'/{container}m', {'X-Container-Write': ''})
    user('POST', f'/{container}', writing)
    assert other('DELETE', large + ASYNC)[0] == 403
    assert in_process.request('DELETE', user.base + large + ASYNC)[0] == 401
    expire(in_process)
    assert names(user, '/' + container) == ['1', '2é'] and user('HEAD', large)[0] == 200
    user('POST', f'/{container}m', writing)
    assert other('DELETE', large + ASYNC)[0] == 204
    expire(in_process)
    assert names(user, '/' + container) == []


def test_security_clients_have_no_update(in_process, user, container):
    """The verb that queues is for filters."""
    status, headers, _ = user('UPDATE', '/' + container, {'X-Backend-Delete-Later': 'x'},
                              body=b'[]')
    assert status == 405 and 'UPDATE' not in headers['allow']
    assert 'UPDATE' not in user('OPTIONS', '/' + container)[1]['allow']


def test_a_site_may_forbid_it(cluster, user, container, large):
    url = cluster.another_proxy(7, **{'use = egg:swift#slo\n': 'use = egg:swift#slo\n'
                                      'allow_async_delete = no\n'})
    try:
        port, cluster.proxy_port = cluster.proxy_port, int(url.rpartition(':')[2])
        assert user('DELETE', large + ASYNC)[2].startswith(b'Number Deleted: 3')
    finally:
        cluster.proxy_port = port
        cluster.kill('proxy', 7)
