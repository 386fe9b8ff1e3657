# SPDX-License-Identifier: Apache-2.0
"""What every registry client has to do, in process and over REST alike."""

import uuid

import pytest

from glance import exceptions
from glance.context import RequestContext, service_context
from glance.registry.types import ImageQuery, Usage

ALICE = RequestContext(user_id="alice", project_id="alpha", roles=("member",))
BOB = RequestContext(user_id="bob", project_id="beta", roles=("member",))
ADMIN = RequestContext(user_id="root", project_id="ops", roles=("admin",), is_admin=True)
SERVICE = service_context()


def new(registry, context=ALICE, **values):
    """A queued image of the caller's project."""
    image = {"id": str(uuid.uuid4()), "name": "x", "status": "queued", "visibility": "shared",
             "disk_format": "raw", "container_format": "bare", "owner": context.project_id,
             "min_disk": 0, "min_ram": 0, "protected": False, "os_hidden": False,
             "size": None, "virtual_size": None, "properties": {}, "tags": [], **values}
    return registry.create_image(context, image)


def saving(registry, **values):
    """An image whose upload has begun, with its token."""
    image = new(registry, **values)
    registry.update_image(SERVICE, image["id"], {
        "status": "saving", "upload_token": "t1", "upload_worker": "w", "upload_bytes": 0},
        from_status=("queued",))
    return image


def test_create_get_round_trip(registry):
    image = new(registry, name="Ærø 🚀", properties={"a": "1", "b": ""}, tags=["y", "x", "y"])
    found = registry.get_image(ALICE, image["id"])
    assert found == image
    assert found["name"] == "Ærø 🚀"
    assert found["properties"] == {"a": "1", "b": ""}
    assert found["tags"] == ["x", "y"]
    assert found["version"] == 1
    assert found["created_at"].endswith("Z")
    assert found["locations"] == []


def test_id_is_never_used_twice(registry):
    """G12: not even after the image was deleted, and by nobody."""
    image = new(registry)
    with pytest.raises(exceptions.Duplicate, match="id:"):
        new(registry, id=image["id"])
    registry.delete_image(ALICE, image["id"])
    registry.delete_image(SERVICE, image["id"], final=True)
    with pytest.raises(exceptions.Duplicate):
        new(registry, BOB, id=image["id"])


def test_what_a_project_may_not_see_does_not_exist(registry):
    image = new(registry, visibility="private")
    for call in (lambda: registry.get_image(BOB, image["id"]),
                 lambda: registry.update_image(BOB, image["id"], {"name": "y"}),
                 lambda: registry.delete_image(BOB, image["id"]),
                 lambda: registry.list_members(BOB, image["id"]),
                 lambda: registry.set_tag(BOB, image["id"], "t", True, -1)):
        with pytest.raises(exceptions.NotFound):
            call()
    assert registry.get_image(ADMIN, image["id"])["name"] == "x"


def test_others_see_a_public_image_and_cannot_change_it(registry):
    image = new(registry, ADMIN, visibility="public")
    assert registry.get_image(BOB, image["id"])["id"] == image["id"]
    for call in (lambda: registry.update_image(BOB, image["id"], {"name": "y"}),
                 lambda: registry.delete_image(BOB, image["id"]),
                 lambda: registry.set_tag(BOB, image["id"], "t", True, -1)):
        with pytest.raises(exceptions.Forbidden):
            call()
    assert registry.get_image(ADMIN, image["id"])["version"] == 1


def test_fields_of_the_service_cannot_be_set_by_a_caller(registry):
    """G6: not status, size, hashes or locations, whatever the caller's rights on the image."""
    image = new(registry)
    for values in ({"status": "active"}, {"size": 1}, {"checksum": "0" * 32},
                   {"os_hash_value": "x"}, {"upload_token": "x"},
                   {"locations": [{"store": "file", "url": "file:///etc/passwd"}]}):
        with pytest.raises(exceptions.Forbidden):
            registry.update_image(ALICE, image["id"], values)
    assert registry.get_image(ALICE, image["id"])["version"] == 1


def test_update_merges_or_replaces_properties(registry):
    image = new(registry, properties={"a": "1", "b": "2"})
    merged = registry.update_image(ALICE, image["id"], {"properties": {"b": "3", "c": "4"}})
    assert merged["properties"] == {"a": "1", "b": "3", "c": "4"}
    replaced = registry.update_image(ALICE, image["id"], {"properties": {"d": "5"}},
                                     purge_props=True)
    assert replaced["properties"] == {"d": "5"}


def test_update_on_an_outdated_version_is_a_conflict(registry):
    image = new(registry)
    registry.update_image(ALICE, image["id"], {"name": "first"}, version=1)
    with pytest.raises(exceptions.Conflict, match="changed meanwhile"):
        registry.update_image(ALICE, image["id"], {"name": "second"}, version=1)
    assert registry.get_image(ALICE, image["id"])["name"] == "first"


def test_one_upload_wins(registry):
    image = saving(registry)
    with pytest.raises(exceptions.Conflict, match="saving"):
        registry.update_image(SERVICE, image["id"], {"status": "saving", "upload_token": "t2"},
                              from_status=("queued",))
    with pytest.raises(exceptions.Conflict):
        registry.update_image(SERVICE, image["id"], {"status": "active"}, upload_token="t2",
                              from_status=("saving",))
    place = {"store": "file", "url": "file:///x", "crc32": 4294967295, "metadata": {"a": [1]}}
    done = registry.update_image(
        SERVICE, image["id"], {"status": "active", "size": 7, "locations": [place]},
        upload_token="t1", from_status=("saving",))
    assert (done["status"], done["size"], done["locations"]) == ("active", 7, [place])


def test_tasks(registry):
    ids = [str(uuid.uuid4()) for _ in range(3)]
    for index, task_id in enumerate(ids):
        made = registry.create_task(SERVICE, {
            "id": task_id, "type": "import", "owner": "alpha" if index else "beta",
            "input": {"a": [1]}, "image_id": ids[0], "worker": "w"})
        assert (made["status"], made["input"], made["message"]) == ("pending", {"a": [1]}, "")
    assert registry.update_task(SERVICE, ids[0], {"status": "processing"}, ("pending",))
    assert not registry.update_task(SERVICE, ids[0], {"status": "processing"}, ("pending",))
    assert registry.update_task(SERVICE, ids[0], {
        "status": "success", "result": {"b": 2}, "expires_at": "2999-01-01T00:00:00"})
    found = registry.get_task(SERVICE, ids[0])
    assert (found["result"], found["expires_at"]) == ({"b": 2}, "2999-01-01T00:00:00Z")
    assert not registry.update_task(SERVICE, ids[0], {"status": "processing"})
    with pytest.raises(exceptions.NotFound):
        registry.get_task(ALICE, ids[0])
    assert {task["id"] for task in registry.list_tasks(ALICE)} == set(ids[1:])
    for caller, method, args in ((ALICE, registry.create_task, ({"id": "x", "type": "x"},)),
                                 (ALICE, registry.update_task, (ids[1], {"status": "x"}))):
        with pytest.raises(exceptions.Forbidden):
            method(caller, *args)
    everything = registry.list_tasks(SERVICE, image_id=ids[0], limit=2)
    rest = registry.list_tasks(SERVICE, image_id=ids[0], marker=everything[-1]["id"])
    assert [task["id"] for task in [*everything, *rest]] == [
        task["id"] for task in registry.list_tasks(SERVICE)]
    assert len(registry.list_tasks(SERVICE, statuses=["pending"], kind="import")) == 2
    # finished tasks are forgotten when their time is over
    registry.update_task(SERVICE, ids[1], {"status": "failure",
                                           "expires_at": "2001-01-01T00:00:00"})
    with pytest.raises(exceptions.NotFound):
        registry.get_task(SERVICE, ids[1])


def test_status_moves_only_as_the_table_says(registry):
    """G6, G7: an active image can never be queued, or saved, again."""
    image = saving(registry)
    registry.update_image(SERVICE, image["id"], {"status": "active"}, upload_token="t1")
    for status in ("saving", "killed"):
        with pytest.raises(exceptions.Conflict):
            registry.update_image(SERVICE, image["id"], {"status": status})
    with pytest.raises(exceptions.Conflict):
        registry.update_image(SERVICE, image["id"], {"status": "queued"})


def test_beat_tells_a_deleted_upload(registry):
    image = saving(registry)
    registry.beat(SERVICE, image["id"], "t1", 10)
    [found] = registry.list_transient(SERVICE)
    assert (found["upload_bytes"], found["upload_token"]) == (10, "t1")
    assert 0 <= found["upload_age"] < 30
    with pytest.raises(exceptions.Gone):
        registry.beat(SERVICE, image["id"], "t2", 11)
    registry.delete_image(ALICE, image["id"])
    with pytest.raises(exceptions.Gone):
        registry.beat(SERVICE, image["id"], "t1", 11)


def test_delete_hides_and_final_delete_ends(registry):
    image = saving(registry)
    assert registry.delete_image(ALICE, image["id"])["status"] == "saving"
    with pytest.raises(exceptions.NotFound):
        registry.get_image(ADMIN, image["id"])
    with pytest.raises(exceptions.NotFound):
        registry.delete_image(ALICE, image["id"])
    assert [found["status"] for found in registry.list_transient(SERVICE)] == ["pending_delete"]
    registry.delete_image(SERVICE, image["id"], final=True)
    assert registry.list_transient(SERVICE) == []


def test_callers_cannot_do_the_services_own_calls(registry):
    image = saving(registry)
    for call in (lambda: registry.list_transient(ALICE),
                 lambda: registry.delete_image(ALICE, image["id"], final=True),
                 lambda: registry.usage(BOB, "alpha")):
        with pytest.raises(exceptions.Forbidden):
            call()


def test_protected_image_stays(registry):
    image = new(registry, protected=True)
    for context in (ALICE, ADMIN):
        with pytest.raises(exceptions.Forbidden, match="protected"):
            registry.delete_image(context, image["id"])
    registry.update_image(ALICE, image["id"], {"protected": False})
    registry.delete_image(ALICE, image["id"])


def test_usage_counts_what_travels_and_what_waits_to_be_removed(registry):
    """G2: an upload under way, and data of a deleted image that is still there, take quota."""
    done = saving(registry)
    registry.update_image(SERVICE, done["id"], {"status": "active", "size": 100},
                          upload_token="t1")
    running = saving(registry)
    registry.beat(SERVICE, running["id"], "t1", 11)
    new(registry, BOB, size=None)
    assert registry.usage(ALICE, "alpha") == Usage(images=2, uploads=1, bytes=111)
    registry.delete_image(ALICE, done["id"])
    assert registry.usage(ADMIN, "alpha").bytes == 111
    registry.delete_image(SERVICE, done["id"], final=True)
    assert registry.usage(ALICE, "alpha") == Usage(images=1, uploads=1, bytes=11)


def test_tags(registry):
    image = new(registry, tags=["a"])
    registry.set_tag(ALICE, image["id"], "b/c d", True, 2)
    registry.set_tag(ALICE, image["id"], "b/c d", True, 2)
    assert registry.get_image(ALICE, image["id"])["tags"] == ["a", "b/c d"]
    with pytest.raises(exceptions.LimitExceeded, match="tags: an image may have at most 2"):
        registry.set_tag(ALICE, image["id"], "third", True, 2)
    registry.set_tag(ALICE, image["id"], "a", False, -1)
    with pytest.raises(exceptions.NotFound):
        registry.set_tag(ALICE, image["id"], "a", False, -1)
    assert registry.get_image(ALICE, image["id"])["tags"] == ["b/c d"]


def test_sharing_needs_consent(registry):
    """T21, T22: pending until the member accepts; it can be shown, but is in no list."""
    image = new(registry)
    member = registry.set_member(ALICE, image["id"], "beta")
    assert (member["status"], member["can_share"]) == ("pending", False)
    assert registry.get_image(BOB, image["id"])["id"] == image["id"]
    assert registry.list_images(BOB, ImageQuery()) == []
    assert registry.shared_images(BOB, "beta") == []
    with pytest.raises(exceptions.Forbidden, match="status"):
        registry.set_member(ALICE, image["id"], "beta", status="accepted", create=False)
    registry.set_member(BOB, image["id"], "beta", status="accepted", create=False)
    assert [found["id"] for found in registry.list_images(BOB, ImageQuery())] == [image["id"]]
    assert [found["image_id"] for found in registry.shared_images(BOB, "beta")] == [image["id"]]
    registry.set_member(BOB, image["id"], "beta", status="rejected", create=False)
    assert registry.list_images(BOB, ImageQuery()) == []
    assert len(registry.list_images(BOB, ImageQuery(member_status="rejected"))) == 1
    registry.delete_member(ALICE, image["id"], "beta")
    with pytest.raises(exceptions.NotFound):
        registry.get_image(BOB, image["id"])


def test_members_see_only_themselves_and_share_only_if_allowed(registry):
    """G16: a member neither lists other members nor adds some, unless it was given can_share."""
    image = new(registry)
    registry.set_member(ALICE, image["id"], "beta")
    registry.set_member(ALICE, image["id"], "gamma")
    assert [member["member"] for member in registry.list_members(BOB, image["id"])] == ["beta"]
    for call in (lambda: registry.set_member(BOB, image["id"], "delta"),
                 lambda: registry.set_member(BOB, image["id"], "beta", can_share=True),
                 lambda: registry.delete_member(BOB, image["id"], "gamma"),
                 lambda: registry.replace_members(BOB, image["id"], [])):
        with pytest.raises(exceptions.Forbidden):
            call()
    registry.set_member(ALICE, image["id"], "beta", can_share=True)
    registry.set_member(BOB, image["id"], "delta")
    assert len(registry.list_members(ALICE, image["id"])) == 3


def test_replace_members_keeps_what_was_accepted(registry):
    image = new(registry)
    registry.set_member(ALICE, image["id"], "beta")
    registry.set_member(ALICE, image["id"], "gamma")
    registry.set_member(BOB, image["id"], "beta", status="accepted", create=False)
    registry.replace_members(ALICE, image["id"], [{"member": "beta", "can_share": True},
                                                  {"member": "delta"}])
    found = {member["member"]: (member["status"], member["can_share"])
             for member in registry.list_members(ALICE, image["id"])}
    assert found == {"beta": ("accepted", True), "delta": ("pending", False)}
    with pytest.raises(exceptions.LimitExceeded):
        registry.replace_members(ALICE, image["id"], [{"member": str(n)} for n in range(3)],
                                 limit=2)
    with pytest.raises(exceptions.LimitExceeded):
        registry.set_member(ALICE, image["id"], "zeta", limit=2)


def test_listing_shows_each_what_is_its_own(registry):
    own = {name: new(registry, visibility=name)["id"]
           for name in ("private", "shared", "community")}
    public = new(registry, ADMIN, visibility="public")["id"]

    def ids(context, **query):
        return {image["id"] for image in registry.list_images(context, ImageQuery(**query))}

    assert ids(ALICE) == {*own.values(), public}
    assert ids(BOB) == {public}
    assert ids(BOB, visibility="community") == {own["community"]}
    assert ids(BOB, visibility="all") == {public, own["community"]}
    assert ids(BOB, visibility="private") == set()
    assert ids(ADMIN) == {own["private"], own["shared"], public}
    assert ids(ADMIN, visibility="all") == {*own.values(), public}
    assert ids(ADMIN, visibility="private") == {own["private"]}


@pytest.mark.parametrize("filters, expected", [
    ([("name", "eq", "b")], "b"), ([("name", "neq", "b")], "ac"),
    ([("name", "in", ["a", "c", "zz"])], "ac"),
    ([("size", "gte", 2)], "bc"), ([("size", "lt", 2)], "a"),
    ([("size", "gt", 1), ("size", "lte", 2)], "b"),
    ([("property:os", "eq", "linux")], "ab"), ([("property:os", "eq", "none")], ""),
    ([("tag", "eq", "t1")], "ac"), ([("tag", "eq", "t1"), ("tag", "eq", "t2")], "c"),
    ([("protected", "eq", True)], "c"), ([("os_hidden", "eq", False)], "abc"),
    ([("created_at", "gte", "2000-01-01T00:00:00Z")], "abc"),
    ([("created_at", "lt", "2000-01-01T00:00:00Z")], ""),
    ([("created_at", "eq", "2000-01-01T00:00:00Z")], ""),
    ([("created_at", "neq", "2000-01-01T00:00:00Z")], "abc"),
])
def test_filters(registry, filters, expected):
    new(registry, ADMIN, name="a", size=1, properties={"os": "linux"}, tags=["t1"])
    new(registry, ADMIN, name="b", size=2, properties={"os": "linux"})
    new(registry, ADMIN, name="c", size=3, protected=True, tags=["t1", "t2"])
    found = registry.list_images(ADMIN, ImageQuery(filters=tuple(filters),
                                                   sort=(("name", "asc"),)))
    assert "".join(image["name"] for image in found) == expected


@pytest.mark.parametrize("sort", [
    (("name", "asc"),), (("name", "desc"), ("size", "asc")), (("size", "asc"),),
    (("created_at", "desc"),), (("id", "asc"),), (("disk_format", "desc"), ("id", "desc"))])
def test_paging_visits_everything_once(registry, sort):
    """Also with equal and missing values in the sort keys."""
    for number in range(7):
        new(registry, ADMIN, name=[None, "a", "b"][number % 3],
            size=[None, 5][number % 2], disk_format=[None, "raw"][number % 2])
    whole = [image["id"] for image in registry.list_images(ADMIN, ImageQuery(sort=sort))]
    assert len(whole) == 7
    paged, marker = [], None
    while True:
        page = registry.list_images(ADMIN, ImageQuery(sort=sort, marker=marker, limit=2))
        paged += [image["id"] for image in page]
        if len(page) < 2:
            break
        marker = page[-1]["id"]
    assert paged == whole


def test_marker_the_caller_may_not_see_is_refused(registry):
    hidden = new(registry, visibility="private")["id"]
    with pytest.raises(exceptions.Invalid, match="marker"):
        registry.list_images(BOB, ImageQuery(marker=hidden))
