# SPDX-License-Identifier: Apache-2.0
"""Whom nova speaks to over TLS: the image service, and Keystone about signatures."""
import pytest
from keystoneauth1 import loading
from oslo_config import cfg
from tls_peer import BAD, TlsPeer

from nova.api.ec2.auth import ACCOUNT, KeystoneJudge, SignedRequest
from nova.api.ec2.errors import Ec2Error
from nova.context import RequestContext
from nova.exception import ImageNotFound, ImageServiceError
from nova.image.transport import Transport

CONF = cfg.CONF
IMAGE = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def configured():
    """A function that sets options for one test: (group, name=value...)."""
    CONF([], project="nova", default_config_files=[], default_config_dirs=[])
    loading.register_auth_conf_options(CONF, ACCOUNT)
    changed = []

    def change(group, **values):
        for name, value in values.items():
            CONF.set_override(name, value, group)
            changed.append((name, group))
    yield change
    for name, group in changed:
        CONF.clear_override(name, group)


def ask_images(configured, peer):
    configured("glance", endpoint_override=peer.url, cafile=peer.ca)
    context = RequestContext(auth_token="t0ken", user_id="u", project_id="p", overwrite=False)
    with Transport().calling(context, IMAGE) as client:
        client.get_image(IMAGE)


def ask_keystone(configured, peer):
    configured(ACCOUNT, auth_type="none")
    configured("ec2", tokens_url=f"{peer.url}/v3/ec2tokens", cafile=peer.ca)
    KeystoneJudge().identify(SignedRequest("GET", "h", "/", {}, {}, b"", "AK", "s3cret"))


@pytest.mark.parametrize("ask", [ask_images, ask_keystone])
@pytest.mark.parametrize("kind", BAD)
def test_security_c1_c3_a_peer_without_a_good_certificate_hears_nothing(
        kind, ask, configured, tmp_path):
    """C1, C3: neither a token nor a signature goes to whoever answers there."""
    with TlsPeer(kind, tmp_path) as peer:
        with pytest.raises((ImageServiceError, Ec2Error)) as caught:
            ask(configured, peer)
        assert peer.heard == []
    assert str(caught.value.code).lower().endswith("unavailable")


@pytest.mark.parametrize("ask", [ask_images, ask_keystone])
def test_a_peer_with_a_good_certificate_is_asked(ask, configured, tmp_path):
    """Else the test above would pass with a client that asks nobody."""
    with TlsPeer("good", tmp_path) as peer:
        with pytest.raises((ImageNotFound, Ec2Error)):
            ask(configured, peer)
        assert len(peer.heard) == 1
