# SPDX-License-Identifier: Apache-2.0
"""OpenStack Swift's functional tests pass against this store: those listed in functional-pass.txt.

functional-quick.txt names the part of them that each run of the tests has time for. s3api-pass.txt
lists those of S3.
"""

import shutil
import tempfile
from pathlib import Path

import pytest
from swift_cluster import SwiftCluster
from swift_suite import holds_metadata

HERE = Path(__file__).parent
WHOLE_TIMEOUT = 3600
QUICK_TIMEOUT = 600
S3_OPTIONS = 's3_acl = yes\ncheck_bucket_owner = yes'      # as the suite's own cluster has them


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    """A cluster of two storage policies, on a file system that holds all of the metadata."""
    root = tmp_path_factory.mktemp('store')
    if not holds_metadata(root):
        root = Path(tempfile.mkdtemp(prefix='snakestack-swift-', dir='/dev/shm'))
        if not holds_metadata(root):
            root.rmdir()
            pytest.fail('neither the temporary folder nor /dev/shm holds large extended '
                        'attributes: set TMPDIR to a folder on XFS')
    try:
        with SwiftCluster(root, policies=2, part_power=6,
                          proxy_options='allow_open_expired = true', s3_options=S3_OPTIONS,
                          storage_options='disable_fallocate = yes') as cluster:
            yield cluster
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope='module')
def coded_store():
    """As `store`, with a default policy that codes 2+1 and one that replicates."""
    root = Path(tempfile.mkdtemp(prefix='snakestack-swift-', dir='/dev/shm'))
    if not holds_metadata(root):
        root.rmdir()
        pytest.fail('/dev/shm does not hold large extended attributes')
    try:
        with SwiftCluster(root, policies=2, part_power=6, coded={0: (2, 1)},
                          proxy_options='allow_open_expired = true', s3_options=S3_OPTIONS,
                          storage_options='disable_fallocate = yes') as cluster:
            yield cluster
    finally:
        shutil.rmtree(root, ignore_errors=True)


def listed(name):
    return [line for line in (HERE / name).read_text().splitlines()
            if line and not line.startswith('#')]


def check(suite, store, tests, workdir, timeout):
    passed, output = suite.run('127.0.0.1', store.proxy_port, tests, workdir, timeout)
    failed = sorted(set(tests) - passed)
    assert not failed, f'{len(failed)} of {len(tests)} failed: {failed[:20]}\n{output[-20000:]}'


@pytest.mark.timeout(QUICK_TIMEOUT + 900)
def test_the_quick_part(suite, store, tmp_path):
    quick = listed('functional-quick.txt')
    assert set(quick) <= set(listed('functional-pass.txt'))
    check(suite, store, quick, tmp_path, QUICK_TIMEOUT)


@pytest.mark.whole
@pytest.mark.timeout(WHOLE_TIMEOUT + 900)
def test_all_that_must_pass(suite, store, tmp_path):
    check(suite, store, listed('functional-pass.txt'), tmp_path, WHOLE_TIMEOUT)


@pytest.mark.whole
@pytest.mark.timeout(WHOLE_TIMEOUT + 900)
def test_all_that_must_pass_on_coded_objects(suite, coded_store, tmp_path):
    check(suite, coded_store, listed('functional-pass.txt'), tmp_path, WHOLE_TIMEOUT)


@pytest.mark.whole
@pytest.mark.parametrize('folder', ['test/functional/s3api/', 'test/s3api/'])
@pytest.mark.timeout(WHOLE_TIMEOUT + 900)
def test_all_of_s3_that_must_pass(suite, store, tmp_path, folder):
    """Each folder in a process of its own: what one patches, boto3 in the other cannot bear."""
    wanted = [name for name in listed('s3api-pass.txt') if name.startswith(folder)]
    check(suite, store, wanted, tmp_path, WHOLE_TIMEOUT)
