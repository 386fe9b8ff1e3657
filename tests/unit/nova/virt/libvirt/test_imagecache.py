# SPDX-License-Identifier: Apache-2.0
"""Base images: fetched once, checked wholly, kept while they are needed."""

import hashlib
import os
import threading
import time
import uuid

import pytest

from nova.exception import ImageServiceError, ImageUnacceptable
from nova.image.model import Image
from nova.virt.libvirt.files import Owner
from nova.virt.libvirt.imagecache import ImageCache, base_key

DATA = b"plain bytes" * 1000


def image(data=DATA, **changes):
    values = {"id": str(uuid.uuid4()), "size": len(data), "disk_format": "raw",
              "hash_algorithm": "sha512", "hash_value": hashlib.sha512(data).hexdigest(),
              "checksum": hashlib.md5(data).hexdigest()}
    return Image(**{**values, **changes})


class Source:
    def __init__(self, data=DATA, gate=None, error=None):
        self.data, self.gate, self.error, self.calls = data, gate, error, 0

    def download(self, image_id):
        self.calls += 1
        if self.gate is not None:
            assert self.gate.wait(10)
        yield self.data[:100]
        if self.error is not None:
            raise self.error
        yield self.data[100:]


@pytest.fixture
def cache(tmp_path):
    made = ImageCache(tmp_path / "_base", Owner(), 1 << 30)
    made.prepare()
    return made


def names(cache):
    return sorted(path.name for path in cache.directory.iterdir())


def test_fetched_once_and_again_after_a_restart(cache):
    source, one = Source(), image()
    verdict = cache.fetch(one, source)
    assert verdict.path.read_bytes() == DATA
    assert (verdict.format, verdict.virtual_size) == ("raw", len(DATA))
    assert ImageCache(cache.directory, Owner(), 1).fetch(one, source) == verdict
    # Another image of the same bytes is the same base.
    assert cache.fetch(image(), source) == verdict
    assert source.calls == 1
    assert oct(verdict.path.stat().st_mode & 0o777) == "0o440"
    assert oct(cache.directory.stat().st_mode & 0o777) == "0o710"


@pytest.mark.parametrize("change", [
    {"hash_value": "0" * 128}, {"size": len(DATA) + 1}, {"size": len(DATA) - 1},
    {"hash_algorithm": None, "hash_value": None, "checksum": None},
    {"hash_algorithm": None, "hash_value": None, "checksum": "0" * 32},
    {"hash_algorithm": "crc32", "hash_value": "0" * 32, "checksum": None},
    {"hash_value": "../../etc/passwd", "checksum": None},
    {"disk_format": "../x"}, {"disk_format": None}])
def test_what_does_not_agree_with_the_record_is_refused(cache, change):
    """V18: hashed as it comes, before anything uses it."""
    with pytest.raises(ImageUnacceptable):
        cache.fetch(image(**change), Source())
    assert names(cache) == []


def test_security_q8_properties_make_no_more_base_images():
    """Q8: a hundred values of os_type are one file; its name comes from its bytes alone."""
    assert len({base_key(image(properties={"os_type": f"os{number}"}))
                for number in range(100)}) == 1


def test_security_g10_md5_is_not_asked_where_a_strong_hash_is_known(cache):
    """G10: bytes with the right MD5 and the wrong SHA-512 are refused."""
    with pytest.raises(ImageUnacceptable):
        cache.fetch(image(hash_value="0" * 128), Source())
    assert base_key(image()).startswith("sha512-")


def test_old_images_are_known_by_md5(cache):
    one = image(hash_algorithm=None, hash_value=None)
    assert cache.fetch(one, Source()).path.name == f"md5-{one.checksum}.raw"


def test_broken_download_leaves_nothing_and_may_be_tried_again(cache):
    with pytest.raises(ImageServiceError):
        cache.fetch(image(), Source(error=ImageServiceError(reason="gone")))
    assert names(cache) == []
    cache.fetch(image(), Source())


def test_many_at_once_are_one_download(cache):
    gate = threading.Event()
    source, one = Source(gate=gate), image()
    found = []
    threads = [threading.Thread(target=lambda: found.append(cache.fetch(one, source)))
               for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    gate.set()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8 and source.calls == 1
    assert cache._locks == {}


def test_the_one_who_waits_downloads_himself_when_the_first_fails(cache):
    gate, one = threading.Event(), image()
    failing = Source(gate=gate, error=ImageServiceError(reason="his connection"))
    good, outcome = Source(), []

    def first():
        with pytest.raises(ImageServiceError):
            cache.fetch(one, failing)
        outcome.append("failed")
    threads = [threading.Thread(target=first),
               threading.Thread(target=lambda: outcome.append(cache.fetch(one, good)))]
    threads[0].start()
    time.sleep(0.1)
    threads[1].start()
    gate.set()
    for thread in threads:
        thread.join(10)
    assert good.calls == 1 and "failed" in outcome


def test_damaged_base_is_fetched_anew(cache):
    one = image()
    path = cache.fetch(one, Source()).path
    os.chmod(path, 0o600)
    path.write_bytes(b"short")
    assert cache.audit([base_key(one)]) == [
        (base_key(one), "an instance stands on it and it is missing or damaged")]
    assert cache.fetch(one, Source()).path.read_bytes() == DATA
    assert cache.audit([base_key(one)]) == []


def test_killed_between_the_two_renames(cache):
    """A base without its record counts for nothing."""
    one = image()
    path = cache.fetch(one, Source()).path
    path.with_name(path.name + ".json").unlink()
    source = Source()
    cache.fetch(one, source)
    assert source.calls == 1


def test_downloads_of_a_dead_process_are_removed(cache):
    (cache.directory / ".abc.part").write_bytes(b"x")
    cache.prepare()
    assert names(cache) == []


def test_age(cache):
    """Only what nobody stands on goes, and only when it is old."""
    used, unused, young = (image(data) for data in (b"used", b"unused", b"young"))
    for one, data in ((used, b"used"), (unused, b"unused"), (young, b"young")):
        path = cache.fetch(one, Source(data)).path
        if one is not young:
            for file in (path, path.with_name(path.name + ".json")):
                os.utime(file, (1, 1))
    assert cache.age_out({base_key(used)}, 3600) == [base_key(unused)]
    assert {name for name in names(cache) if not name.endswith(".json")} == {
        base_key(used), base_key(young)}
    # Use keeps a base young.
    path = cache.path(base_key(used))
    cache.fetch(used, Source(b"used"))
    assert time.time() - path.stat().st_mtime < 60


def test_names_stay_in_the_directory(cache):
    for name in ("../x", "a/b", ".x"):
        with pytest.raises(ValueError):
            cache.path(name)
