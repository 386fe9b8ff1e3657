# SPDX-License-Identifier: Apache-2.0
"""Deletes that wait, deletes taken back, and what is never forgotten."""

import datetime
import logging

from glance.context import service_context
from glance.image.audit import findings
from glance.image.reconciler import Reconciler
from glance.registry.db import images

DATA = b"bytes of an image"
SERVICE = service_context()


def test_delayed_delete(make_api, image_files):
    api = make_api(delayed_delete=True)
    kept, gone = api.active(DATA), api.active(DATA)
    rounds = Reconciler(api.service)
    for image in (kept, gone):
        assert api.call("DELETE", f"/v2/images/{image['id']}").status_int == 204
        assert api.get(f"/v2/images/{image['id']}").status_int == 404
    rounds.run_once(at_start=True)
    assert len(image_files()) == 2
    assert rounds.scrub(3600) == 0
    restored = api.service.registry.restore_image(SERVICE, kept["id"])
    assert restored["status"] == "active"
    assert api.get(kept["file"]).body == DATA
    assert rounds.scrub(0) == 1
    assert image_files() == [kept["id"]]
    assert list(findings(api.service)) == []


def test_ids_of_purged_images_are_never_given_out_again(api, bob):
    """G12: nothing is known of the image any more, but that it was."""
    image = api.active(DATA, name="secret", color="red")
    api.call("DELETE", f"/v2/images/{image['id']}")
    database = api.service.registry.database
    tomorrow = images.now() + datetime.timedelta(days=1)
    with database.writing() as connection:
        assert images.purge(connection, images.now() - datetime.timedelta(days=1), 10) == 0
        assert images.purge(connection, tomorrow, 10) == 1
        assert images.purge(connection, tomorrow, 10) == 0
        row = images.get(connection, image["id"], deleted=True)
    assert (row["name"], row["owner"], row["properties"]) == (None, None, {})
    for caller in (api, bob):
        assert caller.call("POST", "/v2/images", {"id": image["id"]}).status_int == 409


def test_notifications_in_the_log(make_api, caplog, tmp_path):
    caplog.set_level(logging.INFO, "glance.notification")
    api = make_api(notification_driver="log")
    image = api.active(DATA)
    api.patch(image["id"], ("replace", "/name", "new"))
    api.call("DELETE", f"/v2/images/{image['id']}")
    lines = [record.message for record in caplog.records if record.name == "glance.notification"]
    told = [line.split('"event_type": "')[1].split('"')[0] for line in lines]
    assert told == ["image.create", "image.prepare", "image.upload", "image.activate",
                    "image.update", "image.delete"]
    assert all(image["id"] in line and str(tmp_path) not in line for line in lines)
