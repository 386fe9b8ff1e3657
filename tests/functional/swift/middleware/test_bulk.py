# SPDX-License-Identifier: Apache-2.0
"""Bulk deletion and archives through real processes."""

import bz2
import gzip
import io
import json
import tarfile
from urllib.parse import quote
from xml.etree import ElementTree

import pytest

from swift.common.middleware.bulk import Bulk

JSON = {'Accept': 'application/json'}


def make(members, mode='w'):
    """An archive of ``(name or TarInfo, content)``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=tarfile.PAX_FORMAT) as archive:
        for member, data in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            if data is not None:
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data or b''))
    return out.getvalue()


def extract(client, path, body, kind='tar', **headers):
    status, _, text = client('PUT', f'{path}?extract-archive={kind}', {**JSON, **headers}, body)
    return json.loads(text) if status == 200 else status


def delete(client, names, method='POST', **headers):
    body = '\n'.join(names).encode()
    status, _, text = client(method, '?bulk-delete', {**JSON, **headers}, body)
    assert status == 200
    return json.loads(text)


def test_delete(user, container):
    names = [f'{container}/o {i}%é/x' for i in range(5)]
    for name in names:
        assert user('PUT', '/' + quote(name), body=b'x')[0] == 201
    told = delete(user, ['', *map(quote, names), '/' + container, container + '/none', 'none'])
    assert (told['Number Deleted'], told['Number Not Found']) == (6, 2)
    assert told['Response Status'] == '200 OK' and told['Errors'] == []
    assert user('HEAD', '/' + container)[0] == 404


def test_delete_says_what_failed(user, container):
    user('PUT', f'/{container}/o', body=b'x')
    told = delete(user, [container, '%ff/%fe', '%00'], 'DELETE')
    assert told['Response Status'] == '400 Bad Request'
    assert [e[1][:3] for e in told['Errors']] == ['409', '412', '412']
    assert delete(user, [])['Response Body'] == 'Invalid bulk delete.'
    assert delete(user, ['x' * 9000])['Response Body'] == 'Invalid File Name'
    text = user('POST', '?bulk-delete', {'Accept': 'text/xml'}, b'c/<&>')[2]
    assert ElementTree.fromstring(text).tag == 'delete'


def test_delete_has_a_limit():
    asked = []

    def app(env, start):
        asked.append(env['PATH_INFO'])
        start('204 No Content', [])
        return [b'']
    env = {'REQUEST_METHOD': 'POST', 'PATH_INFO': '/v1/a', 'QUERY_STRING': 'bulk-delete',
           'CONTENT_LENGTH': '12', 'wsgi.input': io.BytesIO(b'c/1\nc/2\nc/3\n')}
    pieces = Bulk(app, {'max_deletes_per_request': '2'})(env, lambda *_: None)
    assert b'Response Status: 413' in b''.join(pieces)
    assert asked == ['/v1/a/c/1', '/v1/a/c/2']


@pytest.mark.parametrize(('kind', 'mode'), [('tar', 'w'), ('tar.gz', 'w:gz'), ('tar.bz2', 'w:bz2')])
def test_extract(user, container, kind, mode):
    big = bytes(range(256)) * 1000
    typed = tarfile.TarInfo('deep/typed')
    typed.pax_headers = {'SCHILY.xattr.user.mime_type': 'food/pizza',
                         'SCHILY.xattr.user.meta.lunch': 'burger\r\nX-Evil: 1'}
    told = extract(user, f'/{container}/p', make(
        [('./a.txt', b'one'), ('big', big), (typed, b't'), ('empty', b''), ('n' * 300, b'l')],
        mode), kind)
    assert told['Response Status'] == '201 Created' and told['Number Files Created'] == 5
    assert user('GET', f'/{container}/p/big')[2] == big
    status, headers, body = user('GET', f'/{container}/p/a.txt')
    assert (body, headers['content-type']) == (b'one', 'text/plain')
    headers = user('HEAD', f'/{container}/p/deep/typed')[1]
    assert headers['content-type'] == 'food/pizza' and 'x-evil' not in headers
    assert headers['x-object-meta-lunch'] == 'burgerX-Evil: 1'


def test_extract_makes_containers(user, container):
    told = extract(user, '', make([(f'{container}-1/a', b'1'), (f'{container}-2/b', b'2'),
                                   ('no-container', b'3')]))
    assert told['Number Files Created'] == 2 and len(told['Errors']) == 1
    assert user('GET', f'/{container}-2/b')[2] == b'2'


def test_what_is_no_archive(user, container):
    path = '/' + container
    for body, kind in ((b'', 'tar'), (b'x' * 2000, 'tar'), (b'x' * 2000, 'tar.gz'),
                       (make([('a', b'x' * 9000)])[:3000], 'tar'),
                       (make([('a', bytes(9000))], 'w:gz')[:60], 'tar.gz'),
                       (b'BZh9' + b'x' * 99, 'tar.bz2')):
        assert extract(user, path, body, kind)['Response Status'] == '400 Bad Request'
    assert extract(user, path, b'', 'zip') == 400


def test_security_names_and_links_of_archives(user, container):
    """S24, F1: `..`, absolute names, links and devices."""
    members = [('../up', b'x'), ('a/../../b', b'x'), ('/etc/x', b'ok')]
    for name, kind in (('sym', tarfile.SYMTYPE), ('hard', tarfile.LNKTYPE),
                       ('dev', tarfile.CHRTYPE), ('fifo', tarfile.FIFOTYPE)):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, '/etc/passwd'
        members.append((info, None))
    told = extract(user, f'/{container}', make(members))
    assert told['Number Files Created'] == 1 and len(told['Errors']) == 2
    assert user('GET', '/' + container)[2] == b'etc/x\n'


def test_security_bombs(cluster, user, container):
    """S24: a header of a gigabyte, and a file of no end, out of a few kilobytes."""
    head = tarfile.TarInfo('././@LongLink')
    head.type, head.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    body = gzip.compress(head.tobuf() + bytes(1 << 20))
    told = extract(user, '/' + container, body, 'tar.gz')
    assert 'too long' in told['Response Body']
    huge = tarfile.TarInfo('huge')
    huge.size = 1 << 40
    for compress, kind in ((gzip.compress, 'tar.gz'), (bz2.compress, 'tar.bz2')):
        told = extract(user, '/' + container, compress(huge.tobuf(tarfile.GNU_FORMAT)), kind)
        assert told['Number Files Created'] == 0
    with open(f'/proc/{cluster.processes["proxy", 0].pid}/status') as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith('VmHWM'))
    assert peak < 400_000


def test_security_each_object_is_authorized(cluster, user, container):
    """S24: neither other people's accounts nor nobody's requests."""
    user('PUT', f'/{container}/o', body=b'x')
    other = cluster.login('test2:tester2')
    for headers in ({'X-Auth-Token': other.token}, {}):
        def foreign(method, path, more, body, headers=headers):
            return cluster.request(method, user.base + path, {**headers, **more}, body)
        told = delete(foreign, [f'{container}/o'])
        assert told['Number Deleted'] == 0 and told['Errors'][0][1][:3] in ('401', '403')
        told = extract(foreign, '/' + container, make([('a', b'x')]))
        assert told['Number Files Created'] == 0
    escape = f'../{user.base.rsplit("/", 1)[1]}/{container}/o'
    assert delete(other, [escape])['Number Deleted'] == 0
    assert user('GET', '/' + container)[2] == b'o\n'


def test_an_extract_obeys_quotas(user, container):
    user('POST', '/' + container, {'X-Container-Meta-Quota-Bytes': '10'})
    told = extract(user, '/' + container, make([('a', b'x' * 11), ('b', b'x' * 5)]))
    assert told['Number Files Created'] == 1 and told['Errors'][0][1].startswith('413')
