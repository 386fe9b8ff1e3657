# SPDX-License-Identifier: Apache-2.0
"""Members and visibility of API v2, and deactivation."""

import pytest


def members(api, image):
    return f"/v2/images/{image['id']}/members"


def test_share_accept_reject(api, bob):
    image = api.active()
    response = api.call("POST", members(api, image), {"member": "beta"})
    assert response.status_int == 200
    assert response.json["status"] == "pending"
    assert response.json["member_id"] == "beta"
    assert bob.ids() == []
    assert bob.ids("?visibility=shared&member_status=pending") == [image["id"]]
    path = f"{members(api, image)}/beta"
    assert bob.get(path).json["status"] == "pending"
    assert bob.call("PUT", path, {"status": "accepted"}).json["status"] == "accepted"
    assert bob.ids() == [image["id"]]
    assert bob.get(f"/v2/images/{image['id']}/file").body == b"bytes of an image"
    assert bob.call("PUT", path, {"status": "rejected"}).status_int == 200
    assert bob.ids() == []
    assert api.call("DELETE", path).status_int == 204
    assert bob.get(f"/v2/images/{image['id']}").status_int == 404
    assert api.call("DELETE", path).status_int == 404


def test_owner_cannot_accept_for_the_member(api):
    image = api.create()
    api.call("POST", members(api, image), {"member": "beta"})
    response = api.call("PUT", f"{members(api, image)}/beta", {"status": "accepted"})
    assert response.status_int == 403


@pytest.mark.parametrize("body, status", [
    ({"status": "maybe"}, 400), ({}, 400), ([], 400), ({"status": 5}, 400)])
def test_bad_member_status(api, bob, body, status):
    image = api.create()
    api.call("POST", members(api, image), {"member": "beta"})
    response = bob.call("PUT", f"{members(api, image)}/beta", body)
    assert response.status_int == status


@pytest.mark.parametrize("body", [{}, {"member": ""}, {"member": 5}, {"member": "x" * 256}, []])
def test_bad_member(api, body):
    response = api.call("POST", members(api, api.create()), body)
    assert response.status_int == 400


def test_member_twice_and_of_a_private_image(api):
    image = api.create()
    api.call("POST", members(api, image), {"member": "beta"})
    assert api.call("POST", members(api, image), {"member": "beta"}).status_int == 409
    private = api.create(visibility="private")
    assert api.call("POST", members(api, private), {"member": "beta"}).status_int == 403


def test_member_limit(make_api):
    api = make_api(image_member_quota=1)
    image = api.create()
    assert api.call("POST", members(api, image), {"member": "beta"}).status_int == 200
    assert api.call("POST", members(api, image), {"member": "gamma"}).status_int == 413


def test_visibilities(api, bob, admin):
    for visibility in ("private", "shared", "community"):
        api.create(name=visibility, visibility=visibility)
    admin.create(name="public", visibility="public")

    def names(query):
        found = bob.get(f"/v2/images?sort=name:asc{query}").json["images"]
        return [image["name"] for image in found]

    assert names("") == ["public"]
    assert names("&visibility=community") == ["community"]
    assert names("&visibility=all") == ["community", "public"]


def test_deactivate_and_reactivate(api, bob, admin):
    image = api.active()
    path = f"/v2/images/{image['id']}"
    assert bob.call("POST", f"{path}/actions/deactivate").status_int == 404
    assert api.call("POST", f"{path}/actions/deactivate").status_int == 204
    assert api.call("POST", f"{path}/actions/deactivate").status_int == 204
    assert api.show(image["id"])["status"] == "deactivated"
    assert api.get(f"{path}/file").status_int == 403
    assert admin.get(f"{path}/file").status_int == 200
    assert api.call("POST", f"{path}/actions/reactivate").status_int == 204
    assert api.get(f"{path}/file").status_int == 200


def test_image_without_data_cannot_be_deactivated(api):
    image = api.create()
    response = api.call("POST", f"/v2/images/{image['id']}/actions/deactivate")
    assert response.status_int == 403
    assert "queued" in response.json["error"]["message"]
