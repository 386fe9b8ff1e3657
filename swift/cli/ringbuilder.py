# SPDX-License-Identifier: Apache-2.0
"""swift-ring-builder: make and change rings.

    swift-ring-builder object.builder create 10 3 1
    swift-ring-builder object.builder add r1z1-127.0.0.1:6200/sdb1 100
    swift-ring-builder object.builder rebalance --seed 1

Exit status 0: done; 1: done or not needed, with a warning; 2: refused, nothing was changed.
"""

import math
import os
import re
import shutil
import sys
import time
from datetime import timedelta

from swift.common.ring import RingBuilder, RingData, devices
from swift.common.ring.builder import MAX_BALANCE, RingBuilderError
from swift.common.ring.format import RingFileError
from swift.operations import part_power, ring_options, ring_tables

OK, WARNING, ERROR = 0, 1, 2
SEARCH_HELP = '''A search value has the form
    d<id>r<region>z<zone>-<ip>:<port>R<r_ip>:<r_port>/<device>_<meta>
with at least one of its parts, e.g. d74, z1, z1-1.2.3.4:5678, /sdb1, _"text", [::1]:6200.
'''
class Refused(Exception):
    """The request cannot be done; the builder stays as it is."""


class Files:
    """A builder file, its ring file and their backups; finding and showing devices."""

    def __init__(self, builder_file):
        if builder_file.endswith('.ring.gz'):
            self.ring_file = builder_file
            builder_file = builder_file.removesuffix('.ring.gz') + '.builder'
            print(f'Note: the builder file is {builder_file}')
        else:
            self.ring_file = builder_file.removesuffix('.builder') + '.ring.gz'
        self.file = builder_file
        self.backups = os.path.join(os.path.dirname(os.path.abspath(builder_file)), 'backups')
        self._builder = None

    @property
    def builder(self):
        if self._builder is None:
            try:
                self._builder = RingBuilder.load(self.file)
            except FileNotFoundError:
                raise Refused(f'Ring Builder file does not exist: {self.file}') from None
            except OSError as e:
                raise Refused(f'{self.file}: {e.strerror}') from None
        return self._builder

    def save(self):
        self.builder.save(self.file)

    def backup(self, path):
        """Keep a copy of a file below backups/, named by the time."""
        os.makedirs(self.backups, exist_ok=True)
        shutil.copy2(path, os.path.join(self.backups,
                                        f'{int(time.time())}.{os.path.basename(path)}'))

    # -- choosing devices ----------------------------------------------------
    def matching(self, wanted_list):
        """Devices that fit any of the searches."""
        return [d for d in self.builder.all_devs()
                if any(devices.matches(d, w) for w in wanted_list)]

    def find(self, wanted_list):
        """Devices that fit any of the searches; Refused when there is none."""
        found = self.matching(wanted_list)
        if not found:
            raise Refused('Search value matched 0 devices.\n'
                          'The on-disk ring builder is unchanged.')
        return found

    def confirm(self, found, question, yes):
        """Ask before a search that matches several devices changes them all."""
        if len(found) < 2:
            return
        print('Matched more than one device:')
        for dev in found:
            print('    ' + devices.describe(dev))
        if yes:
            return
        try:
            answer = input(f'{question} (y/N) ')
        except EOFError:
            answer = ''
        if answer.strip().lower() not in ('y', 'yes'):
            raise Refused('Aborting device modifications')

    def searches(self, args):
        """Searches from options or from the positional values."""
        wanted = {k: getattr(args, k) for k in devices.KEYS if getattr(args, k, None) is not None}
        if wanted:
            return [_clean_ips(wanted)]
        if not args.values:
            raise Refused(f'{args.command}: a search value is needed.\n{SEARCH_HELP}')
        return [devices.parse_search(v) for v in args.values]


class Tool(Files):
    """One run of the program: the commands on a builder file."""

    def show(self, args):
        """Show the ring and its devices."""
        b = self.builder
        print(f'{self.file}, build version {b.version}, id {b.id or "(not assigned)"}')
        devs = b.all_devs()
        regions = len({d['region'] for d in devs})
        zones = len({(d['region'], d['zone']) for d in devs})
        print(f'{b.parts} partitions, {b.replicas:.6f} replicas, {regions} regions, {zones} '
              f'zones, {len(devs)} devices, {b.dev_id_bytes}-byte IDs, {b.get_balance():.2f} '
              f'balance, {b.dispersion:.2f} dispersion')
        left = timedelta(seconds=b.min_part_seconds_left)
        print('The minimum number of hours before a partition can be reassigned is '
              f'{b.min_part_hours} ({left} remaining)')
        print(f'The overload factor is {b.overload * 100:.2f}% ({b.overload:.6f})')
        print(self.ring_state())
        if b.next_part_power:
            print(part_power.advice(b))
        self.tell(ring_tables.overview(b))
        return OK

    @staticmethod
    def tell(lines):
        print('\n'.join(lines))

    def ring_state(self):
        """Whether the ring file is what the builder would write."""
        try:
            ring = RingData.load(self.ring_file)
        except FileNotFoundError:
            return f'Ring file {self.ring_file} not found, probably it hasn\'t been written yet'
        except (RingFileError, OSError) as e:
            return f'Ring file {self.ring_file} is invalid: {e}'
        if ring.version is None or ring.version == self.builder.version:
            return f'Ring file {self.ring_file} is up-to-date'
        return f'Ring file {self.ring_file} is obsolete'

    def create(self, args):
        """create <part_power> <replicas> <min_part_hours>"""
        try:
            power, replicas, hours = int(args.values[0]), float(args.values[1]), \
                int(args.values[2])
        except (IndexError, ValueError):
            raise Refused('create needs <part_power> <replicas> <min_part_hours>, numbers '
                          'all') from None
        if power > 32:
            raise Refused('part_power must be at most 32')
        self._builder = RingBuilder(power, replicas, hours)
        if os.path.exists(self.file):
            self.backup(self.file)
        self.save()
        self.backup(self.file)
        return OK

    @staticmethod
    def _by_options(args):
        return any(getattr(args, k, None) is not None for k in devices.KEYS)

    def add(self, args):
        """add [r<region>]z<zone>-<ip>:<port>[R<r_ip>:<r_port>]/<device>_<meta> <weight> ..."""
        part_power.refuse_while_growing(self.builder, 'adding devices')
        new = []
        if args.values:
            if len(args.values) % 2 or self._by_options(args):
                raise Refused('add needs pairs of device and weight, or options')
            for spec, weight in zip(args.values[::2], args.values[1::2], strict=True):
                new.append(dict(devices.parse_add(spec), weight=_weight(weight)))
                if 'region' not in new[-1]:
                    new[-1]['region'] = 1
                    print(f'WARNING: {spec} names no region: it goes to region 1', file=sys.stderr)
        else:
            given = {k: getattr(args, k) for k in devices.KEYS
                     if getattr(args, k, None) is not None}
            missing = [k for k in ('region', 'zone', 'ip', 'port', 'device', 'weight')
                       if k not in given]
            if missing:
                raise Refused('add: missing ' + ', '.join('--' + m for m in missing))
            _clean_ips(given)
            given['weight'] = _weight(given['weight'])
            devices.check_device_name(given['device'])
            new.append(given)
        for dev in new:
            for old in self.builder.live_devs():
                if (old['ip'], old['port'], old['device']) == \
                        (dev['ip'], dev['port'], dev['device']):
                    raise Refused(f"Device {old['id']} already uses {dev['ip']}:{dev['port']}/"
                                  f"{dev['device']}.\nThe on-disk ring builder is unchanged.")
            dev_id = self.builder.add_dev(dev)
            print(f"Device {devices.describe(dev)} with {dev['weight']} weight got id {dev_id}")
        self.save()
        return OK

    def remove(self, args):
        """remove <search-value> ..."""
        part_power.refuse_while_growing(self.builder, 'removing devices')
        found = self.find(self.searches(args))
        self.confirm(found, f'Are you sure you want to remove these {len(found)} devices?',
                     args.yes)
        for dev in found:
            self.builder.remove_dev(dev['id'])
            print(f'{devices.describe(dev)} marked for removal and will be removed next '
                  'rebalance.')
        self.save()
        return OK

    def _pairs(self, args, what):
        """``(devices, new value)`` of the set_* commands."""
        values = list(args.values)
        if self._by_options(args):
            if len(values) != 1:
                raise Refused(f'{args.command}: one new {what} is needed')
            return [(self.find(self.searches(args)), values[0])]
        if not values or len(values) % 2:
            raise Refused(f'{args.command} needs pairs of search value and {what}.\n'
                          f'{SEARCH_HELP}')
        return [(self.find([devices.parse_search(s)]), v)
                for s, v in zip(values[::2], values[1::2], strict=True)]

    def set_weight(self, args):
        """set_weight <search-value> <new_weight> ..."""
        for found, text in self._pairs(args, 'weight'):
            weight = _weight(text)
            self.confirm(found, f'Are you sure you want to update the weight to {weight:.2f} for '
                         f'these {len(found)} devices?', args.yes)
            for dev in found:
                self.builder.set_dev_weight(dev['id'], weight)
                print(f"{devices.describe(dev)} weight set to {dev['weight']}")
        self.save()
        return OK

    def _set_place(self, args, key):
        for found, text in self._pairs(args, key):
            if not text.isdigit():
                raise Refused(f'{key} must be a number (was {text!r})')
            self.confirm(found, f'Are you sure you want to update the {key} to {text} for these '
                         f'{len(found)} devices?', args.yes)
            for dev in found:
                self.builder.set_dev_place(dev['id'], key, int(text))
                print(f'{devices.describe(dev)} {key} set to {text}')
        self.save()
        return OK

    def set_region(self, args):
        """set_region <search-value> <region> ..."""
        return self._set_place(args, 'region')

    def set_zone(self, args):
        """set_zone <search-value> <zone> ..."""
        return self._set_place(args, 'zone')

    def set_info(self, args):
        """set_info <search-value> <ip>:<port>[R<r_ip>:<r_port>]/<device>_<meta> ..."""
        change = {k: getattr(args, 'change_' + k) for k in
                  ('ip', 'port', 'replication_ip', 'replication_port', 'device', 'meta')
                  if getattr(args, 'change_' + k) is not None}
        if change:
            pairs = [(self.find(self.searches(args)), _clean_ips(change))]
        else:
            pairs = [(f, devices.parse_change(t)) for f, t in self._pairs(args, 'info')]
        for found, new in pairs:
            self.confirm(found, f'Are you sure you want to update the info for these '
                         f'{len(found)} devices?', args.yes)
            if 'device' in new:
                devices.check_device_name(new['device'])
            for dev in found:
                old = devices.describe(dev)
                now = dict(dev, **new)
                for other in self.builder.live_devs():
                    if other['id'] != dev['id'] and all(
                            other[k] == now[k] for k in ('ip', 'port', 'device')):
                        raise Refused(f"Device {other['id']} already uses these values.\n"
                                      'The on-disk ring builder is unchanged.')
                dev.update(new)
                print(f'Device {old} is now {devices.describe(dev)}')
        self.save()
        return OK

    def search(self, args):
        """search <search-value>"""
        found = self.matching(self.searches(args))
        if not found:
            raise Refused('No matching devices found')
        self.tell(ring_tables.found(self.builder, found))
        return OK

    def list_parts(self, args):
        """list_parts <search-value> ..."""
        if not self.builder.ever_rebalanced:
            raise Refused(f'Specified builder file "{self.file}" is not rebalanced yet. Please '
                          'rebalance first.')
        counts = self.builder.parts_on([d['id'] for d in self.matching(self.searches(args))])
        if not counts:
            raise Refused('No matching devices found')
        print('Partition   Matches')
        for part, count in counts:
            print(f'{part:9d}   {count:7d}')
        return OK

    def rebalance(self, args):
        """rebalance [-f] [-s SEED] [-d] [--format-version V]"""
        b = self.builder
        part_power.refuse_while_growing(b, 'rebalancing')
        left = b.min_part_seconds_left
        seed = args.seed if args.seed is not None else (args.values or [None])[0]
        old_balance, old_dispersion, changed = b.get_balance(), b.dispersion, b.devs_changed
        first = not b.ever_rebalanced
        if not args.force and not changed and left and not first and \
                b.parts * b.replicas == sum(map(len, b._replica2part2dev)):
            print('No partitions could be reassigned.')
            print(self.not_before(left))
            return WARNING
        parts, balance, removed = b.rebalance(seed=seed)
        if not (parts or removed or args.force):
            print('No partitions could be reassigned.')
            print(self.not_before(left) if left else 'There is no need to do so at this time')
            return WARNING
        if not (args.force or removed or changed or first) and balance != MAX_BALANCE and \
                abs(old_balance - balance) < 1 and abs(old_dispersion - b.dispersion) < 1:
            print('Cowardly refusing to save rebalance as it did not change at least 1%.')
            return WARNING
        b.validate()
        print(f'Reassigned {parts} ({100.0 * parts / b.parts:.2f}%) partitions. Balance is now '
              f'{balance:.2f}.  Dispersion is now {b.dispersion:.2f}')
        if args.debug:
            self.tell(ring_tables.overview(b))
        status = OK
        if b.dispersion > 0:
            print(f'NOTE: Dispersion of {b.dispersion:.6f}: some replicas sit closer together than '
                  'the devices would permit; an overload of '
                  f'{100 * b.get_required_overload():.6f}% would spread them.')
            status = WARNING
        elif balance > 5 and balance / 100.0 > b.overload:
            print(f'NOTE: Balance of {balance:.2f} indicates you should push this ring, wait at '
                  f'least {b.min_part_hours} hours, and rebalance/repush.')
            status = WARNING
        self.save_all(args.format_version)
        return status

    def not_before(self, left):
        """Why nothing moves yet."""
        return ('The time between rebalances must be at least min_part_hours: '
                f'{self.builder.min_part_hours} hours ({timedelta(seconds=left)} remaining)')

    def save_all(self, format_version):
        """Write builder and ring, each with a copy below backups/."""
        ring = self.builder.get_ring()
        if ring.dev_id_bytes > 2 and format_version == 1:
            raise Refused('more than 65535 device ids need --format-version 2')
        self.save()
        ring.save(self.ring_file, format_version)
        self.backup(self.file)
        self.backup(self.ring_file)

    def write_ring(self, args):
        """write_ring [--format-version V] [--dev-id-bytes N]"""
        ring = self.builder.get_ring()
        if not any(ring.devs):
            raise Refused('There is nothing to write: the builder has no devices')
        if not self.builder.ever_rebalanced:
            print('WARNING: Writing a ring with no partition assignments but with devices; did '
                  'you forget to run "rebalance"?', file=sys.stderr)
        if args.dev_id_bytes is not None:
            ring.set_id_bytes(args.dev_id_bytes)
        ring.save(self.ring_file, args.format_version)
        self.backup(self.ring_file)
        return OK

    def write_builder(self, args):
        """write_builder [min_part_hours]: a builder made from a ring file; ages are lost."""
        if os.path.exists(self.file):
            raise Refused(f'Cowardly refusing to overwrite existing Ring Builder file: '
                          f'{self.file}')
        try:
            ring = RingData.load(self.ring_file)
        except OSError as e:
            raise Refused(f'{self.ring_file}: {e.strerror}') from None
        hours = int(args.values[0]) if args.values else 24
        b = RingBuilder(32 - ring.part_shift, max(1.0, ring.replica_count), hours)
        b.devs, b.version, b.dev_id_bytes = ring.devs, ring.version or 1, ring.dev_id_bytes
        b._replica2part2dev = ring.table or None
        b._count_parts()
        b.pretend_min_part_hours_passed()
        b.update_dispersion()
        self._builder = b
        self.save()
        return OK

    def dispersion(self, args):
        """dispersion [<search_filter>] [-r] [-v]"""
        b = self.builder
        if not b.ever_rebalanced:
            raise Refused(f'Specified builder file "{self.file}" is not rebalanced yet. Please '
                          'rebalance first.')
        try:
            pattern = re.compile(args.values[0] if args.values else '.*')
        except re.error as e:
            raise Refused(f'{args.values[0]!r} is no regular expression: {e}') from None
        graph = b.update_dispersion()
        rows = [(name, row) for name, row in
                ((ring_tables.tier_name(b, key), row) for key, row in sorted(graph.items()))
                if pattern.search(name)]
        print(f'Dispersion is {b.dispersion:.6f}, Balance is {b.get_balance():.6f}, '
              f'Overload is {b.overload * 100:0.2f}%')
        print(f'Required overload is {b.get_required_overload() * 100:.6f}%')
        worst, name = max(((100 * row[0] / row[1], name) for name, row in rows if row[0]),
                          key=lambda found: found[0], default=(0, None))
        if worst:
            print(f'Worst tier is {worst:.6f} ({name})')
        if args.recalculate:
            self.save()
        if args.verbose:
            self.tell(ring_tables.tiers(rows, len(b._replica2part2dev)))
        return WARNING if worst else OK

    def validate(self, args):
        """validate"""
        self.builder.validate()
        return OK

    def version(self, args):
        """version: what the ring file is"""
        try:
            ring = RingData.load(self.ring_file)
        except OSError as e:
            raise Refused(f'{self.ring_file}: {e.strerror}') from None
        print(f'{self.ring_file}: Serialization version: {ring.format_version} '
              f'({ring.dev_id_bytes}-byte IDs), build version: {ring.version}')
        return OK

    def pretend_min_part_hours_passed(self, args):
        """pretend_min_part_hours_passed"""
        self.builder.pretend_min_part_hours_passed()
        self.save()
        return OK

    def set_min_part_hours(self, args):
        """set_min_part_hours <hours>"""
        if not args.values or not args.values[0].isdigit():
            raise Refused('set_min_part_hours needs a number of hours')
        self.builder.min_part_hours = int(args.values[0])
        print('The minimum number of hours before a partition can be reassigned is now set to '
              f'{args.values[0]}')
        self.save()
        return OK

    def set_replicas(self, args):
        """set_replicas <replicas>"""
        try:
            replicas = float(args.values[0])
        except (IndexError, ValueError):
            raise Refused('set_replicas needs a number') from None
        self.builder.set_replicas(replicas)
        print(f'The replica count is now {replicas:.6f}.\n'
              'The change will take effect after the next rebalance.')
        self.save()
        return OK

    def set_overload(self, args):
        """set_overload <overload>[%]"""
        text = args.values[0] if args.values else ''
        try:
            overload = float(text.rstrip('%'))
        except ValueError:
            raise Refused(f'Invalid overload value: {text!r}') from None
        if text.endswith('%'):
            overload *= 0.01
        self.builder.set_overload(overload)
        status = OK
        if overload > 1 and not text.endswith('%'):
            print(f'!?! Warning overload is greater than 100% !?!\n'
                  f'Did you mean {overload}%?')
            status = WARNING
        print(f'The overload factor is now {overload * 100:.2f}% ({overload:.6f})\n'
              'The change will take effect after the next rebalance.')
        self.save()
        return status


def _clean_ips(values):
    """A device's values, or a search's, with addresses as rings have them."""
    for key in ('ip', 'replication_ip'):
        if key in values:
            values[key] = devices.clean_ip(values[key])
    return values


def _weight(text):
    try:
        weight = float(text)
    except ValueError:
        raise Refused(f'weight must be a number (was {text!r})') from None
    if not (weight >= 0 and math.isfinite(weight)):
        raise Refused(f'weight must not be negative (was {text})')
    return weight


COMMANDS = ('add', 'create', 'dispersion', 'list_parts', 'pretend_min_part_hours_passed',
            'rebalance', 'remove', 'search', 'set_info', 'set_min_part_hours', 'set_overload',
            'set_region', 'set_replicas', 'set_weight', 'set_zone', 'validate', 'version',
            'write_builder', 'write_ring')


def usage():
    lines = ['swift-ring-builder <builder_file> [<command> ...]', '']
    lines += [f'    {(getattr(Tool, name).__doc__ or name).strip()}' for name in COMMANDS]
    lines += [f'    {name}' for name in part_power.STEPS]
    return '\n'.join([*lines, '', SEARCH_HELP,
                      'Exit codes: 0 = done, 1 = done with warnings, 2 = error'])


def run(argv):
    """Run one command; returns the exit status."""
    if not argv or argv[0] in ('-h', '--help'):
        print(usage())
        return OK
    try:
        args = ring_options.parse(argv)
    except SystemExit as e:
        return e.code
    if args.command not in (*COMMANDS, *part_power.STEPS, 'show'):
        print(f'Unknown command: {args.command}')
        return ERROR
    try:
        if args.command in part_power.STEPS:
            print(part_power.step(args.builder_file, args.command))
            return OK
        return getattr(Tool(args.builder_file), args.command)(args)
    except BrokenPipeError:                 # as of `list_parts d0 | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Refused, RingBuilderError, RingFileError, ValueError) as e:
        print(e)
    except OSError as e:
        print(f'{args.builder_file}: {e}')
    return ERROR


def main():
    """The swift-ring-builder program."""
    sys.exit(run(sys.argv[1:]))


if __name__ == '__main__':
    main()
