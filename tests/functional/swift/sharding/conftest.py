# SPDX-License-Identifier: Apache-2.0
"""A storage node of real processes whose containers are divided at 20 objects, and a proxy
application in front of it in this process."""
import json
import shutil
from urllib.parse import quote

import pytest
from swift_node import StorageNode
from wsgi_call import call

from swift.common import db_connection, node_client, storage, storage_policy
from swift.common.conf import read_conf
from swift.common.memcached import LocalCache
from swift.container.updater import ContainerUpdater
from swift.proxy.server import Application

OPTIONS = """auto_shard = true
shard_container_threshold = 20
rows_per_shard = 8
minimum_shard_size = 2
shrink_threshold = 2
expansion_limit = 16
cleave_batch_size = 8
node_timeout = 60
conn_timeout = 10
concurrency = 1
"""


class ShardedStore(StorageNode):
    """Objects of account a, container c, through a proxy; daemons as processes."""

    def __init__(self, root, options, policies):
        super().__init__(root, options, policies)
        self.proxy = Application({"swift_dir": str(self.etc), "log_address": f"{root}/none",
                                  "account_autocreate": "true", "node_timeout": "60",
                                  "conn_timeout": "10"})
        self.cache = None              # a dictionary's worth of what proxies remember
        self.overrides = {}            # options of daemons, over those of the file

    def ask(self, method, path="", body=b"", query="", **headers):
        """(status, headers, body) of a request to the proxy; `path` is below /v1/a/c."""
        def app(env, start):
            if self.cache is not None:
                env["swift.cache"] = self.cache
            return self.proxy(env, start)
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return call(app, method, "/v1/a/c" + path.encode().decode("latin-1") + (query and "?")
                    + query, {"Content-Type": "text/plain", **more}, body)

    def ask_for(self, path):
        """The body of a GET below /v1."""
        path, _, query = path.partition("?")
        status, _, body = call(self.proxy, "GET", f"/v1{path}?{query}")
        assert status in (200, 204, 404), status
        return body if status == 200 else b"[]"

    def fill(self, names, body=b"x"):
        for name in names:
            assert self.ask("PUT", "/" + name, body)[0] == 201

    def drop(self, names):
        for name in names:
            assert self.ask("DELETE", "/" + name)[0] == 204

    def listed(self, **params):
        """Names, and groups, in a listing."""
        query = "&".join(f"{name}={quote(str(value))}" for name, value in params.items())
        status, _, body = self.ask("GET", query=query)
        assert status == 200, body
        return [row.get("name", row.get("subdir")) for row in json.loads(body)]

    def count(self):
        return int(self.ask("HEAD")[1]["x-container-object-count"])

    def remember(self):
        """Let the proxy have a cache from now on."""
        self.cache = LocalCache()

    def ranges(self, states="", index=0):
        """(ranges, state) as one replica of the container knows them."""
        part, nodes = self.places("container", "a", "c")
        path = node_client.path_of(nodes[index]["device"], part, "a", "c")
        status, headers, body = self.request(
            "container", "GET", f"{path}?format=json&states={states}",
            {"X-Backend-Record-Type": "shard", "X-Backend-Override-Deleted": "true"})
        assert status == 200
        return json.loads(body), headers["x-backend-sharding-state"]

    def run(self, daemon, kind="container"):
        """One pass of a daemon in this process, which costs a tenth of one of its own."""
        conf = read_conf(str(self.etc / f"{kind}.conf"), daemon.section, required=False)
        made = daemon({**conf, "log_level": "CRITICAL", **self.overrides})
        made.run_once()
        return made

    def get_count(self, account):
        """How many objects the account's servers know of, once they are told."""
        self.run(ContainerUpdater)
        return json.loads(self.get_all("account", account, query="?format=json")[0][1])[0]["count"]


@pytest.fixture(scope="module")
def running_store(tmp_path_factory):
    """The processes, shared by the tests of a module."""
    before = storage._secrets, storage_policy._policies
    storage.set_hash_secrets(b"node", b"tests")
    storage_policy.set_policies(storage_policy.parse_policies({
        f"storage-policy:{number}": {"name": f"policy{number}",
                                     "default": "no" if number else "yes"}
        for number in range(2)}))
    try:
        with ShardedStore(tmp_path_factory.mktemp("sharding") / "node", OPTIONS, 2) as made:
            yield made
    finally:
        storage._secrets, storage_policy._policies = before


@pytest.fixture
def store(running_store):
    """Four empty devices, and a proxy without a cache."""
    for device in running_store.devices.iterdir():
        shutil.rmtree(device)
        device.mkdir()
    db_connection.forget_all()
    running_store.cache = None
    running_store.overrides = {}
    return running_store
