# SPDX-License-Identifier: Apache-2.0
"""Ring files on disk: what a ``.ring.gz`` holds and how it is laid out.

Two formats are understood. *v1* (written by default) is a gzip file of the magic ``R1NG``, a
version, a length-prefixed JSON header and one row of native-order ``uint16`` device ids for each
replica. *v2* is a gzip file of independently decompressible sections with an index at its end;
it exists for rings with more than 65535 device ids. Both are byte-compatible with Swift 2.38.
"""

import array
import hashlib
import json
import os
import struct
import sys
import tempfile
import zlib

MAGIC = b'R1NG'
NONE_DEV = {2: 0xffff, 4: 0xffffffff}
TYPE_CODE = {2: 'H', 4: 'I'}
# A fixed stamp in the gzip header, so that the same ring always gives the same bytes.
GZIP_MTIME = 1300507380
META, DEVS, TABLE = 'swift/ring/metadata', 'swift/ring/devices', 'swift/ring/assignments'
V2_TRAILER = 31             # bytes from the end of the file to the compressed index position


class RingFileError(ValueError):
    """The file is not a ring this code can read; the message says why."""


class RingData:
    """The contents of a ring file.

    ``devs`` is indexed by device id with ``None`` for holes; ``table`` has one array of device
    ids per replica, all of ``2 ** (32 - part_shift)`` entries but the last, which is shorter for
    a fractional replica count.
    """

    def __init__(self, table, devs, part_shift, *, version=None, next_part_power=None,
                 dev_id_bytes=2):
        self.table = table
        self.devs = devs
        self.part_shift = part_shift
        self.version = version
        self.next_part_power = next_part_power
        self.dev_id_bytes = dev_id_bytes
        self.format_version = 1
        for dev in devs:
            if dev is not None:
                dev.setdefault('replication_ip', dev['ip'])
                dev.setdefault('replication_port', dev['port'])

    def set_id_bytes(self, width):
        """Have the table's device ids take 2 or 4 bytes; RingFileError if they do not fit."""
        none = NONE_DEV[self.dev_id_bytes]
        if width == 2 and len(self.devs) > NONE_DEV[2]:
            raise RingFileError('these device ids do not fit into 2 bytes')
        self.table = [array.array(TYPE_CODE[width], (
            NONE_DEV[width] if dev_id == none else dev_id for dev_id in row))
            for row in self.table]
        self.dev_id_bytes = width

    @property
    def replica_count(self):
        """Replicas as a float: 2.5 when the last row covers half of the partitions."""
        if not self.table:
            return 0
        full = len(self.table[0])
        return len(self.table) - 1 + (len(self.table[-1]) / full if full else 0)

    @classmethod
    def load(cls, path):
        """Read ``path``; raises RingFileError for anything that is not a whole v1 or v2 ring."""
        with open(path, 'rb') as f:
            blob = f.read()
        try:
            data = zlib.decompress(blob, wbits=31)
        except zlib.error as e:
            raise RingFileError(f'{path}: not a gzip file: {e}') from e
        if data[:4] != MAGIC or len(data) < 6:
            raise RingFileError(f'{path}: no ring magic; rings older than format 1 must be '
                                'written anew by swift-ring-builder write_ring')
        version = struct.unpack_from('>H', data, 4)[0]
        try:
            if version == 1:
                ring = _read_v1(data)
            elif version == 2:
                ring = _read_v2(blob, data)
            else:
                raise RingFileError(f'{path}: ring format {version} is not supported')
        except (KeyError, TypeError, struct.error, ValueError, zlib.error) as e:
            raise RingFileError(f'{path}: damaged ring: {e!r}') from e
        ring.format_version = version
        return ring

    def save(self, path, format_version=1):
        """Write the ring so that a reader sees the old or the new file whole, never a part."""
        name = os.path.basename(path)
        blob = {1: _write_v1, 2: _write_v2}[format_version](self, name.removesuffix('.gz'))
        replace_file(path, blob)


def replace_file(path, blob, mode=0o644):
    """temp -> fsync -> rename -> fsync directory."""
    folder = os.path.dirname(os.path.abspath(path))
    fd, temp = tempfile.mkstemp(dir=folder, prefix='.' + os.path.basename(path))
    try:
        with os.fdopen(fd, 'wb') as f:
            f.write(blob)
            f.flush()
            os.fchmod(f.fileno(), mode)
            os.fsync(f.fileno())
        os.rename(temp, path)
    except BaseException:      # whatever ended it, no half file stays
        os.unlink(temp)
        raise
    dir_fd = os.open(folder, os.O_DIRECTORY)
    try:
        os.fsync(dir_fd)
    finally:
        os.close(dir_fd)


def _read_v1(data):
    length = struct.unpack_from('>I', data, 6)[0]
    at = 10 + length
    head = json.loads(data[10:at])
    parts = 1 << (32 - head['part_shift'])
    swap = head['byteorder'] != sys.byteorder
    rows = _rows(data[at:], 2, parts, swap)
    if len(rows) != head['replica_count']:
        raise RingFileError(f"{len(rows)} rows where {head['replica_count']} were promised")
    return RingData(rows, head['devs'], head['part_shift'], version=head.get('version'),
                    next_part_power=head.get('next_part_power'))


def _rows(raw, width, parts, swap):
    rows = []
    view = memoryview(raw)
    for at in range(0, len(raw), parts * width):
        row = array.array(TYPE_CODE[width])
        row.frombytes(view[at:at + parts * width])
        if swap:
            row.byteswap()
        rows.append(row)
    return rows


def _read_v2(blob, data):
    z = zlib.decompressobj(wbits=-15)
    # The last pieces are of fixed size: two stored numbers (18 bytes each, the second one at
    # -31) and the gzip end; a bare inflate from there yields where the index begins.
    tail = z.decompress(blob[-V2_TRAILER:])
    index = json.loads(_section(blob, struct.unpack('>Q', tail[:8])[0]))

    def read(name):
        start, _, _, _, method, digest = index[name]
        payload = _section(blob, start)
        framed = struct.pack('>Q', len(payload)) + payload
        if method not in ('md5', 'sha1', 'sha256', 'sha512'):
            raise RingFileError(f'section {name}: unknown checksum {method}')
        if hashlib.new(method, framed, usedforsecurity=False).hexdigest() != digest:
            raise RingFileError(f'section {name}: checksum does not match')
        return payload

    head = json.loads(read(META))
    width = head['dev_id_bytes']
    parts = 1 << (32 - head['part_shift'])
    rows = _rows(read(TABLE), width, parts, sys.byteorder == 'little')
    return RingData(rows, json.loads(read(DEVS)), head['part_shift'],
                    version=head.get('version'), next_part_power=head.get('next_part_power'),
                    dev_id_bytes=width)


def _section(blob, start):
    z = zlib.decompressobj(wbits=-15)
    head = z.decompress(blob[start:], 8)
    while len(head) < 8:
        more = z.decompress(z.unconsumed_tail, 8 - len(head))
        if not more:
            raise RingFileError('section ends early')
        head += more
    size = struct.unpack('>Q', head)[0]
    out = []
    while size:
        piece = z.decompress(z.unconsumed_tail, size)
        if not piece:
            raise RingFileError('section ends early')
        out.append(piece)
        size -= len(piece)
    return b''.join(out)


class _GzipWriter:
    """A gzip member made of stored and compressed stretches, each ended by a full flush."""

    def __init__(self, name):
        self.out = bytearray(struct.pack('<2sBBLBB', b'\x1f\x8b', 8, 8, GZIP_MTIME, 2, 255))
        self.out += name.encode('latin-1') + b'\0'
        self.crc = self.size = 0

    def _count(self, data):
        self.crc = zlib.crc32(data, self.crc)
        self.size += len(data)

    def stored(self, data):
        self._count(data)
        self.out += struct.pack('<BHH', 0, len(data), len(data) ^ 0xffff) + data
        self.out += b'\0\0\0\xff\xff'

    def compressed(self, *pieces, last=False):
        z = zlib.compressobj(9, zlib.DEFLATED, -15, zlib.DEF_MEM_LEVEL, 0)
        for data in pieces:
            self._count(data)
            self.out += z.compress(data)
        self.out += z.flush(zlib.Z_FINISH if last else zlib.Z_FULL_FLUSH)

    def end(self):
        return bytes(self.out) + struct.pack('<LL', self.crc, self.size & 0xffffffff)


def _dump(obj):
    return json.dumps(obj, sort_keys=True, ensure_ascii=True).encode('ascii')


def _public_devs(devs):
    """The device list as stored in rings, without what only the builder keeps."""
    keep = ('id', 'region', 'zone', 'ip', 'port', 'device', 'weight', 'meta',
            'replication_ip', 'replication_port')
    return [None if d is None else {k: d[k] for k in keep if k in d} for d in devs]


def _write_v1(ring, name):
    if ring.dev_id_bytes != 2:
        raise RingFileError('format 1 has room for 2-byte device ids only; use format 2')
    out = _GzipWriter(name)
    head = {'byteorder': sys.byteorder, 'devs': _public_devs(ring.devs),
            'part_shift': ring.part_shift, 'replica_count': len(ring.table)}
    if ring.version is not None:
        head['version'] = ring.version
    if ring.next_part_power is not None:
        head['next_part_power'] = ring.next_part_power
    text = _dump(head)
    out.stored(MAGIC + struct.pack('>H', 1))
    out.compressed(struct.pack('>I', len(text)), text,
                   *(row.tobytes() for row in ring.table), last=True)
    return out.end()


def _write_v2(ring, name):
    out = _GzipWriter(name)
    out.stored(MAGIC + struct.pack('>H', 2))
    index = {}

    def section(name, *pieces):
        where = [len(out.out), out.size]
        digest = hashlib.sha256()
        size = struct.pack('>Q', sum(map(len, pieces)))
        for piece in (size, *pieces):
            digest.update(piece)
        out.compressed(size, *pieces)
        if name:
            index[name] = where + [len(out.out), out.size, 'sha256', digest.hexdigest()]
        return where

    head = {'dev_id_bytes': ring.dev_id_bytes, 'part_shift': ring.part_shift,
            'replica_count': ring.replica_count}
    if ring.version is not None:
        head['version'] = ring.version
    if ring.next_part_power is not None:
        head['next_part_power'] = ring.next_part_power
    section(META, _dump(head))
    section(DEVS, _dump(_public_devs(ring.devs)))
    rows = []
    for row in ring.table:
        row = array.array(row.typecode, row)
        if sys.byteorder == 'little':
            row.byteswap()
        rows.append(row.tobytes())
    section(TABLE, *rows)
    compressed_at, plain_at = section(None, _dump(index))
    out.stored(struct.pack('>Q', plain_at))
    out.stored(struct.pack('>Q', compressed_at))
    out.out += b'\x01\0\0\xff\xff'
    return out.end()
