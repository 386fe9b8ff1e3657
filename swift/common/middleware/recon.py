# SPDX-License-Identifier: Apache-2.0
"""``/recon/...`` on a storage server: what swift-recon and other monitors ask for, as JSON.

Facts of the machine (memory, load, disks) and of the configuration (digests of rings and
swift.conf) are found when asked; facts of the daemons are those of `swift.common.recon`.
"""

import hashlib
import json
import os
import time

from swift.common import recon
from swift.common.conf import SWIFT_DIR, config_true
from swift.common.request import Response, answer
from swift.common.version import VERSION

QUARANTINES = {'accounts': 'accounts', 'containers': 'containers', 'objects': 'objects'}
# path -> (file, names in it)
CACHED = {
    'replication/object': ('object', ('replication_time', 'replication_stats', 'replication_last',
                                      'object_replication_time', 'object_replication_last')),
    'replication/container': ('container', ('replication_time', 'replication_stats',
                                            'replication_last')),
    'replication/account': ('account', ('replication_time', 'replication_stats',
                                        'replication_last')),
    'reconstruction/object': ('object', ('object_reconstruction_last',
                                         'object_reconstruction_time')),
    'updater/object': ('object', ('object_updater_sweep', 'object_updater_stats',
                                  'object_updater_last')),
    'updater/container': ('container', ('container_updater_sweep', 'container_updater_last')),
    'auditor/object': ('object', ('object_auditor_stats_ALL', 'object_auditor_stats_ZBF')),
    'auditor/container': ('container', ('container_audits_passed', 'container_audits_failed',
                                        'container_audits_since',
                                        'container_auditor_pass_completed')),
    'auditor/account': ('account', ('account_audits_passed', 'account_audits_failed',
                                    'account_audits_since', 'account_auditor_pass_completed')),
    'expirer/object': ('object', ('object_expiration_pass', 'expired_last_pass')),
    'sharding/container': ('container', ('sharding_stats', 'sharding_time', 'sharding_last')),
    # As they are called without a server's name, by older monitors.
    'replication': ('object', ('replication_time', 'replication_stats', 'replication_last',
                               'object_replication_time', 'object_replication_last')),
    'sharding': ('container', ('sharding_stats', 'sharding_time', 'sharding_last')),
    'relinker': ('relinker', ('devices', 'workers')),
    'driveaudit': ('drive', ('drive_audit_errors',)),
}


class Recon:
    """Filter; options recon_cache_path, devices, mount_check, swift_dir."""

    def __init__(self, app, conf):
        self.app = app
        self.cache = recon.cache_path(conf)
        self.devices = conf.get('devices', '/srv/node')
        self.mount_check = config_true(conf.get('mount_check', 'true'))
        self.swift_dir = conf.get('swift_dir') or os.environ.get('SWIFT_DIR', SWIFT_DIR)
        self.facts = {'version': lambda: {'version': VERSION}, 'time': time.time,
                      'mem': self.memory, 'load': self.load, 'async': self.asyncs,
                      'devices': self.device_list, 'unmounted': self.unmounted,
                      'diskusage': self.disk_usage, 'ringmd5': self.ring_digests,
                      'swiftconfmd5': self.configuration_digests,
                      'quarantined': self.quarantined, 'sockstat': self.sockets,
                      'mounted': self.mounted}

    def __call__(self, env, start_response):
        path = env['PATH_INFO']
        if not path.startswith('/recon/'):
            return self.app(env, start_response)
        what = path[len('/recon/'):].strip('/')
        if what in self.facts:
            found = self.facts[what]()
        elif what in CACHED:
            name, keys = CACHED[what]
            known = recon.read(os.path.join(self.cache, f'{name}.recon'))
            found = {key: known.get(key) for key in keys}
        else:
            return answer(404, f'Invalid path: {path}')(env, start_response)
        return Response(200, [('Content-Type', 'application/json')],
                        json.dumps(found).encode())(env, start_response)

    # -- the machine ---------------------------------------------------------
    @staticmethod
    def memory():
        """/proc/meminfo."""
        with open('/proc/meminfo', encoding='ascii') as source:
            return {name: value.strip() for name, _, value in
                    (line.partition(':') for line in source)}

    @staticmethod
    def load():
        """/proc/loadavg."""
        with open('/proc/loadavg', encoding='ascii') as source:
            one, five, fifteen, tasks, last = source.read().split()
        return {'1m': float(one), '5m': float(five), '15m': float(fifteen), 'tasks': tasks,
                'processes': int(last)}

    @staticmethod
    def sockets():
        """/proc/net/sockstat and sockstat6, what matters of them."""
        found: dict[str, int] = {}
        lines = []
        for name in ('sockstat', 'sockstat6'):
            if os.path.exists('/proc/net/' + name):        # a kernel may have no IPv6
                with open('/proc/net/' + name, encoding='ascii') as source:
                    lines += source.readlines()
        for words in (line.split() for line in lines):
            pairs = dict(zip(words[1::2], words[2::2], strict=False))
            if words and words[0] == 'TCP:':
                found.update(tcp_in_use=int(pairs['inuse']), orphan=int(pairs['orphan']),
                             time_wait=int(pairs['tw']),
                             tcp_mem_allocated_bytes=int(pairs['mem']) * 4096)
            elif words and words[0] == 'TCP6:':
                found['tcp6_in_use'] = int(pairs['inuse'])
        return found

    @staticmethod
    def mounted():
        """/proc/mounts."""
        with open('/proc/mounts', encoding='utf-8') as source:
            return [{'device': words[0], 'path': words[1]} for words in
                    (line.split() for line in source)]

    # -- disks ---------------------------------------------------------------
    def _each(self):
        try:
            return sorted(name for name in os.listdir(self.devices)
                          if os.path.isdir(os.path.join(self.devices, name)))
        except OSError:
            return []

    def _is_mounted(self, name):
        return not self.mount_check or os.path.ismount(os.path.join(self.devices, name))

    def device_list(self):
        """Devices by their folder."""
        return {self.devices: self._each()}

    def unmounted(self):
        """Devices that should be mounted and are not."""
        return [{'device': name, 'mounted': False} for name in self._each()
                if not self._is_mounted(name)]

    def disk_usage(self):
        """Bytes of each device."""
        found = []
        for name in self._each():
            entry = {'device': name, 'mounted': self._is_mounted(name), 'size': '', 'used': '',
                     'avail': ''}
            if entry['mounted']:
                stat = os.statvfs(os.path.join(self.devices, name))
                size, free = (blocks * stat.f_frsize for blocks in (stat.f_blocks, stat.f_bavail))
                entry.update(size=size, used=size - stat.f_bfree * stat.f_frsize, avail=free)
            found.append(entry)
        return found

    def asyncs(self):
        """Updates of containers that are still to be sent; swift-recon-cron's count, if there is
        one."""
        known = recon.read(os.path.join(self.cache, 'object.recon'))
        if 'async_pending_last' in known:
            return {key: known.get(key) for key in ('async_pending', 'async_pending_last')}
        return {'async_pending': recon.count_async(self.devices),
                'async_pending_last': time.time()}

    def quarantined(self):
        """Things put aside because they were broken, by kind; objects by storage policy too."""
        found = {kind: 0 for kind in QUARANTINES}
        policies: dict[str, int] = {}
        for name in self._each():
            base = os.path.join(self.devices, name, 'quarantined')
            if not os.path.isdir(base):
                continue
            for folder in os.listdir(base):
                count = len(os.listdir(os.path.join(base, folder)))
                if folder in found:
                    found[folder] += count
                kind, _, index = folder.partition('-')
                if kind == 'objects':
                    key = index or '0'
                    policies[key] = policies.get(key, 0) + count
        found['objects'] = sum(policies.values())
        return {**found, 'policies': {index: {'objects': n} for index, n in policies.items()}}

    # -- configuration -------------------------------------------------------
    def ring_digests(self):
        """MD5 of each ring file: all nodes should have the same."""
        try:
            names = [name for name in os.listdir(self.swift_dir) if name.endswith('.ring.gz')]
        except OSError:
            names = []
        return {path: _digest(path) for path in
                (os.path.join(self.swift_dir, name) for name in sorted(names))}

    def configuration_digests(self):
        """MD5 of swift.conf."""
        path = os.path.join(self.swift_dir, 'swift.conf')
        return {path: _digest(path)} if os.path.exists(path) else {}


def _digest(path):
    with open(path, 'rb') as source:
        return hashlib.file_digest(source, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: Recon(app, conf)
