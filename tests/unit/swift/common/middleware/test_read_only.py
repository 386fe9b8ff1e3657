# SPDX-License-Identifier: Apache-2.0
"""read_only refuses writes, to all or to marked accounts; names of filters that are not there."""
import pytest
from wsgi_call import environ

from swift.common import app_conf
from swift.common.exceptions import ConfigError
from swift.common.middleware import read_only
from swift.common.request import Response
from swift.proxy.cached_info import account_entry, cache_key


def below(env, start):
    return Response(200, [], b"below")(env, start)


def status_of(options, method, path, marks, **more):
    filtered = read_only.ReadOnly(below, options)
    infocache = {cache_key(name): account_entry(200, {
        "x-account-sysmeta-read-only": mark} if mark else {}) for name, mark in marks.items()}
    env = {**environ(method, path), "swift.infocache": infocache, **more}
    statuses = []
    list(filtered(env, lambda status, headers, exc_info=None: statuses.append(status)))
    return int(statuses[0].split()[0])


@pytest.mark.parametrize("options, mark, writes", [
    ({}, None, True), ({}, "true", False), ({}, "false", True),
    ({"read_only": "true"}, None, False), ({"read_only": "true"}, "false", True)])
def test_who_may_write(options, mark, writes):
    for method in ("PUT", "POST", "DELETE", "COPY"):
        for path in ("/v1/a", "/v1/a/c", "/v1/a/c/o"):
            assert status_of(options, method, path, {"a": mark}) == (200 if writes else 405)
    for method in ("GET", "HEAD", "OPTIONS"):
        assert status_of(options, method, "/v1/a/c", {"a": mark}) == 200
    assert status_of(options, "PUT", "/auth/x/y", {}) == 200


def test_deletes_may_go_on_and_copies_count_where_they_go():
    assert status_of({"allow_deletes": "yes"}, "DELETE", "/v1/a/c", {"a": "true"}) == 200
    copy = {"HTTP_DESTINATION_ACCOUNT": "b%20c"}
    marks = {"a": None, "b c": "true"}
    assert status_of({}, "COPY", "/v1/a/c/o", marks, **copy) == 405
    assert status_of({}, "COPY", "/v1/b c/c/o", {"b c": "true", "a": None},
                     HTTP_DESTINATION_ACCOUNT="a") == 200


@pytest.mark.parametrize("name, words", [
    ("kms_keymaster", "keymaster_config_path"), ("kmip_keymaster", "KMIP"),
    ("no-such", "no filter of that name"), ("../x", "no filter of that name")])
def test_a_filter_that_is_not_there_is_said_by_name(tmp_path, name, words):
    path = tmp_path / "proxy-server.conf"
    path.write_text(f"[pipeline:main]\npipeline = f proxy-server\n[filter:f]\n"
                    f"use = egg:swift#{name}\n[app:proxy-server]\nuse = egg:swift#proxy\n")
    with pytest.raises(ConfigError, match=words) as caught:
        app_conf.load_context(str(path))
    assert name in str(caught.value)
