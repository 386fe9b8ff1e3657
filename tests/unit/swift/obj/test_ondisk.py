# SPDX-License-Identifier: Apache-2.0
import os
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swift.common import safe_pickle
from swift.common.exceptions import DiskFileBadMetadata
from swift.common.timestamp import Timestamp
from swift.obj import hashes, ondisk

OLD, MID, NEW = "1600000001.00000", "1600000002.00000", "1600000003.00000"


def chosen(*names):
    found = ondisk.choose(list(names))
    return tuple(getattr(found, kind).name if getattr(found, kind) else None
                 for kind in ("data", "meta", "ts")), \
        sorted(info.name for info in found.obsolete)


@pytest.mark.parametrize("names, state, obsolete", [
    ([f"{OLD}.data"], (f"{OLD}.data", None, None), []),
    ([f"{OLD}.data", f"{NEW}.data"], (f"{NEW}.data", None, None), [f"{OLD}.data"]),
    ([f"{OLD}.data", f"{NEW}.ts"], (None, None, f"{NEW}.ts"), [f"{OLD}.data"]),
    ([f"{OLD}.ts", f"{NEW}.data"], (f"{NEW}.data", None, None), [f"{OLD}.ts"]),
    ([f"{NEW}.data", f"{NEW}.ts"], (None, None, f"{NEW}.ts"), [f"{NEW}.data"]),
    ([f"{OLD}.data", f"{MID}.meta", f"{NEW}.meta"],
     (f"{OLD}.data", f"{NEW}.meta", None), [f"{MID}.meta"]),
    ([f"{MID}.data", f"{OLD}.meta"], (f"{MID}.data", None, None), [f"{OLD}.meta"]),
    ([f"{OLD}.data", f"{MID}.meta", f"{NEW}.ts"],
     (None, None, f"{NEW}.ts"), [f"{OLD}.data", f"{MID}.meta"]),
    (["junk", ".1.data.Ab3dEf", f"{OLD}.data"], (f"{OLD}.data", None, None), []),
])
def test_which_files_count(names, state, obsolete):
    assert chosen(*names) == (state, sorted(obsolete))


def test_an_older_meta_with_a_newer_content_type_is_kept():
    typed = f"{MID}+0.meta"
    found = ondisk.choose([f"{OLD}.data", typed, f"{NEW}.meta"])
    assert found.meta.name == f"{NEW}.meta" and found.ctype.name == typed and not found.obsolete


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([".data", ".ts", ".meta"])),
                unique=True))
def test_the_order_of_names_does_not_matter(files):
    names = [f"160000000{tick}.00000{ext}" for tick, ext in files]
    assert chosen(*names) == chosen(*reversed(names))


def test_metadata_round_trips_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(ondisk, "XATTR_SIZE", 254)          # as the first Swifts wrote it
    path = tmp_path / "f"
    path.write_bytes(b"")
    metadata = {"X-Object-Meta-\u00e4": "\u00fc" * 300, "name": "/a/c/o"}
    with open(path, "r+b") as open_file:
        ondisk.write_metadata(open_file.fileno(), metadata)
    assert len(os.listxattr(path)) > 3
    assert ondisk.read_metadata(str(path)) == metadata


def test_damaged_metadata_is_bad_metadata(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"")
    with open(path, "r+b") as open_file:
        ondisk.write_metadata(open_file.fileno(), {"name": "/a/c/o"})
    data = os.getxattr(path, ondisk.METADATA_KEY)
    os.setxattr(path, ondisk.METADATA_KEY, data.replace(b"/a/c/o", b"/a/c/p"))
    with pytest.raises(DiskFileBadMetadata):
        ondisk.read_metadata(str(path))


@given(st.binary(max_size=60))
def test_any_bytes_are_metadata_or_bad_metadata(data):
    try:
        assert isinstance(ondisk.decode_metadata(data), dict)
    except DiskFileBadMetadata:
        pass


def test_bytes_as_python_3_pickles_them_are_read():
    value = {b"name": b"/a/c/\xc3\xb6", b"empty": b""}
    assert safe_pickle.loads(pickle.dumps(value, 2), encoding="bytes") == value


def make(partition, suffix, name_hash, *names):
    directory = partition / suffix / name_hash
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).write_bytes(b"")


def test_suffix_hashes_are_those_of_swift(tmp_path):
    """The figures come from OpenStack Swift 2.38 over the same names."""
    partition = tmp_path / "1"
    make(partition, "2fb", "521f5474157c42545006677de25622fb",
         "1600000001.00000.data", "1600000005.00000.meta")
    make(partition, "baf", "cb76db1debc43ac989e500369a70ebaf", "1600000000.12345.data")
    make(partition, "bda", "709dcfe435c73a69d2441eceda25bbda", "1600000001.00000.data")
    make(partition, "c8d", "3f757ee3acf93d9f8287e311cbd1cc8d", "1600000001.00000.data",
         "1600000005.00000-186a0.meta", "1600000006.00000.meta")
    _, found = hashes.get_hashes(str(partition))
    assert found == {"2fb": "3966ddf425bf262af098e2e70ed2618d",
                     "baf": "2ab46145061e4e00899765821be28301",
                     "bda": "24453837f95d525ca5102737e8ea0921",
                     "c8d": "bf080b438990e18075512c65956448d0"}


def test_an_invalidated_suffix_is_hashed_anew(tmp_path):
    partition = tmp_path / "1"
    make(partition, "baf", "cb76db1debc43ac989e500369a70ebaf", f"{OLD}.data")
    _, before = hashes.get_hashes(str(partition))
    (partition / "baf/cb76db1debc43ac989e500369a70ebaf" / f"{NEW}.meta").write_bytes(b"")
    assert hashes.get_hashes(str(partition)) == (0, before)      # nobody said so
    hashes.invalidate(str(partition / "baf"))
    hashed, after = hashes.get_hashes(str(partition))
    assert hashed == 1 and after != before
    assert (partition / hashes.INVALIDATIONS_FILE).read_bytes() == b""


def test_a_crash_brings_back_no_stale_hash(tmp_path, monkeypatch):
    """What is computed is not fsynced; what was fsynced last says that it is to be computed."""
    partition = tmp_path / "1"
    make(partition, "baf", "cb76db1debc43ac989e500369a70ebaf", f"{OLD}.data")
    hashes.get_hashes(str(partition))
    (partition / "baf/cb76db1debc43ac989e500369a70ebaf" / f"{NEW}.meta").write_bytes(b"")
    hashes.invalidate(str(partition / "baf"))
    durable_bytes, write = [], hashes.write_file

    def remember(path, data, lasting=True):
        write(path, data, lasting=lasting)
        if lasting:
            durable_bytes.append(data)
    monkeypatch.setattr(hashes, "write_file", remember)
    _, after = hashes.get_hashes(str(partition))
    (partition / hashes.HASH_FILE).write_bytes(durable_bytes[-1])
    assert hashes.get_hashes(str(partition)) == (1, after)


def test_old_tombstones_and_empty_directories_go(tmp_path):
    partition = tmp_path / "1"
    make(partition, "baf", "cb76db1debc43ac989e500369a70ebaf", f"{OLD}.ts")
    fresh = Timestamp(time.time()).internal + ".ts"
    make(partition, "bda", "709dcfe435c73a69d2441eceda25bbda", fresh)
    _, found = hashes.get_hashes(str(partition))
    assert list(found) == ["bda"] and not (partition / "baf").exists()


def test_broken_hashes_are_computed_anew(tmp_path):
    partition = tmp_path / "1"
    make(partition, "baf", "cb76db1debc43ac989e500369a70ebaf", f"{OLD}.data")
    _, good = hashes.get_hashes(str(partition))
    for junk in (b"", b"junk", pickle.dumps([1]), pickle.dumps({"baf": 7, "valid": True})):
        (partition / hashes.HASH_FILE).write_bytes(junk)
        assert hashes.get_hashes(str(partition))[1] == good


def test_metadata_is_written_as_swift_under_python_3_writes_it():
    """Values are the header's bytes taken for Latin-1, the name is UTF-8: seen on real disks."""
    stored = {b"X-Object-Meta-Foo": "b\xc3\xa4r".encode(), b"name": "/a/c/\xe4".encode()}
    metadata = {"X-Object-Meta-Foo": "b\xe4r", "name": "/a/c/\xe4"}
    assert pickle.loads(ondisk.encode_metadata(metadata), encoding="bytes") == stored
    assert ondisk.decode_metadata(pickle.dumps(stored, 2)) == metadata


def test_metadata_of_swift_under_python_2_is_read():
    data = (b"\x80\x02}(U\x11X-Object-Meta-FooU\x04b\xc3\xa4rU\x04nameU\x07/a/c/\xc3\xa4u.")
    assert ondisk.decode_metadata(data) == {"X-Object-Meta-Foo": "b\xe4r", "name": "/a/c/\xe4"}


def test_plain_metadata_fits_into_an_inode():
    """XFS takes 255 bytes there; OpenStack Swift under Python 3 reads it as any pickle."""
    metadata = {"X-Timestamp": "1234567890.12345", "Content-Type": "application/octet-stream",
                "ETag": "d41d8cd98f00b204e9800998ecf8427e", "Content-Length": "1234567890",
                "name": f"/AUTH_{'0' * 32}/photographs/2026/11/29/IMG_0042.jpeg"}
    data = ondisk.encode_metadata(metadata)
    assert len(data) < 256
    assert pickle.loads(data, encoding="bytes") == {
        key.encode(): value.encode() for key, value in metadata.items()}
    assert ondisk.decode_metadata(data) == metadata


@pytest.mark.parametrize("key", ["name", "X-Object-Meta-A"])
def test_other_metadata_says_how_its_text_is_spelled(key):
    """What OpenStack Swift takes for written under Python 2 it decodes otherwise."""
    data = ondisk.encode_metadata({key: "/a/\u00fc"})
    assert b"_codecs\nencode" in data[:32]
    assert ondisk.decode_metadata(data) == {key: "/a/\u00fc"}
