# SPDX-License-Identifier: Apache-2.0
"""Which fragments of an erasure coded object's directory count, and how they hash."""
import os
import time
from hashlib import md5

import pytest

from swift.common.timestamp import Timestamp
from swift.obj.ec_hashes import FragmentHasher
from swift.obj.ec_ondisk import choose_fragment, fragment_name, parse_fragment

T1, T2, T3 = (f"000000000{n}.00000" for n in (1, 2, 3))
UNIQUE = 6


def chosen(names, *args):
    found = choose_fragment(names, UNIQUE, *args)
    return found.data and found.data.name, found.ts and found.ts.name


def obsolete(names):
    return {info.name for info in choose_fragment(names, UNIQUE).obsolete}


@pytest.mark.parametrize("name", [
    f"{T1}.data", f"{T1}#.data", f"{T1}#-1.data", f"{T1}#6.data", f"{T1}#x#d.data", "#1.data",
    f"{T1}#1#d.meta.x", "hashes.pkl", ""])
def test_what_is_no_fragment(name):
    assert parse_fragment(name, UNIQUE) is None


def test_names():
    assert fragment_name(Timestamp(T1), 3) == f"{T1}#3.data"
    assert fragment_name(Timestamp(T1), 3, durable=True) == f"{T1}#3#d.data"
    info = parse_fragment(f"{T1}#3#d.data", UNIQUE)
    assert (info.timestamp.internal, info.frag_index, info.durable) == (T1, 3, True)


@pytest.mark.parametrize("names, data, ts", [
    ([f"{T1}#2#d.data"], f"{T1}#2#d.data", None),
    ([f"{T1}#2.data"], None, None),
    ([f"{T1}#2.data", f"{T1}.durable"], f"{T1}#2.data", None),
    ([f"{T1}#2#d.data", f"{T2}#3.data"], f"{T1}#2#d.data", None),
    ([f"{T1}#2#d.data", f"{T2}#3#d.data"], f"{T2}#3#d.data", None),
    ([f"{T1}#2.data", f"{T1}#4#d.data"], f"{T1}#4#d.data", None),
    ([f"{T1}#2#d.data", f"{T2}.ts"], None, f"{T2}.ts"),
    ([f"{T2}#2#d.data", f"{T1}.ts"], f"{T2}#2#d.data", None),
    ([f"{T2}#2.data", f"{T1}.ts"], None, f"{T1}.ts")])
def test_only_what_is_durable_counts(names, data, ts):
    assert chosen(names) == chosen(names[::-1]) == (data, ts)


def test_preferences_reach_what_is_not_durable():
    names = [f"{T1}#0#d.data", f"{T1}#1#d.data", f"{T2}#3.data", f"{T2}#4.data"]
    t1, t2, t3 = (Timestamp(t) for t in (T1, T2, T3))
    assert chosen(names, None, [])[0] == f"{T2}#4.data"
    assert chosen(names, None, [(t1, frozenset())])[0] == f"{T1}#1#d.data"
    assert chosen(names, None, [(t1, {1})])[0] == f"{T1}#0#d.data"
    assert chosen(names, None, [(t1, {0, 1}), (t2, {4})])[0] == f"{T2}#3.data"
    assert chosen(names, None, [(t2, {3, 4})])[0] == f"{T1}#1#d.data"
    assert chosen(names, None, [(t1, {0, 1}), (t2, {3, 4})])[0] is None
    assert chosen(names, None, [(t3, frozenset())])[0] == f"{T2}#4.data"
    assert chosen(names, 0)[0] == f"{T1}#0#d.data"
    assert chosen(names, 3)[0] is None


def test_what_may_go():
    assert obsolete([f"{T1}#2#d.data", f"{T2}#3.data"]) == set()
    assert obsolete([f"{T1}#2#d.data", f"{T2}#3#d.data"]) == {f"{T1}#2#d.data"}
    assert obsolete([f"{T1}#2#d.data", f"{T1}.meta", f"{T2}#3#d.data", f"{T3}.meta"]) == {
        f"{T1}#2#d.data", f"{T1}.meta"}
    assert obsolete([f"{T1}#2#d.data", f"{T2}.meta", f"{T3}#3.data"]) == set()
    assert obsolete([f"{T1}.durable"]) == {f"{T1}.durable"}
    assert obsolete([f"{T1}#2.data", f"{T2}.ts", f"{T1}.ts"]) == {f"{T1}#2.data", f"{T1}.ts"}


def directory(tmp_path, names, name_hash="0123456789abcdef" * 2):
    path = tmp_path / "abc" / name_hash
    path.mkdir(parents=True)
    for name in names:
        (path / name).touch()
    return path


def digest(*texts):
    return md5("".join(texts).encode(), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("names, hashes", [
    ([f"{T1}#2#d.data"], {None: [f"{T1}.durable"], 2: [T1]}),
    ([f"{T1}#2.data", f"{T1}.durable"], {None: [f"{T1}.durable"], 2: [T1]}),
    ([f"{T1}#2.data"], {2: [T1]}),
    ([f"{T1}.ts"], {None: [f"{T1}.ts"]}),
    ([f"{T1}#2#d.data", f"{T2}.meta"], {None: [f"{T2}.meta", f"{T1}.durable"], 2: [T1]}),
    ([f"{T1}#2#d.data", f"{T1}#4#d.data", f"{T2}#2.data"],
     {None: [f"{T1}.durable"], 2: [T2, T1], 4: [T1]})])
def test_hashes_are_those_of_real_swift(tmp_path, names, hashes):
    directory(tmp_path, names)
    hasher = FragmentHasher(UNIQUE, time.time(), 0)
    assert hasher(str(tmp_path / "abc")) == {
        index: digest(*texts) for index, texts in hashes.items()}


def test_old_strays_go_once_nobody_can_be_writing_them(tmp_path):
    path = directory(tmp_path, [f"{T1}#2.data"])
    assert FragmentHasher(UNIQUE, 10, 60)(str(tmp_path / "abc")) == {2: digest(T1)}
    os.utime(path / f"{T1}#2.data", (1, 1))
    assert FragmentHasher(UNIQUE, 10, 60)(str(tmp_path / "abc")) is None
    assert not path.exists()
