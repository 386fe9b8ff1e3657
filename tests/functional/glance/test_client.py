# SPDX-License-Identifier: Apache-2.0
"""glance.client and the glance command against the service over a real socket."""

import hashlib
import io
import json
import os
import subprocess
import sys

import pytest

from glance import client
from glance.context import service_context

DATA = os.urandom(2_500_000)


@pytest.fixture
def endpoint(api, serve):
    """URL of the service behind a simple server that knows no chunked bodies."""
    return serve(api.app)


@pytest.fixture
def images(endpoint):
    with client.Client(endpoint, "alice:alpha") as images:
        yield images


def make(images, **fields):
    return images.create(**{"disk_format": "raw", "container_format": "bare", **fields})


def test_life_of_an_image(images):
    image = make(images, name="x", os_distro="linux", tags=["a"])
    assert image["status"] == "queued"
    with pytest.raises(client.NotFound, match="queued"):
        images.download(image["id"])
    told = []
    images.upload(image["id"], io.BytesIO(DATA), len(DATA), progress=told.append)
    assert told[-1] == len(DATA)
    pieces, meta = images.download(image["id"])
    assert hashlib.sha256(b"".join(pieces)).hexdigest() == meta["os_hash_value"]
    part, _ = images.download(image["id"], offset=10, length=20)
    assert b"".join(part) == DATA[10:30]
    changed = images.update(image["id"], name="y", remove=["os_distro"], extra="1")
    assert (changed["name"], changed["extra"], "os_distro" in changed) == ("y", "1", False)
    images.add_tag(image["id"], "b c")
    images.delete_tag(image["id"], "a")
    assert images.get_image(image["id"])["tags"] == ["b c"]
    images.deactivate(image["id"])
    with pytest.raises(client.Forbidden):
        images.download(image["id"])
    images.reactivate(image["id"])
    images.delete(image["id"])
    with pytest.raises(client.NotFound) as caught:
        images.get_image(image["id"])
    assert caught.value.code == 404
    assert caught.value.request_id.startswith("req-")


def test_files_are_sent_with_their_size(images, tmp_path):
    path = tmp_path / "data"
    path.write_bytes(DATA)
    image = make(images)
    with path.open("rb") as source:
        images.upload(image["id"], source)
    assert images.get_image(image["id"])["size"] == len(DATA)


def test_listing_goes_through_all_pages(images):
    for number in range(5):
        make(images, name=f"i{number}", tags=["t", str(number)])
    found = images.list_images(page_size=2, sort="name:asc", tag=["t"])
    assert [image["name"] for image in found] == ["i0", "i1", "i2", "i3", "i4"]
    assert len(list(images.list_images(limit=3, page_size=2))) == 3
    assert [image["name"] for image in images.list_images(tag=["t", "3"])] == ["i3"]


def test_members(images, endpoint):
    image = make(images)
    assert images.add_member(image["id"], "beta")["status"] == "pending"
    with client.Client(endpoint, "bob:beta") as bob:
        assert list(bob.list_images()) == []
        bob.update_member(image["id"], "beta", "accepted")
        assert [found["id"] for found in bob.list_images()] == [image["id"]]
        with pytest.raises(client.Forbidden):
            bob.delete(image["id"])
    assert [member["member_id"] for member in images.members(image["id"])] == ["beta"]
    images.delete_member(image["id"], "beta")
    assert images.members(image["id"]) == []


def test_typed_errors(images):
    for call, kind in (
            (lambda: images.create(name=5), client.BadRequest),
            (lambda: images.create(status="active"), client.Forbidden),
            (lambda: images.create(id="x"), client.BadRequest),
            (lambda: images.get_image("../../x?y#z"), client.NotFound),
            (lambda: images.upload(images.create()["id"], io.BytesIO(b""), 0),
             client.BadRequest)):
        with pytest.raises(kind) as caught:
            call()
        assert caught.value.message
        assert caught.value.request_id
    image = make(images, disk_format="qcow2")
    with pytest.raises(client.UnsupportedFormat, match="disk_format"):
        images.upload(image["id"], io.BytesIO(DATA), len(DATA))
    with pytest.raises(client.Conflict):
        images.upload(image["id"], io.BytesIO(b"x"), 1)


def test_nobody_there():
    with client.Client("http://127.0.0.1:1", connect_timeout=1) as images, \
            pytest.raises(client.Unavailable, match="does not answer"):
        images.get_image("x")


def test_a_silent_service_is_given_up(free_port):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent, client.Client(
            f"http://127.0.0.1:{silent.getsockname()[1]}", read_timeout=0.2) as images, \
            pytest.raises(client.Unavailable):
        images.get_image("x")


def test_damaged_downloads_are_noticed(images, api, monkeypatch):
    """The hash is checked on the bytes as they came, whatever the service thinks of them."""
    image = make(images)
    images.upload(image["id"], io.BytesIO(DATA), len(DATA))

    def other(_url, _offset=0, _length=None):
        yield bytes(len(DATA))

    store = api.service.stores["file"]
    monkeypatch.setattr(store, "read", other)
    monkeypatch.setattr("glance.image.download.checked", lambda pieces, *_args: pieces)
    pieces, _ = images.download(image["id"])
    with pytest.raises(client.CorruptDownload, match="hash"):
        list(pieces)
    pieces, _ = images.download(image["id"], verify=False)
    assert len(b"".join(pieces)) == len(DATA)


def test_a_download_cut_short_is_noticed(images, api, monkeypatch):
    image = make(images)
    images.upload(image["id"], io.BytesIO(DATA), len(DATA))

    def short(_url, _offset=0, _length=None):
        yield DATA[:1000]
        yield DATA[1000:2000]

    monkeypatch.setattr(api.service.stores["file"], "read", short)
    pieces, _ = images.download(image["id"])
    with pytest.raises(client.CorruptDownload):
        list(pieces)


def test_a_token_that_expired_is_fetched_anew(endpoint, monkeypatch):
    """Once per call, and only where the body can be sent again."""
    tokens = iter(["old", "fresh", "fresh"])
    images = client.Client(endpoint, lambda: next(tokens))
    real = images._session.request

    def request(method, url, headers, **options):
        if headers["X-Auth-Token"] == "old":
            url = endpoint + "/v2/nothing"
            response = real(method, url, headers=headers, **options)
            response.status_code = 401
            return response
        headers["X-Auth-Token"] = "alice:alpha"
        return real(method, url, headers=headers, **options)

    monkeypatch.setattr(images._session, "request", request)
    assert list(images.list_images()) == []
    images.close()


def test_the_client_needs_no_eventlet():
    """nova imports it into its own workers; it must bring nothing of the service along."""
    code = "import sys, glance.client; print(sorted(m for m in sys.modules if m.split('.')[0] in " \
           "('eventlet', 'sqlalchemy', 'oslo_config', 'webob') or m.startswith('glance.')))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                         timeout=60)
    assert out.stdout.strip() == "['glance.client']"


# The command


@pytest.fixture
def glance(endpoint, monkeypatch, capsys):
    """A function that runs the command in process and returns (status, output, errors)."""
    from glance.cmd import shell

    for name in list(os.environ):
        if name.startswith("OS_"):
            monkeypatch.delenv(name)

    def run(*arguments, token="alice:alpha"):
        status = shell.main(["--os-image-url", endpoint, "--os-token", token, *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_command_life_of_an_image(glance, tmp_path):
    source = tmp_path / "data"
    source.write_bytes(DATA)
    status, out, _ = glance("--json", "image-create", "--name", "x", "--disk-format", "raw",
                            "--container-format", "bare", "--property", "a=b=c", "--tag", "t",
                            "--file", str(source), "--min-ram", "5")
    assert status == 0
    image = json.loads(out)
    assert (image["status"], image["a"], image["min_ram"]) == ("active", "b=c", 5)
    status, out, _ = glance("image-list", "-v", "--property", "a=b=c")
    assert image["id"] in out
    assert "active" in out
    target = tmp_path / "copy"
    assert glance("image-download", image["id"], "--file", str(target))[0] == 0
    assert target.read_bytes() == DATA
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()
                  and path.name.startswith("copy")) == ["copy"]
    status, out, _ = glance("image-update", image["id"], "--name", "y", "--remove-property", "a")
    assert "| y" in out
    assert glance("image-tag-update", image["id"], "u")[0] == 0
    assert glance("image-tag-delete", image["id"], "t")[0] == 0
    assert glance("image-deactivate", image["id"])[0] == 0
    assert glance("image-reactivate", image["id"])[0] == 0
    assert glance("member-create", image["id"], "beta")[0] == 0
    assert glance("member-update", image["id"], "beta", "accepted", token="bob:beta")[0] == 0
    assert "accepted" in glance("member-list", "--image-id", image["id"])[1]
    assert glance("member-delete", image["id"], "beta")[0] == 0
    assert "deactivated" not in glance("image-show", image["id"])[1]
    status, _, errors = glance("image-delete", image["id"], "nothing")
    assert status == 1
    assert "1 of 2 failed" in errors


def test_command_errors(glance, tmp_path, monkeypatch):
    from glance.cmd import shell

    status, _, errors = glance("image-show", "nothing")
    assert status == 1
    assert "request req-" in errors
    assert glance("image-create", "--property", "x")[0] == 1
    assert glance("image-create", "--file", "x")[0] == 1
    assert glance("image-create", "--file", str(tmp_path / "no"), "--disk-format", "raw",
                  "--container-format", "bare")[0] == 1
    monkeypatch.delenv("OS_IMAGE_URL", raising=False)
    assert shell.main(["image-list"]) == 1
    with pytest.raises(SystemExit):
        shell.main(["image-fry"])


# Two texts of one MD5 (Wang and others, 2004), but for the bytes in which they differ.
SAME_MD5 = ("d131dd02c5e6eec4693d9a0698aff95c2fcab5{}12467eab4004583eb8fb7f89"
            "55ad340609f4b30283e4888325{}415a085125e8f7cdc99fd91dbd{}80373c5b"
            "d8823e3156348f5bae6dacd436c919c6dd53e2{}87da03fd02396306d248cda0"
            "e99f33420f577ee8ce54b67080{}0d1ec69821bcb6a8839396f965{}6ff72a70")


def test_md5_is_never_proof(images, api, tmp_path):
    """G10: other data with the right MD5 is no more the image than any other."""
    one = bytes.fromhex(SAME_MD5.format("87", "71", "f2", "b4", "a8", "2b"))
    other = bytes.fromhex(SAME_MD5.format("07", "f1", "72", "34", "28", "ab"))
    assert hashlib.md5(one).digest() == hashlib.md5(other).digest() and one != other
    image = make(images)
    images.upload(image["id"], io.BytesIO(one), len(one))
    registry, service = api.service.registry, service_context()
    row = registry.get_image(service, image["id"])
    (tmp_path / "images" / image["id"]).write_bytes(other)
    # also where no other checksum stands guard
    registry.update_image(service, image["id"], {
        "locations": [{**row["locations"][0], "crc32": None}]})
    pieces, meta = images.download(image["id"])
    assert meta["checksum"] == hashlib.md5(other).hexdigest()
    with pytest.raises(client.CorruptDownload):
        b"".join(pieces)
