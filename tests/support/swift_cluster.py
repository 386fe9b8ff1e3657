# SPDX-License-Identifier: Apache-2.0
"""A whole object store of real processes on loopback: one proxy, four storage nodes.

    with SwiftCluster(tmp_path) as cluster:
        cluster.kill('object', 2)            # SIGKILL
        cluster.start('object', 2)

Run as a script it starts one and waits (for benchmarks): ``swift_cluster.py DIR [PROXY_PORT]``.
"""

import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_libc = ctypes.CDLL(None)
TYPES = ('object', 'container', 'account')
START_TIMEOUT = 60
STOP_TIMEOUT = 15
http.client._MAXHEADERS = 300         # 90 metadata items and the usual headers are over 100
USERS = {'test:tester': 'testing .admin', 'test:tester2': 'testing2 .admin',
         'test:tester3': 'testing3', 'test2:tester2': 'testing2 .admin',
         'test5:tester5': 'testing5 service', 'test:tester6': 'testing6 .reseller_admin',
         'admin:admin': 'admin .admin .reseller_admin'}
PIPELINE = ('catch_errors gatekeeper healthcheck proxy-logging cache domain_remap etag-quoter '
            'listing_formats container_sync bulk tempurl ratelimit crossdomain formpost s3api '
            'tempauth staticweb copy container-quotas account-quotas slo dlo versioned_writes '
            'symlink proxy-logging proxy-server')
FILTER_OPTIONS = {
    'versioned_writes': 'allow_versioned_writes = true\nallow_object_versioning = true\n'}


def free_ports(count):
    """Distinct TCP ports that are free on loopback."""
    socks = [socket.socket() for _ in range(count)]
    try:
        for sock in socks:
            sock.bind(('127.0.0.1', 0))
        return [sock.getsockname()[1] for sock in socks]
    finally:
        for sock in socks:
            sock.close()


def _die_with_parent():
    """In the child: have Linux kill it when the test run is killed."""
    pr_set_pdeathsig = 1
    _libc.prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)


class SwiftCluster:
    """Configuration, rings and processes below one directory."""

    def __init__(self, root, nodes=4, proxy_options='', proxy_port=None, policies=1,
                 storage_options='', python=sys.executable, part_power=4, s3_options='',
                 coded=None, segment_size=1 << 20, regions=1):
        self.root = Path(root)
        self.nodes, self.regions = nodes, regions
        self.python = python
        self.proxy_options, self.storage_options = proxy_options, storage_options
        self.s3_options = s3_options
        self.policies, self.part_power = policies, part_power
        self.coded, self.segment_size = coded or {}, segment_size  # index -> (data, parity)
        ports = free_ports(nodes * 3 + 1)
        self.proxy_port = proxy_port or ports.pop()
        self.ports = {(t, n): ports[n * 3 + i] for n in range(nodes)
                      for i, t in enumerate(TYPES)}
        self.processes = {}
        self.etc = self.root / 'etc'

    # -- files ---------------------------------------------------------------
    def configure(self):
        """Write the configuration and make the rings."""
        self.etc.mkdir(parents=True, exist_ok=True)
        policies = ''.join(
            f'[storage-policy:{i}]\nname = policy{i}\n' + ('default = yes\n' if i == 0 else '')
            + self._coding(i) for i in range(self.policies))
        (self.etc / 'swift.conf').write_text(
            '[swift-hash]\nswift_hash_path_prefix = changeme\nswift_hash_path_suffix = tests\n'
            + policies)
        (self.etc / 'container-sync-realms.conf').write_text(
            f'[R]\nkey = realm key\ncluster_c = http://127.0.0.1:{self.proxy_port}/v1/\n')
        common = f'swift_dir = {self.etc}\nbind_ip = 127.0.0.1\nworkers = 1\nuser = root\n' \
                 f'log_address = {self.root}/none\nmount_check = false\n'
        filters = ''.join(f'[filter:{name}]\nuse = egg:swift#{name}\n'
                          + FILTER_OPTIONS.get(name, '')
                          for name in dict.fromkeys(PIPELINE.split()[:-1])
                          if name not in ('tempauth', 's3api'))
        users = ''.join(f"user_{who.replace(':', '_')} = {what}\n" for who, what in USERS.items())
        (self.etc / 'proxy-server.conf').write_text(
            f'[DEFAULT]\n{common}bind_port = {self.proxy_port}\n'
            f'[pipeline:main]\npipeline = {PIPELINE}\n'
            '[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n'
            f'allow_account_management = true\n{self.proxy_options}\n{filters}'
            '[filter:tempauth]\nuse = egg:swift#tempauth\nreseller_prefix = AUTH, SERVICE\n'
            f'SERVICE_require_group = service\n{users}'
            f'[filter:s3api]\nuse = egg:swift#s3api\n{self.s3_options}\n')
        for (kind, n), port in self.ports.items():
            (self.root / f'n{n}/d{n}').mkdir(parents=True, exist_ok=True)
            (self.etc / f'{kind}-{n}.conf').write_text(
                f'[DEFAULT]\n{common}bind_port = {port}\ndevices = {self.root}/n{n}\n'
                f'[pipeline:main]\npipeline = {kind}-server\n'
                f'[app:{kind}-server]\nuse = egg:swift#{kind}\n{self.storage_options}\n')
        self.make_rings()

    def _coding(self, index):
        if index not in self.coded:
            return ''
        data, parity = self.coded[index]
        return ('policy_type = erasure_coding\nec_type = liberasurecode_rs_vand\n'
                f'ec_num_data_fragments = {data}\nec_num_parity_fragments = {parity}\n'
                f'ec_object_segment_size = {self.segment_size}\n')

    def make_rings(self):
        """One ring for each kind, and one more for each further policy."""
        from swift.common.ring import RingBuilder

        names = [(t, t) for t in TYPES] + [
            ('object', f'object-{i}') for i in range(1, self.policies)]
        for kind, name in names:
            index = int(name.partition('-')[2] or '0')
            replicas = sum(self.coded[index]) if kind == 'object' and index in self.coded \
                else min(3, self.nodes)
            builder = RingBuilder(self.part_power, replicas, 0)
            for n in range(self.nodes):
                builder.add_dev(dict(region=1 + n * self.regions // self.nodes, zone=n + 1,
                                     ip='127.0.0.1', port=self.ports[kind, n],
                                     device=f'd{n}', weight=1))
            builder.rebalance(seed='tests')
            builder.get_ring().save(str(self.etc / f'{name}.ring.gz'))

    # -- processes -----------------------------------------------------------
    def start(self, kind, n=0, wait=True):
        """Start ``proxy`` or one storage server."""
        conf = 'proxy-server.conf' if (kind, n) == ('proxy', 0) else f'{kind}-{n}.conf'
        log = open(self.root / f'{kind}-{n}.log', 'ab')
        with log:
            self.processes[kind, n] = subprocess.Popen(
                self.server_command(kind, n, str(self.etc / conf)),
                env=dict(os.environ, SWIFT_DIR=str(self.etc), PYTHONDONTWRITEBYTECODE='1'),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=_die_with_parent)
        if wait:
            self.wait(kind, n)

    def server_command(self, kind, n, conf):
        """How a server is started; tests of faults start it otherwise."""
        return [self.python, '-W', 'ignore', '-m', f'swift.cli.{kind}_server', conf]

    def another_proxy(self, n, **changes):
        """Start proxy ``n`` on the same store, texts of its configuration changed; its URL."""
        self.ports['proxy', n] = free_ports(1)[0]
        text = (self.etc / 'proxy-server.conf').read_text().replace(
            f'bind_port = {self.proxy_port}', f"bind_port = {self.ports['proxy', n]}")
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        (self.etc / f'proxy-{n}.conf').write_text(text)
        self.start('proxy', n)
        return f"http://127.0.0.1:{self.ports['proxy', n]}"

    def port(self, kind, n=0):
        return self.proxy_port if (kind, n) == ('proxy', 0) else self.ports[kind, n]

    def wait(self, kind, n=0):
        """Until the server takes connections; RuntimeError with its log when it ends instead."""
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                socket.create_connection(('127.0.0.1', self.port(kind, n)), 1).close()
                return
            except OSError:
                ended = self.processes[kind, n].poll() is not None
                if ended or time.monotonic() > deadline:
                    raise RuntimeError(f'{kind}-{n} did not come up:\n'
                                       + self.log(kind, n)[-3000:]) from None
                time.sleep(0.05)

    def log(self, kind, n=0):
        """What a server has logged so far."""
        return (self.root / f'{kind}-{n}.log').read_text(errors='replace')

    def all(self):
        return [*self.ports, ('proxy', 0)]

    def __enter__(self):
        self.configure()
        try:
            for kind, n in self.all():
                self.start(kind, n, wait=False)
            for kind, n in self.all():
                self.wait(kind, n)
        except BaseException:      # a test run that is interrupted leaves no servers
            self.stop()
            raise
        return self

    def __exit__(self, *exc):
        self.stop()

    def signal(self, kind, n, number):
        self.processes[kind, n].send_signal(number)

    def kill(self, kind, n=0):
        """SIGKILL, and wait until it is gone."""
        process = self.processes.pop((kind, n))
        process.kill()
        process.wait(STOP_TIMEOUT)

    def stop(self):
        """End everything."""
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
        for process in self.processes.values():
            process.wait(STOP_TIMEOUT)
        self.processes.clear()

    # -- talking to it -------------------------------------------------------
    @property
    def url(self):
        return f'http://127.0.0.1:{self.proxy_port}'

    def request(self, method, path, headers=None, body=None, timeout=30):
        """One request to the proxy; ``(status, headers by lower-case name, body)``."""
        conn = http.client.HTTPConnection('127.0.0.1', self.proxy_port, timeout=timeout)
        try:
            conn.request(method, path, body=body, headers=headers or {})
            resp = conn.getresponse()
            return resp.status, {k.lower(): v for k, v in resp.getheaders()}, resp.read()
        finally:
            conn.close()

    def login(self, user='test:tester'):
        """A client of a user."""
        status, headers, _ = self.request('GET', '/auth/v1.0', {
            'X-Auth-User': user, 'X-Auth-Key': USERS[user].split()[0]})
        assert status == 200
        return Client(self, headers['x-auth-token'],
                      '/' + headers['x-storage-url'].split('/', 3)[3])


class Client:
    """A logged-in user; paths are below the storage URL."""

    def __init__(self, cluster, token, base):
        self.cluster, self.token, self.base = cluster, token, base

    def __call__(self, method, path='', headers=None, body=None, timeout=30):
        return self.cluster.request(method, self.base + path, {
            'X-Auth-Token': self.token, **(headers or {})}, body, timeout)


def main():
    root = sys.argv[1]
    port = int(sys.argv[2]) if len(sys.argv) > 2 else None
    with SwiftCluster(root, proxy_port=port, part_power=10, policies=2,
                      proxy_options="allow_open_expired = true",
                      s3_options='s3_acl = yes\ncheck_bucket_owner = yes') as cluster:
        for (kind, n), process in cluster.processes.items():
            (cluster.root / f'{kind}-{n}.pid').write_text(str(process.pid))
        print(f'up: {cluster.url}', flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.pause()


if __name__ == '__main__':
    main()
