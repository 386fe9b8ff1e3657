# SPDX-License-Identifier: Apache-2.0
"""Files: a download that goes on where it broke off, progress, imports by command, version 1."""

import io
import os

import pytest

from glance import client, transfer
from glance.client_v1 import ClientV1
from glance.cmd import shell

DATA = os.urandom(2_500_000)


@pytest.fixture
def endpoint(importing_api, serve):
    return serve(importing_api.app)


@pytest.fixture
def images(endpoint):
    with client.Client(endpoint, "alice:alpha") as images:
        yield images


@pytest.fixture
def image(images):
    made = images.create(disk_format="raw", container_format="bare")
    images.upload(made["id"], iter([DATA]), len(DATA))
    return made["id"]


class Breaking(client.Client):
    """Breaks off after so many bytes; remembers where each download began."""

    breaks_after = 1_500_000
    offsets: list[int] = []

    def download(self, image_id, *, offset=0, length=None, verify=True):
        self.offsets.append(offset)
        pieces, meta = super().download(image_id, offset=offset, length=length, verify=verify)

        def broken():
            seen = 0
            for piece in pieces:
                yield piece[:100_000]
                seen += len(piece)
                if self.breaks_after is not None and seen > self.breaks_after:
                    raise client.CorruptDownload("broke off")
                yield piece[100_000:]

        return broken(), meta


@pytest.fixture
def breaking(endpoint):
    with Breaking(endpoint, "alice:alpha") as images:
        images.offsets = []
        yield images


def test_a_download_goes_on_where_it_broke_off(breaking, image, tmp_path):
    path, told = str(tmp_path / "image"), []
    with pytest.raises(client.CorruptDownload):
        transfer.download(breaking, image, path, resume=True)
    size = os.path.getsize(path + ".part")
    assert 0 < size < len(DATA)
    breaking.breaks_after = None
    transfer.download(breaking, image, path, resume=True, report=told.append)
    assert (tmp_path / "image").read_bytes() == DATA
    assert breaking.offsets == [0, size]
    assert (told[0], told[-1]) == (size, len(DATA))
    assert not os.path.exists(path + ".part")


def test_without_resume_nothing_stays(breaking, image, tmp_path):
    path = str(tmp_path / "image")
    with pytest.raises(client.CorruptDownload):
        transfer.download(breaking, image, path)
    assert not os.path.exists(path) and not os.path.exists(path + ".part")


@pytest.mark.parametrize("start, ends_well", [(b"x" * 100, False), (DATA + b"more", True),
                                              (DATA, True), (b"", True)])
def test_what_is_there_is_not_believed(images, image, tmp_path, start, ends_well):
    """A part of something else is found out by the hash; too long a one begins anew."""
    path = tmp_path / "image"
    (tmp_path / "image.part").write_bytes(start)
    if ends_well:
        transfer.download(images, image, str(path), resume=True)
        assert path.read_bytes() == DATA
    else:
        with pytest.raises(client.CorruptDownload, match="hash"):
            transfer.download(images, image, str(path), resume=True)
        assert not path.exists()
    assert not (tmp_path / "image.part").exists()


def test_the_bar():
    out = io.StringIO()
    show = transfer.bar(200, out)
    for done in (0, 100, 200):
        show(done)
    lines = out.getvalue().split("\r")[1:]
    assert lines[0].startswith("[>") and lines[0].endswith("  0 %")
    assert "[===============>" in lines[1] and lines[1].endswith(" 50 %")
    assert lines[2] == f"[{'=' * 30}] 100 %\n"
    counting = io.StringIO()
    transfer.bar(0, counting)(5)
    assert counting.getvalue().strip() == "5 bytes"


def test_commands(endpoint, image, tmp_path, capsys, monkeypatch, web):
    monkeypatch.delenv("OS_AUTH_URL", raising=False)

    def run(*arguments, token="alice:alpha"):
        status = shell.main(["--os-image-url", endpoint, "--os-token", token, *arguments])
        return status, capsys.readouterr()

    path = str(tmp_path / "image")
    status, said = run("image-download", image, "--file", path, "--resume", "--progress")
    assert status == 0 and "100 %" in said.err
    assert (tmp_path / "image").read_bytes() == DATA
    status, said = run("--json", "image-create", "--disk-format", "raw", "--container-format",
                       "bare")
    new = said.out.split('"id": "')[1].split('"')[0]
    assert run("image-stage", new, "--file", path)[0] == 0
    assert run("image-import", new, "--stores", "deep")[0] == 0
    assert "success" in run("image-tasks", new)[1].out
    assert "deep" in run("stores-info")[1].out
    assert "deep" in run("image-show", new)[1].out
    status, said = run("image-import", new, "--import-method", "web-download", "--uri", "x")
    assert status == 1 and "409" not in said.out and "queued" in said.err


def test_version_1(endpoint, web):
    web.files["/image"] = DATA
    with ClientV1(endpoint, "alice:alpha") as images:
        made = images.add_image({"name": "grün", "disk_format": "raw", "container_format": "bare",
                                 "properties": {"os": "linux"}}, iter([DATA]), len(DATA))
        assert (made["status"], made["name"], made["size"]) == ("active", "grün", len(DATA))
        meta = images.get_image_meta(made["id"])
        assert (meta["name"], meta["properties"], meta["is_public"]) == (
            "grün", {"os": "linux"}, False)
        assert b"".join(images.get_image_data(made["id"])[1]) == DATA
        images.update_image(made["id"], {"name": "blau"}, purge_props=False)
        [found] = images.get_images_detailed(name="blau")
        assert found["properties"] == {"os": "linux"}
        images.add_image_member(made["id"], "beta", can_share=True)
        assert images.get_image_members(made["id"]) == [{"member_id": "beta", "can_share": True}]
        images.replace_members(made["id"], [])
        images.delete_image(made["id"])
        assert images.get_images() == []
        copied = images.add_image({"name": "c", "disk_format": "raw", "container_format": "bare",
                                   "copy_from": f"{web.url}/image"})
        assert b"".join(images.get_image_data(copied["id"])[1]) == DATA
        with pytest.raises(client.NotFound):
            images.get_image_meta(made["id"])
