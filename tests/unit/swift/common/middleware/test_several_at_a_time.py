# SPDX-License-Identifier: Apache-2.0
"""Filters that do several steps of one request at a time: how many, and what may not overtake."""
import io
import json
from types import SimpleNamespace

import pytest

from swift.common.concurrency import sleep
from swift.common.middleware import bulk
from swift.common.middleware.bulk import Bulk
from swift.common.middleware.s3api import multi_delete
from swift.common.middleware.s3api.errors import S3Error
from swift.common.middleware.slo import StaticLargeObjects


class Store:
    """What is below a filter: answers by path, later the first time, and counts who is there."""

    def __init__(self, answers=()):
        self.answers = dict(answers)
        self.now = self.most = 0
        self.asked, self.log = [], []

    def __call__(self, env, start):
        path = env['PATH_INFO']
        self.asked.append((env['REQUEST_METHOD'], path))
        self.now += 1
        self.most = max(self.most, self.now)
        sleep(0.02 if len(self.asked) == 1 else 0.002)
        self.now -= 1
        self.log.append(path)
        status = self.answers.get(path, '204 No Content')
        if isinstance(status, list):
            status = status.pop(0)
        start(status, [('Etag', '"e"'), ('Content-Length', '4')])
        return [b'']


def bulk_delete(store, names, **options):
    body = '\n'.join(names).encode()
    env = {'REQUEST_METHOD': 'POST', 'PATH_INFO': '/v1/a', 'QUERY_STRING': 'bulk-delete',
           'CONTENT_LENGTH': str(len(body)), 'wsgi.input': io.BytesIO(body),
           'HTTP_ACCEPT': 'application/json'}
    return json.loads(b''.join(Bulk(store, options)(env, lambda *_: None)))


@pytest.mark.parametrize('count', [1, 2, 4])
def test_bulk_deletes_so_many_at_a_time(count):
    store = Store()
    told = bulk_delete(store, [f'c/{n}' for n in range(9)], delete_concurrency=str(count))
    assert told['Number Deleted'] == 9 and store.most == count


def test_a_container_waits_for_its_objects_and_they_for_it():
    store = Store()
    bulk_delete(store, ['c/1', 'c/2', 'c/', 'c', 'd/1', 'd/2'], delete_concurrency='9')
    assert store.log[2:4] == ['/v1/a/c', '/v1/a/c']
    assert set(store.log[:2]) == {'/v1/a/c/1', '/v1/a/c/2'}
    assert set(store.log[4:]) == {'/v1/a/d/1', '/v1/a/d/2'}


def test_a_container_is_tried_again_as_often_as_said(monkeypatch):
    waits = []
    monkeypatch.setattr(bulk, 'sleep', waits.append)
    full = '409 Conflict'
    store = Store({'/v1/a/c': [full, full, '204 No Content'], '/v1/a/d': [full] * 9,
                   '/v1/a/c/o': full})
    told = bulk_delete(store, ['c/o', 'c', 'd'], delete_container_retry_count='2')
    assert told['Number Deleted'] == 1 and waits == [1.5, 2.25] * 2
    assert [name for name, _ in told['Errors']] == ['c/o', 'd']
    assert [path for _, path in store.asked] == ['/v1/a/c/o'] + ['/v1/a/c'] * 3 + ['/v1/a/d'] * 3


def test_what_was_deleted_before_a_stop_is_counted():
    store = Store({'/v1/a/c/0': '503 Service Unavailable'})
    told = bulk_delete(store, [f'c/{n}' for n in range(9)], delete_concurrency='3',
                       max_failed_deletes='1')
    assert told['Response Status'] == '400 Bad Request'
    assert told['Response Body'] == 'Max errors exceeded'
    assert told['Number Deleted'] == len(store.asked) - 1 == 2


def test_a_name_that_is_none_ends_it():
    store = Store()
    told = bulk_delete(store, ['c/1', 'c/2', 'x' * 9000], delete_concurrency='5')
    assert (told['Response Body'], told['Number Deleted']) == ('Invalid File Name', 2)


@pytest.mark.parametrize('count', [1, 3])
def test_segments_of_a_new_manifest_are_looked_at_together(count):
    store = Store({f'/v1/a/s/{n}': '200 OK' for n in range(7)} | {'/v1/a/c/big': '201 Created'})
    body = json.dumps([{'path': f'/s/{n % 7}'} for n in range(14)] + [{'data': 'eHl6'}]).encode()
    env = {'REQUEST_METHOD': 'PUT', 'PATH_INFO': '/v1/a/c/big',
           'QUERY_STRING': 'multipart-manifest=put', 'CONTENT_LENGTH': str(len(body)),
           'wsgi.input': io.BytesIO(body)}
    got = []
    list(StaticLargeObjects(store, {'concurrency': str(count)})(env, lambda *a: got.append(a)))
    assert got[0][0].startswith('201')
    assert store.most == count and store.asked[-1] == ('PUT', '/v1/a/c/big')
    assert sorted(store.asked[:-1]) == [('HEAD', f'/v1/a/s/{n}') for n in range(7)]


class Removals:
    """`remove` of S3's API: who is at work, in which order, and errors for some keys."""

    def __init__(self):
        self.now, self.most, self.keys, self.done = 0, 0, set(), []

    def __call__(self, call, key, version):
        assert key not in self.keys
        self.keys.add(key)
        self.now += 1
        self.most = max(self.most, self.now)
        sleep(0.02 if key == 'a' else 0.002)
        self.now -= 1
        self.keys.remove(key)
        self.done.append((key, version))
        if key == 'bad':
            raise S3Error('AccessDenied')
        return []


@pytest.mark.parametrize('count', [1, 2, 5])
def test_keys_of_a_multi_delete(monkeypatch, count):
    """The verdicts keep their order, the versions of one key theirs."""
    removals = Removals()
    monkeypatch.setattr(multi_delete, 'remove', removals)
    call = SimpleNamespace(settings=SimpleNamespace(multi_delete_concurrency=count, max_key=1024),
                           may=lambda permission: None)
    wanted = [('a', '1'), ('b', None), ('a', '2'), ('bad', None), ('x' * 1025, None), ('c', None),
              ('a', '3')]
    verdicts = multi_delete._verdicts(call, wanted, False)
    assert [v.find('Key').text for v in verdicts] == [key for key, _ in wanted]
    assert [v.tag for v in verdicts] == ['Deleted'] * 3 + ['Error'] * 2 + ['Deleted'] * 2
    assert [version for key, version in removals.done if key == 'a'] == ['1', '2', '3']
    assert removals.most == min(count, 4)
    quiet = multi_delete._verdicts(call, wanted, True)
    assert [v.tag for v in quiet] == ['Error'] * 2
