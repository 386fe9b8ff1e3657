# SPDX-License-Identifier: Apache-2.0
"""Who may see, change and share what: the whole table."""

import pytest

from glance.context import RequestContext, service_context
from glance.image import states
from glance.registry import authorization

OWNER = RequestContext(project_id="alpha", roles=("member",))
OTHER = RequestContext(project_id="beta", roles=("member",))
ADMIN = RequestContext(project_id="ops", is_admin=True)
NOBODY = RequestContext()


def image(visibility, owner="alpha"):
    return {"owner": owner, "visibility": visibility}


@pytest.mark.parametrize("visibility", states.VISIBILITIES)
@pytest.mark.parametrize("member", [False, True])
def test_visible(visibility, member):
    for context in (OWNER, ADMIN, service_context()):
        assert authorization.is_visible(context, image(visibility), member)
    expected = visibility in ("public", "community") or (visibility == "shared" and member)
    for context in (OTHER, NOBODY):
        assert authorization.is_visible(context, image(visibility), member) is expected


@pytest.mark.parametrize("visibility", states.VISIBILITIES)
def test_mutable_is_for_owner_and_administrator(visibility):
    assert authorization.is_mutable(OWNER, image(visibility))
    assert authorization.is_mutable(ADMIN, image(visibility))
    assert not authorization.is_mutable(OTHER, image(visibility))


def test_no_owner_is_nobodys_not_everybodys():
    """A caller without a project does not own the images without an owner."""
    assert not authorization.is_mutable(NOBODY, image("private", owner=None))
    assert not authorization.is_visible(NOBODY, image("private", owner=None), False)


@pytest.mark.parametrize("membership, expected", [
    (None, False), ({"can_share": False}, False), ({"can_share": True}, True)])
def test_sharable(membership, expected):
    assert authorization.is_sharable(OTHER, image("shared"), membership) is expected
    assert not authorization.is_sharable(OTHER, image("private"), membership)
    assert authorization.is_sharable(OWNER, image("shared"), None)
