# SPDX-License-Identifier: Apache-2.0
"""Whom glance and its client speak to over TLS."""
import pytest
from tls_peer import BAD, TlsPeer

from glance import client, exceptions
from glance.context import RequestContext
from glance.registry.client.rest import RestClient
from glance.store.swift import LoginV1, SwiftStore


def ask_client(url, ca):
    with client.Client(url, "t0ken", verify=ca) as images:
        images.get_image("11111111-1111-4111-8111-111111111111")


def ask_registry(url, ca):
    RestClient(url, verify=ca).get_image(RequestContext(is_admin=True),
                                         "11111111-1111-4111-8111-111111111111")


def ask_login_of_store(url, ca):
    SwiftStore("far", LoginV1(f"{url}/auth/v1.0", "images:glance", "s3cret-key"),
               verify=ca).check()


ASK = [ask_client, ask_registry, ask_login_of_store]


@pytest.mark.parametrize("ask", ASK)
@pytest.mark.parametrize("kind", BAD)
def test_security_c1_c2_a_peer_without_a_good_certificate_hears_nothing(kind, ask, tmp_path):
    """C1, C2: authority, name and dates are checked, before a token or a key is sent."""
    with TlsPeer(kind, tmp_path) as peer:
        with pytest.raises((client.ImageError, exceptions.Unavailable)) as caught:
            ask(peer.url, peer.ca)
        assert peer.heard == []
    assert "s3cret-key" not in str(caught.value) and "t0ken" not in str(caught.value)


@pytest.mark.parametrize("ask", ASK)
def test_a_peer_with_a_good_certificate_is_asked(ask, tmp_path):
    """Else the test above would pass with a client that asks nobody."""
    with TlsPeer("good", tmp_path) as peer:
        with pytest.raises((client.ImageError, exceptions.GlanceError)):
            ask(peer.url, peer.ca)
        assert peer.heard
