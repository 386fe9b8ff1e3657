# SPDX-License-Identifier: Apache-2.0
"""OpenStack Swift's own functional tests, from the source distribution on PyPI, against a server.

The suite is installed once a machine, in an environment of its own:

    suite = functional_suite(cache)
    passed, report = suite.run("127.0.0.1", 8080, ["test/functional/tests.py::TestFile::testCopy"])
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

VERSION = '2.38.3'
PACKAGES = (f'swift=={VERSION}', 'setuptools<81', 'pytest', 'pytest-timeout', 'awscrt',
            'python-swiftclient', 'python-keystoneclient', 'boto', 'boto3', 'botocore',
            'requests-mock', 'keystonemiddleware', 'aiohttp')
INSTALL_TIMEOUT = 900
SERVICE_PREFIX, STORAGE_DOMAIN = 'SERVICE', 'example.com'
CONFIGURATION = """\
[func_test]
auth_version = 1
auth_uri = http://{address}/auth/v1.0
s3_storage_url = http://{address}/
s3_region = us-east-1
account = test
username = tester
password = testing
s3_access_key = test:tester
s3_secret_key = testing
account2 = test2
username2 = tester2
password2 = testing2
username3 = tester3
password3 = testing3
s3_access_key2 = test:tester2
s3_secret_key2 = testing2
s3_access_key3 = test:tester3
s3_secret_key3 = testing3
account5 = test5
username5 = tester5
password5 = testing5
account6 = test
username6 = tester6
password6 = testing6
service_prefix = {service}
collate = C
insecure = no
storage_domain = {domain}
[s3api_test]
endpoint = http://{address}
region = us-east-1
s3_acl_tests_enabled = True
access_key1 = test:tester
secret_key1 = testing
access_key2 = test:tester2
secret_key2 = testing2
access_key3 = test:tester3
secret_key3 = testing3
[swift-constraints]
"""

KEYSTONE_CONFIGURATION = """\
[func_test]
auth_version = 3
auth_uri = {auth}
account = test
username = tester
password = testing
domain = Default
account2 = test2
username2 = tester2
password2 = testing2
domain2 = Default
username3 = tester3
password3 = testing3
domain3 = Default
account4 = test4
username4 = tester4
password4 = testing4
domain4 = test-domain
account5 = test5
username5 = tester5
password5 = testing5
domain5 = Default
account6 = test
username6 = tester6
password6 = testing6
domain6 = Default
service_prefix = {service}
collate = C
insecure = no
storage_domain = {domain}
[swift-constraints]
"""


class Suite:
    """The installed suite."""

    def __init__(self, root):
        self.root = Path(root)
        self.python = self.root / 'venv/bin/python'

    def run(self, host, port, tests, workdir, timeout, keystone=None):
        """Run tests by their ids; ``(ids that passed, the output)``.

        ``timeout`` is seconds for all of them; one that hangs for half of that is stopped.
        With ``keystone``, the URL of its version 3, as users of `KEYSTONE_CONFIGURATION`.
        """
        workdir = Path(workdir)
        conf = workdir / 'test.conf'
        conf.write_text((KEYSTONE_CONFIGURATION if keystone else CONFIGURATION).format(
            address=f'{host}:{port}', service=SERVICE_PREFIX, domain=STORAGE_DOMAIN,
            auth=keystone))
        (workdir / 'ids').write_text('\n'.join(tests))
        environment = {k: v for k, v in os.environ.items() if not k.startswith('PYTEST')}
        environment.update(SWIFT_TEST_CONFIG_FILE=str(conf), SWIFT_TEST_IN_PROCESS='0',
                           PYTHONWARNINGS='ignore', PYTHONDONTWRITEBYTECODE='1')
        environment.pop('SWIFT_TEST_POLICY_FILE', None)
        done = subprocess.run(
            [self.python, '-m', 'pytest', '-p', 'no:requests_mock', '-p', 'no:cacheprovider', '-q',
             '-rA', '--tb=short', '-o', 'python_files=test_*.py tests.py',
             f'--timeout={timeout // 2}', f'@{workdir}/ids'],
            cwd=self.root, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False)
        return set(re.findall(r'^PASSED (\S+)', done.stdout, re.MULTILINE)), done.stdout


def functional_suite(cache):
    """The Suite below the folder ``cache``, installed when it is not there."""
    root = Path(cache) / f'swift-functional-{VERSION}'
    if not (root / 'complete').exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        subprocess.run([sys.executable, '-m', 'venv', root / 'venv'], check=True, timeout=120)
        pip = [root / 'venv/bin/python', '-m', 'pip', '--disable-pip-version-check']
        _run([*pip, 'install', '-q', *PACKAGES])
        _run([*pip, 'download', '-q', '--no-deps', '--no-binary', 'swift', '-d', root,
              f'swift=={VERSION}'])
        [archive] = root.glob('swift-*.tar.gz')
        with tarfile.open(archive) as source:
            members = [m for m in source if '/test/' in m.name]
            for member in members:
                member.name = member.name.partition('/')[2]
            source.extractall(root, members, filter='data')
        archive.unlink()
        (root / 'complete').touch()
    return Suite(root)


def _run(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT,
                          check=False)
    assert done.returncode == 0, f'{command} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}'


def holds_metadata(folder):
    """Whether a file system keeps extended attributes as large as Swift's limits allow."""
    path = Path(folder) / 'attributes'
    path.touch()
    try:
        os.setxattr(path, 'user.swift.metadata', b'a' * 40000)
    except OSError:
        return False
    finally:
        path.unlink()
    return True
