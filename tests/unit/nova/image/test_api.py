# SPDX-License-Identifier: Apache-2.0
"""The door to images: whose token goes through it, and what errors become."""

import pytest
from oslo_config import cfg

from glance import client as glance
from nova import exception
from nova.context import RequestContext, admin_context
from nova.image import api, transport

CONF = cfg.CONF
RECORD = {"id": "i", "name": "n", "status": "active", "size": 3, "disk_format": "ami",
          "container_format": "ami", "checksum": "c", "os_hash_algo": "sha512",
          "os_hash_value": "h", "min_disk": 1, "min_ram": 2, "owner": "p",
          "visibility": "shared", "protected": False, "tags": ["t"], "kernel_id": "k",
          "ramdisk_id": "r", "os_distro": "debian", "virtual_size": None, "os_hidden": False,
          "self": "/v2/images/i", "file": "/v2/images/i/file", "schema": "/v2/schemas/image"}


class Client:
    """A glance client that notes the token it was called with."""

    def __init__(self, token):
        self.token, self.seen, self.error = token, [], None

    def _called(self):
        self.seen.append(self.token())
        if self.error is not None:
            raise self.error

    def get_image(self, image_id):
        self._called()
        return RECORD

    def members(self, image_id):
        self._called()
        return [{"member_id": "friend", "status": "accepted"}]

    def update(self, image_id, *, remove=(), **changes):
        self._called()
        return {**RECORD, **changes}

    def download(self, image_id, *, verify):
        self._called()

        def pieces():
            yield b"abc"
            raise glance.CorruptDownload("broke off")
        return pieces(), RECORD


@pytest.fixture
def images(monkeypatch):
    made = api.API()
    made.transport._client = Client(lambda: made.transport._local.token())
    return made


def test_record_becomes_an_image(images):
    image = images.get(None, "i")
    assert (image.kernel_id, image.ramdisk_id) == ("k", "r")
    assert (image.hash_algorithm, image.hash_value) == ("sha512", "h")
    assert image.properties == {"kernel_id": "k", "ramdisk_id": "r", "os_distro": "debian"}
    assert image.tags == ("t",)


def test_callers_token_goes_along_and_is_forgotten(images):
    context = RequestContext(user_id="u", auth_token="his", overwrite=False)
    images.get(context, "i")
    images.get(None, "i")
    assert images.transport._client.seen == ["his", None]


def test_no_token_never_means_ours():
    """A caller without a token is not served with the service's rights."""
    made = api.API()
    made.transport._client = Client(lambda: made.transport._local.token())
    CONF.set_override("auth_type", "password", "glance")
    try:
        with pytest.raises(exception.ImageServiceError, match="token did not come"):
            made.get(RequestContext(user_id="u", overwrite=False), "i")
        with pytest.raises(exception.ImageServiceError):
            made.get(admin_context(), "i")
    finally:
        CONF.clear_override("auth_type", "glance")


@pytest.mark.parametrize("raised, becomes", [
    (glance.NotFound("x", 404), exception.ImageNotFound),
    (glance.Gone("x", 410), exception.ImageNotFound),
    (glance.Forbidden("x", 403), exception.Forbidden),
    (glance.Conflict("x", 409), exception.Conflict),
    (glance.BadRequest("x", 400), exception.BadRequest),
    (glance.Unauthorized("x", 401), exception.ImageServiceError),
    (glance.Unavailable("x"), exception.ImageServiceError),
    (glance.ImageError("x", 500), exception.ImageServiceError)])
def test_errors(images, raised, becomes):
    images.transport._client.error = raised
    with pytest.raises(becomes):
        images.get(None, "i")


def test_download_that_breaks_off(images):
    pieces = images.download("i")
    assert next(pieces) == b"abc"
    with pytest.raises(exception.ImageServiceError, match="broke off"):
        next(pieces)


def test_who_may_use(images):
    image = images.get(None, "i")
    assert images.may_use(image, "p")
    assert images.may_use(image, "friend")
    assert not images.may_use(image, "stranger")


@pytest.mark.parametrize("name", ["owner", "visibility", "id", "locations", "checksum", "tags"])
def test_metadata_is_no_way_to_the_columns(images, name):
    """U1: properties of the Compute API cannot set an image's own columns."""
    with pytest.raises(exception.BadRequest, match=name):
        images.set_properties(None, "i", {name: "x"})
    with pytest.raises(exception.BadRequest):
        images.set_properties(None, "i", {}, [name])
    assert images.set_properties(None, "i", {"mine": "x"}).properties["mine"] == "x"


def test_unset_endpoint_is_said():
    with pytest.raises(exception.ImageServiceError, match="endpoint_override"):
        transport.Transport()._endpoint()


def test_sorting():
    assert transport.sorting([("name", "asc"), ("id", "desc")]) == "name:asc,id:desc"
    assert transport.sorting([]) is None
