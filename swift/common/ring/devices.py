# SPDX-License-Identifier: Apache-2.0
"""How operators write devices: ``r1z2-10.0.0.1:6200R10.1.0.1:6200/sdb1_"meta"`` and searches."""

import ipaddress
import re

# Names of hosts are given by option only: here one could not tell z1r1-... from a zone and a name.
_IP = r'\[[0-9a-fA-F:.%\w]*\]|[0-9.]+'
_SPEC = re.compile(
    r'(?:d(?P<id>\d+))?(?:r(?P<region>\d+))?(?:z(?P<zone>\d+))?'
    rf'(?:-?(?P<ip>{_IP}))?(?::(?P<port>\d+))?'
    rf'(?:R(?P<replication_ip>{_IP})?(?::(?P<replication_port>\d+))?)?'
    r'(?:/(?P<device>[^_]*))?(?:_(?P<meta>.*))?', re.DOTALL)
KEYS = ('id', 'region', 'zone', 'ip', 'port', 'replication_ip', 'replication_port', 'device',
        'weight', 'meta')
NUMBERS = ('id', 'region', 'zone', 'port', 'replication_port')


def _parse(text):
    match = _SPEC.fullmatch(text)
    found: dict = {k: v for k, v in match.groupdict().items() if v is not None} if match else {}
    for key in NUMBERS:
        if key in found:
            found[key] = int(found[key])
    for key in ('ip', 'replication_ip'):
        if key in found:
            found[key] = clean_ip(found[key])
    for key in ('port', 'replication_port'):
        if not 0 <= found.get(key, 0) <= 65535:
            raise ValueError(f'{key} is not a port number: {found[key]}')
    return found


def clean_ip(ip):
    """An address without brackets, IPv6 in its shortest form; host names in lower case.

    ValueError for what looks like an address and is none.
    """
    bare = ip.strip('[]').lower()
    try:
        return ipaddress.ip_address(bare).compressed
    except ValueError:
        if not bare or ':' in bare or not bare.strip('0123456789.'):
            raise ValueError(f'Invalid ip {ip}') from None
        return bare


def parse_add(text):
    """The device an ``add`` argument describes, maybe without a region; ValueError if another part
    is missing."""
    try:
        found = _parse(text)
    except ValueError as e:
        raise ValueError(f'Invalid add value: {text}: {e}') from e
    if 'id' in found or not all(k in found for k in ('zone', 'ip', 'port', 'device')) or \
            ('replication_ip' in found) != ('replication_port' in found):
        raise ValueError(f'Invalid add value: {text}')
    check_device_name(found['device'])
    found.setdefault('replication_ip', found['ip'])
    found.setdefault('replication_port', found['port'])
    found.setdefault('meta', '')
    return found


def check_device_name(name):
    """ValueError unless ``name`` can be a directory below the devices' root."""
    if not name or '/' in name or name in ('.', '..') or name.strip() != name:
        raise ValueError(f'Invalid device name: {name!r}')


def parse_search(text):
    """What to look for, from a search value; ValueError if it says nothing."""
    try:
        found = _parse(text)
    except ValueError as e:
        raise ValueError(f'Invalid search value: {text}: {e}') from e
    if not found:
        raise ValueError(f'Invalid search value: {text}')
    meta = found.get('meta', '')
    if len(meta) > 1 and meta[0] in '"\'' and meta[-1] == meta[0]:
        found['meta'] = meta[1:-1]          # as `describe` shows it
    return found


def parse_change(text):
    """The new values of a ``set_info`` argument; ValueError if it says nothing it may change."""
    found = parse_search(text) | ({'meta': text.partition('_')[2]} if '_' in text else {})
    if any(k in found for k in ('id', 'region', 'zone')):
        raise ValueError(f'Invalid change value: {text}')
    return found


def matches(dev, wanted):
    """Whether a device fits what was searched; ``meta`` fits by substring."""
    return all(wanted['meta'] in dev.get('meta', '') if key == 'meta' else dev.get(key) == value
               for key, value in wanted.items())


def bracket(ip):
    """An address as it goes before a port."""
    return f'[{ip}]' if ':' in ip else ip


def describe(dev):
    """A device in one word."""
    return (f"d{dev['id']}r{dev['region']}z{dev['zone']}-{bracket(dev['ip'])}:{dev['port']}"
            f"R{bracket(dev['replication_ip'])}:{dev['replication_port']}/{dev['device']}"
            f"_\"{dev.get('meta', '')}\"")
