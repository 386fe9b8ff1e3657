# SPDX-License-Identifier: Apache-2.0
"""Clients of the S3 API on the store of the run: one proxy without, one with lists of S3's own."""
import itertools

import pytest
from s3_client import Raw, boto

_numbers = itertools.count()
KEYS = {"tester": ("test:tester", "testing"), "tester2": ("test:tester2", "testing2"),
        "tester3": ("test:tester3", "testing3"), "other": ("test2:tester2", "testing2")}


@pytest.fixture(scope="session")
def acl_url(cluster):
    """A proxy with s3_acl, small limits for uploads, and buckets in host names."""
    return cluster.another_proxy(1, **{"use = egg:swift#s3api": (
        "use = egg:swift#s3api\ns3_acl = yes\ncheck_bucket_owner = yes\nmin_segment_size = 10\n"
        "max_upload_part_num = 20\nstorage_domain = s3.test\n"
        "cors_preflight_allow_origin = https://a.example")})


@pytest.fixture(scope="session")
def s3(cluster):
    """boto3's client of test:tester."""
    client = boto(cluster.url, *KEYS["tester"])
    yield client
    client.close()


@pytest.fixture
def raw(cluster):
    """Signed requests of test:tester that tests may change."""
    return Raw(cluster.url, *KEYS["tester"])


@pytest.fixture
def bucket(s3):
    """A fresh bucket of test:tester."""
    name = f"bucket-{next(_numbers)}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def acl_clients(acl_url):
    """boto3's clients by user name, where lists of S3's own decide."""
    clients = {name: boto(acl_url, *keys) for name, keys in KEYS.items()}
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture
def acl_bucket(acl_clients):
    """A fresh bucket of test:tester with a list of its own."""
    name = f"acl-bucket-{next(_numbers)}"
    acl_clients["tester"].create_bucket(Bucket=name)
    return name
