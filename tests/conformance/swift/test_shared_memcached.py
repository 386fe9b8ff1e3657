# SPDX-License-Identifier: Apache-2.0
"""A proxy of ours and a real one with the same memcached: what one remembers serves the other."""
import pytest
from real_swift import MixedCluster

from swift.common.memcached import MemcacheCache

pytestmark = [pytest.mark.whole, pytest.mark.timeout(600)]      # a fixture starts 11 processes


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A cluster whose second proxy, `other`, is real, with two policies."""
    with MixedCluster(tmp_path_factory.mktemp("pair"), [("proxy", 1)], nodes=3, policies=2) as made:
        made.other = int(made.another_proxy(1).rpartition(":")[2])
        made.memcached = MemcacheCache([f"127.0.0.1:{made.memcached_port}"], 5, 5, 1)
        yield made


class Both:
    """A user of both proxies, with a token of each."""

    def __init__(self, cluster, user):
        self.cluster = cluster
        self.ours = cluster.login(user)
        self._real = self._at_other(cluster.login, user)
        self.account = self.ours.base.rpartition("/")[2]

    def real(self, *request):
        return self._at_other(self._real, *request)

    def _at_other(self, call, *arguments):
        mine, self.cluster.proxy_port = self.cluster.proxy_port, self.cluster.other
        try:
            return call(*arguments)
        finally:
            self.cluster.proxy_port = mine

    def remembered(self, ask, path, key):
        """What the memcached has once a proxy has answered a HEAD."""
        self.cluster.memcached.delete(key)
        assert ask("HEAD", path)[0] // 100 == 2
        return self.cluster.memcached.get(key)


def test_both_remember_the_same(pair):
    user = Both(pair, "test:tester")
    assert user.ours("PUT", "/c", {"X-Container-Meta-Colour": "grün".encode().decode("latin-1"),
                                   "X-Container-Read": ".r:*"})[0] == 201
    assert user.ours("PUT", "/d", {"X-Storage-Policy": "policy1"})[0] == 201
    assert user.ours("PUT", "/d/o", None, b"hello")[0] == 201
    assert user.ours("POST", "", {"X-Account-Meta-Colour": "red"})[0] == 204
    pair.everyone_once("container_updater")
    for path, key in (("", f"account/{user.account}"), ("/c", f"container/{user.account}/c")):
        ours, real = (user.remembered(ask, path, key) for ask in (user.ours, user.real))
        ours.pop("deleted", None)               # what ours alone wants to know
        for entry in (ours, real):
            entry.pop("created_at", None)       # each replica's own
        assert ours == real
    assert user.remembered(user.ours, "", f"account/{user.account}")["storage_policies"]["1"] == {
        "container_count": 1, "object_count": 1, "bytes": 5}


@pytest.mark.parametrize(("name", "first"), [("test2:tester2", "real"), ("admin:admin", "ours")])
def test_an_account_the_other_found_missing_is_made(pair, name, first):
    user = Both(pair, name)
    second = user.ours if first == "real" else user.real
    assert getattr(user, first)("HEAD", "")[0] // 100 == 2
    assert pair.memcached.get(f"account/{user.account}") is not None
    assert second("PUT", "/c")[0] == 201
    assert second("PUT", "/c/o", None, b"x")[0] == 201
