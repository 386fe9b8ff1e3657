# SPDX-License-Identifier: Apache-2.0
"""Encryption at rest through real processes, of replicated and of coded objects, short and long."""
import base64
import hashlib
import itertools
import json
import os

import pytest
from swift_cluster import Client

_numbers = itertools.count()
SECRET = base64.b64encode(b"s" * 32).decode()


@pytest.fixture(scope="module")
def secret(cluster):
    """A user behind a proxy that encrypts, on the store of the run."""
    url = cluster.another_proxy(2, **{
        "symlink proxy-logging proxy-server": "symlink proxy-logging keymaster encryption "
                                              "proxy-server",
        "[filter:tempauth]": "[filter:encryption]\nuse = egg:swift#encryption\n[filter:keymaster]\n"
                             f"use = egg:swift#keymaster\nencryption_root_secret = {SECRET}\n"
                             "[filter:tempauth]"})

    class There:
        """The cluster, but for the proxy that is asked."""

        proxy_port = int(url.rpartition(":")[2])
        request = type(cluster).request

    made = cluster.login()
    return Client(There(), made.token, made.base)


@pytest.mark.parametrize("policy", ["policy0", "policy2"])
@pytest.mark.parametrize("size", [0, 1, 65536, 300_001])
def test_what_is_stored_is_encrypted_and_what_is_read_is_not(cluster, user, secret, policy, size):
    box = f"/encrypted{next(_numbers)}"
    assert secret("PUT", box, {"X-Storage-Policy": policy})[0] == 201
    body = os.urandom(size)
    etag = hashlib.md5(body).hexdigest()
    for sent in (body, iter([body])) if size else (body,):
        status, headers, _ = secret("PUT", box + "/o", {
            "X-Object-Meta-Colour": "blue", "ETag": etag}, sent)
        assert (status, headers["etag"]) == (201, etag)
        status, headers, got = secret("GET", box + "/o")
        assert (status, got, headers["etag"]) == (200, body, etag)
        assert headers["x-object-meta-colour"] == "blue"
    row = json.loads(secret("GET", box + "?format=json")[2])[0]
    assert (row["hash"], row["bytes"]) == (etag, size)
    assert secret("PUT", box + "/o", {"ETag": "0" * 32}, b"other")[0] == 422
    if size:
        status, headers, stored = user("GET", box + "/o")        # without the key
        assert status == 200 and len(stored) == size and (stored != body or size == 1)
        assert headers["etag"] == hashlib.md5(stored).hexdigest() != etag or size == 1
        last = {"Range": f"bytes={size // 2}-"}
        assert secret("GET", box + "/o", last)[::2] == (206, body[size // 2:])
        assert secret("GET", box + "/o", {"If-None-Match": etag})[0] == 304
        assert secret("COPY", box + "/o", {"Destination": box + "/copy"})[0] == 201
        assert secret("GET", box + "/copy")[2] == body
