# SPDX-License-Identifier: Apache-2.0
"""The image cache: G1, G15, its books, its tools and its API."""

import json
import os
import time
import uuid

import pytest

from glance import exceptions
from glance.cache import ImageCache, prefetch
from glance.cache.drivers import DRIVERS, Entry
from glance.cmd import cache as tools

DATA = bytes(range(256)) * 6000


@pytest.fixture(params=sorted(DRIVERS))
def driver(request):
    return request.param


@pytest.fixture
def api(make_api, tmp_path, driver):
    return make_api(image_cache_dir=tmp_path / "cache", image_cache_driver=driver)


def files(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()
                  and not path.name.startswith("cache.db"))


def test_books(driver, tmp_path):
    books = DRIVERS[driver](tmp_path)
    first, second = (str(uuid.uuid4()) for _ in range(2))
    for image_id in (first, second):
        (tmp_path / image_id).write_bytes(b"x")
        books.put(Entry(image_id, "hash", 1, 4294967295))
        time.sleep(0.01)
    entry = books.get(first)
    assert (entry.os_hash, entry.size, entry.crc32, entry.hits) == ("hash", 1, 4294967295, 0)
    assert [each.image_id for each in books.entries()] == [first, second]
    books.hit(first)
    assert [each.image_id for each in books.entries()] == [second, first]
    assert books.get(first).hits == 1
    books.delete(first)
    books.delete(first)
    assert books.get(first) is None
    assert DRIVERS[driver](tmp_path).get(second).size == 1


def test_the_second_download_needs_no_store(api, tmp_path, monkeypatch):
    image = api.active(DATA)
    assert api.get(image["file"]).body == DATA
    assert files(tmp_path) == [image["id"]]
    monkeypatch.setattr(api.service.stores["file"], "read", None)
    for _ in range(2):
        assert api.get(image["file"]).body == DATA
    assert api.get(image["file"], headers={"Range": "bytes=5-9"}).body == DATA[5:10]
    assert api.get(f"/v1/images/{image['id']}").body == DATA
    assert api.service.cache.entries()[0].hits == 4


def test_policy_is_asked_on_cached_images(make_api, tmp_path):
    """G1: members, other projects, deactivated images and denied users, in both versions."""
    rules = tmp_path / "policy.yaml"
    rules.write_text('"download_image": "not role:denied"\n')
    api = make_api(image_cache_dir=tmp_path / "cache", oslo_policy={"policy_file": rules})
    image = api.active(DATA, visibility="shared")
    api.call("POST", f"/v2/images/{image['id']}/members", {"member": "beta"})
    assert api.get(image["file"]).body == DATA
    callers = {"carol:gamma": 404, "dave:alpha:member,denied": 403, "bob:beta": 200}
    for path in (image["file"], f"/v1/images/{image['id']}"):
        for token, status in callers.items():
            assert api.as_(token).get(path).status_int == status, (token, path)
    api.call("POST", f"/v2/images/{image['id']}/actions/deactivate")
    for path in (image["file"], f"/v1/images/{image['id']}"):
        assert api.as_("bob:beta").get(path).status_int == 403
    api.call("DELETE", f"/v2/images/{image['id']}")
    assert files(tmp_path) == []


def test_what_is_not_whole_is_not_kept(api, tmp_path):
    """G15: a reader who stops, and a range, leave nothing."""
    image = api.active(DATA)
    response = api.get(image["file"])
    reader = iter(response.app_iter)
    next(reader)
    assert len(files(tmp_path)) == 1  # in the making, under another name
    response.app_iter.close()
    assert files(tmp_path) == []
    assert api.get(image["file"], headers={"Range": "bytes=0-9"}).status_int == 206
    assert files(tmp_path) == []


def test_what_is_wrong_is_not_kept(api, tmp_path, monkeypatch):
    """G15: bytes of another hash than the image's never get their name."""
    image = api.active(DATA)
    fresh = api.service.registry.get_image(api.service.importer and _service(), image["id"])
    cache = api.service.cache
    assert list(cache.tee(fresh, iter([DATA[:-1] + b"X"]))) == [DATA[:-1] + b"X"]
    assert files(tmp_path) == []
    assert cache.read(fresh, 0, len(DATA)) is None


def _service():
    from glance.context import service_context

    return service_context()


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "gone"])
def test_rotten_entries_are_never_served(api, tmp_path, damage):
    """G15: by size at once, by content before the last piece; and the next reader is served."""
    image = api.active(DATA)
    assert api.get(image["file"]).body == DATA
    path = tmp_path / "cache" / image["id"]
    content = bytearray(DATA)
    content[1000] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        with open(path, "r+b") as held:
            if damage == "flip":
                held.write(content)
            else:
                held.truncate(len(DATA) + (5 if damage == "grow" else -5))
    if damage == "flip":
        with pytest.raises(OSError, match="cannot be completed"):
            _ = api.get(image["file"]).body
    assert api.get(image["file"]).body == DATA


def test_an_entry_of_another_hash_is_not_this_image(api, tmp_path):
    """G15: the id alone finds nothing."""
    image = api.active(DATA)
    assert api.get(image["file"]).body == DATA
    found = api.service.registry.get_image(_service(), image["id"])
    assert api.service.cache.read({**found, "os_hash_value": "0" * 128}, 0, len(DATA)) is None
    assert files(tmp_path) == []


def test_parallel_first_readers(api, tmp_path):
    """G15: two copies in the making do not mix."""
    image = api.active(DATA)
    readers = [iter(api.get(image["file"]).app_iter) for _ in range(2)]
    bodies = [b"", b""]
    for _ in range(10):
        for index, reader in enumerate(readers):
            bodies[index] += next(reader, b"")
    assert bodies == [DATA, DATA]
    assert files(tmp_path) == [image["id"]]
    assert api.get(image["file"]).body == DATA


def test_the_directory_is_nobody_elses(api, tmp_path):
    """G15."""
    for path in ("cache", "cache/incomplete", "cache/queue"):
        assert (tmp_path / path).stat().st_mode & 0o777 == 0o700


def test_a_full_cache_disk_does_not_end_the_download(api, tmp_path, monkeypatch):
    image = api.active(DATA)
    real = os.open

    def full(path, *args, **kwargs):
        if "incomplete" in str(path):
            raise OSError(28, "full")
        return real(path, *args, **kwargs)

    monkeypatch.setattr("glance.cache.os.open", full)
    assert api.get(image["file"]).body == DATA
    monkeypatch.undo()
    assert files(tmp_path) == []


def test_prune_and_clean(api, tmp_path):
    images = [api.active(DATA) for _ in range(3)]
    for image in images:
        assert api.get(image["file"]).body == DATA
    cache = api.service.cache
    cache.max_size = 2 * len(DATA)
    assert cache.prune() == (1, len(DATA))
    assert [entry.image_id for entry in cache.entries()] == [each["id"] for each in images[1:]]
    assert cache.prune() == (0, 0)
    (tmp_path / "cache/incomplete/x.y").write_bytes(b"half")
    (tmp_path / "cache" / str(uuid.uuid4())).write_bytes(b"no entry")
    assert cache.clean() == 0  # they may still be worked on
    cache.stall_time = -1
    assert cache.clean() == 2
    assert sorted(files(tmp_path)) == sorted(each["id"] for each in images[1:])


def test_queue_and_prefetch(api, tmp_path):
    image, gone = api.active(DATA), api.active(DATA)
    cache = api.service.cache
    cache.enqueue(image["id"])
    cache.enqueue(gone["id"])
    api.service.cache = None
    api.call("DELETE", f"/v2/images/{gone['id']}")
    api.service.cache = cache
    assert set(cache.queued()) == {image["id"], gone["id"]}
    assert prefetch.run_once(api.service, cache) == 1
    assert cache.queued() == []
    assert cache.is_cached(image["id"])
    assert prefetch.run_once(api.service, cache) == 0
    with pytest.raises(exceptions.NotFound):
        cache.enqueue("../../etc/passwd")


def test_api(api, monkeypatch):
    monkeypatch.setattr("glance.concurrency.spawn", lambda function, *args: function(*args))
    admin = api.as_("root:ops:admin")
    image, queued = api.active(DATA), api.create()
    for method, path in (("GET", "/v2/cache"), ("DELETE", "/v2/cache"),
                         ("PUT", f"/v2/cache/{image['id']}"),
                         ("DELETE", f"/v2/cache/{image['id']}")):
        assert api.call(method, path).status_int == 403
    assert admin.call("PUT", f"/v2/cache/{image['id']}").status_int == 202
    assert admin.call("PUT", f"/v2/cache/{queued['id']}").status_int == 400
    assert admin.call("PUT", "/v2/cache/no-such-image").status_int == 404
    [entry] = admin.get("/v2/cache").json["cached_images"]
    assert (entry["image_id"], entry["size"], entry["hits"]) == (image["id"], len(DATA), 0)
    # seconds since 1970: clients compute with them
    assert abs(entry["last_accessed"] - time.time()) < 600 > entry["last_modified"] - time.time()
    assert admin.call("DELETE", "/v2/cache", headers={
        "X-Image-Cache-Clear-Target": "invalid"}).status_int == 400
    assert admin.call("DELETE", "/v2/cache", headers={
        "X-Image-Cache-Clear-Target": "queue"}).status_int == 204
    assert len(admin.get("/v2/cache").json["cached_images"]) == 1
    assert admin.call("DELETE", f"/v2/cache/{image['id']}").status_int == 204
    assert admin.call("DELETE", f"/v2/cache/{image['id']}").status_int == 404
    assert admin.call("DELETE", "/v2/cache").status_int == 204
    assert admin.get("/v2/cache").json == {"cached_images": [], "queued_images": []}


def test_a_service_without_a_cache_says_so(make_api):
    assert make_api("root:ops:admin").get("/v2/cache").status_int == 501


def test_tools(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("oslo_log.log.setup", lambda *_args: None)
    monkeypatch.setattr("logging.captureWarnings", lambda _on: None)
    config = tmp_path / "glance-api.conf"
    config.write_text(f"[DEFAULT]\nimage_cache_dir = {tmp_path}/cache\nimage_cache_max_size = 0\n")
    cache = ImageCache(tmp_path / "cache")
    image_id = str(uuid.uuid4())
    (tmp_path / "cache" / image_id).write_bytes(b"x")
    cache.books.put(Entry(image_id, "h", 1, 0))
    assert tools.pruner(["--config-file", str(config)]) == 0
    assert tools.cleaner(["--config-file", str(config)]) == 0
    assert capsys.readouterr().out == "1 image(s), 1 byte(s) removed\n0 leftover(s) removed\n"
    config.write_text("[DEFAULT]\n")
    assert tools.pruner(["--config-file", str(config)]) == 1


def test_the_manager_and_the_prefetcher(api, serve, tmp_path, capsys, monkeypatch):
    """By their commands, over a socket: queue, fetch, list, remove."""
    from glance.cmd import cache_manage

    monkeypatch.setattr("oslo_log.log.setup", lambda *_args: None)
    monkeypatch.setattr("logging.captureWarnings", lambda _on: None)
    monkeypatch.setattr("glance.concurrency.spawn", lambda *_args: None)  # the service is slow
    one, other = (api.active(data)["id"] for data in (b"one", b"other"))
    url = serve(api.app)

    def manage(*arguments, token="root:ops:admin"):
        status = cache_manage.main(["--os-image-url", url, "--os-auth-token", token, *arguments])
        return status, capsys.readouterr().out

    def fetch():
        assert tools.prefetcher(["--config-file", str(tmp_path / "glance-api.conf")]) == 0
        return capsys.readouterr().out

    assert manage("queue-image", one, other) == (0, "")
    assert manage("delete-queued-image", other) == (0, "")
    assert (manage("list-queued"), manage("list-cached")) == ((0, f"{one}  queued\n"), (0, ""))
    assert fetch() == "1 image(s) fetched\n"
    assert manage("list-queued") == (0, "")
    assert f"{one}  cached               3 bytes       0 hits" in manage("list-cached")[1]
    assert json.loads(manage("--json", "list")[1])["cached_images"][0]["image_id"] == one
    assert (tmp_path / "cache" / one).read_bytes() == b"one"
    assert manage("delete-cached-image", one) == (0, "")
    assert not (tmp_path / "cache" / one).exists()
    manage("queue-image", one, other)
    assert manage("delete-all-queued-images") == (0, "")
    assert fetch() == "0 image(s) fetched\n"
    manage("queue-image", one, other)
    assert fetch() == "2 image(s) fetched\n"
    assert manage("delete-all-cached-images") == (0, "")
    assert manage("list") == (0, "")
    assert manage("list", token="alice:alpha")[0] == 1
