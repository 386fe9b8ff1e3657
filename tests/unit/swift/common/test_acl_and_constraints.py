# SPDX-License-Identifier: Apache-2.0
"""Access lists, limits, paths and dates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.common import acl
from swift.common.constraints import Constraints
from swift.common.exceptions import ConfigError
from swift.common.memcached import LocalCache
from swift.common.request import PathError, Request, answer, parse_http_date, split_plain


@pytest.mark.parametrize(('value', 'want'), [
    ('a,b', 'a,b'), (' a , b ,, ', 'a,b'), ('.r:*', '.r:*'), ('.referrer: *', '.r:*'),
    ('.ref: -.x.com', '.r:-.x.com'), ('.r:*.x.com', '.r:.x.com'), ('.rlistings', '.rlistings'),
    ('acc:user', 'acc:user')])
def test_clean(value, want):
    assert acl.clean_acl('X-Container-Read', value) == want


@pytest.mark.parametrize(('name', 'value'), [
    ('X-Container-Write', '.r:*'), ('X-Container-Read', '.r:'), ('X-Container-Read', '.r:-'),
    ('X-Container-Read', '.unknown:x'), ('X-Container-Read', '.r:*.')])
def test_clean_refuses(name, value):
    with pytest.raises(ValueError, match='eferrer|designa'):
        acl.clean_acl(name, value)


@pytest.mark.parametrize(('referrer', 'entries', 'want'), [
    (None, ['*'], True), ('http://a.com/x', ['a.com'], True), ('http://b.a.com', ['a.com'], False),
    ('http://b.a.com', ['.a.com'], True), ('http://b.a.com', ['*', '-.a.com'], False),
    ('http://b.a.com', ['-.a.com', '*'], True), ('http://[bad', ['.com'], False),
    ('http://x@a.com@evil.org/', ['a.com'], False), (None, [], False)])
def test_referrers(referrer, entries, want):
    assert acl.referrer_allowed(referrer, entries) is want


@given(st.text(), st.lists(st.text()))
def test_any_referrer_is_judged(referrer, entries):
    acl.referrer_allowed(referrer, entries)


@pytest.mark.parametrize(('text', 'ok'), [
    ('', True), ('{}', True), ('{"admin":["a"]}', True), ('[]', False), ('{', False),
    ('{"root":[]}', False), ('{"admin":"a"}', False), ('{"admin":[1]}', False),
    ('[' * 100_000, False)])
def test_security_account_lists(text, ok):
    """S22: unknown keys are refused."""
    assert (acl.check_account_acl(text) is None) is ok


@pytest.mark.parametrize(('path', 'want'), [
    ('/v1/a', ('v1', 'a', None, None)), ('/v1/a/', ('v1', 'a', None, None)),
    ('/v1/a/c', ('v1', 'a', 'c', None)), ('/v1/a/c/', ('v1', 'a', 'c', None)),
    ('/v1/a/c/o/x', ('v1', 'a', 'c', 'o/x')), ('/v1/a/c//', ('v1', 'a', 'c', '/')),
    ('/v1/a/c/\xe2\x98\x83', ('v1', 'a', 'c', '☃'))])
def test_paths(path, want):
    assert split_plain(path) == want


@pytest.mark.parametrize(('path', 'status'), [
    ('/', 404), ('/v1', 412), ('//a', 404), ('/v1//c', 404), ('/v1/a//o', 404),
    ('/v1/a/\xff', 412), ('/v1/a/c\0', 412)])
def test_bad_paths(path, status):
    with pytest.raises(PathError) as caught:
        split_plain(path)
    assert caught.value.status == status


@given(st.text(st.characters(max_codepoint=255)))
def test_any_path_is_split_or_refused(path):
    try:
        split_plain('/' + path)
    except PathError as e:
        assert e.status in (404, 412)


@pytest.mark.parametrize('text', ['', 'x', '5', 'Thu, 01 Jan 1970 00:00:00 GMT' * 50,
                                  'Thu, 99 Foo 99999 99:99:99 GMT'])
def test_dates_that_are_none(text):
    parse_http_date(text)


def test_constraints_from_options():
    limits = Constraints({'max_file_size': '10', 'valid_api_versions': 'v1, v9'})
    assert limits.max_file_size == 10 and limits.valid_api_versions == ('v1', 'v9')
    with pytest.raises(ConfigError, match='max_file_size'):
        Constraints({'max_file_size': 'big'})


def test_metadata_in_utf8():
    def check(kind, **env):
        env = {'HTTP_' + k.upper(): v for k, v in env.items()}
        return Constraints().check_metadata(Request({'REQUEST_METHOD': 'PUT', **env}), kind)
    assert check('container', x_container_meta_a='\xe2\x98\x83') is None
    assert check('container', x_container_meta_a='\xff').status == 400
    assert check('object', x_object_meta_a='\xff') is None
    assert check('object', **{'x_object_meta_\xff': 'a'}).status == 400
    assert check('object', referer='a' * 8193).status == 400


def test_answers_are_escaped():
    response = answer(400, 'bad <script>')
    assert b'<script>' not in response.body and response.get('content-type').startswith('text/')


def test_local_cache():
    now = [0.0]
    cache = LocalCache(clock=lambda: now[0])
    cache.set('a', {'x': 1}, 5)
    assert cache.get('a') == {'x': 1} and cache.get('b') is None
    now[0] = 5.1
    assert cache.get('a') is None
    cache.set('a', 1, 5)
    cache.delete('a')
    assert cache.get('a') is None
    shared = LocalCache(max_ttl=1, clock=lambda: now[0])
    shared.set('a', 1, 60)
    now[0] += 1.1
    assert shared.get('a') is None


def test_bug_headers_of_auth_token_that_are_none():
    """keystonemiddleware sets HTTP_X_USER_DOMAIN_NAME and the like to None: every PUT was a 500."""
    request = Request({'REQUEST_METHOD': 'PUT', 'HTTP_X_IS_ADMIN_PROJECT': None,
                       'HTTP_X_CONTAINER_META_COLOUR': 'blue'})
    assert Constraints().check_metadata(request, 'container') is None
