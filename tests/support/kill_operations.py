# SPDX-License-Identifier: Apache-2.0
"""What the kill matrix does to a cloud: the operations, and where each may end.

A new operation is one row of :data:`OPERATIONS`.  Which points it passes, and so how many cases
it has, is found out by doing it once; :func:`uncovered` says which tasks of the tables of states
no operation passes.
"""

import http.client
import itertools
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nova.compute.states import TASKS
from nova.db import floating_ips, services, volume_snapshots, volumes
from nova.network.states import FLOATING_TASKS
from nova.volume.states import SNAPSHOT_TASKS, VOLUME_TASKS

GONE, ACTIVE, STOPPED, LED, FREE = "gone", "active", "stopped", "led", "free"
AVAILABLE, IN_USE = "available", "in-use"
SETTLE = 60.0       # seconds an operation nobody disturbs may take
_numbers = itertools.count(1)


@dataclass
class Subject:
    """The server (and floating address) of one case."""

    name: str
    id: str | None = None
    floating_id: str | None = None
    address: str | None = None
    volume_id: str | None = None
    snapshot_id: str | None = None


@dataclass(frozen=True)
class Operation:
    """One thing a user does.  ``before`` and ``after`` are the states of its subject."""

    prepare: Callable[[Any, Subject], None]
    act: Callable[[Any, Subject], tuple[int, Any]]
    state: Callable[[Any, Subject], str]
    before: str
    after: str


def subject():
    """Return a subject nothing has been done for."""
    return Subject(f"case-{next(_numbers)}")


# -- states ------------------------------------------------------------------------------------

def server_state(cloud, one):
    row = cloud.row(one.name)
    if row is None:
        return GONE
    return row.task_state or row.vm_state


def floating_state(cloud, one):
    [row] = floating_ips.find(ids=[one.floating_id])
    if row.port_id is None and row.host is None:
        return FREE
    return LED if row.port_id and row.host == "net" else f"port {row.port_id} on {row.host}"


def freed(cloud, one):
    """State of a deletion that has to free a floating address as well."""
    server, floating = server_state(cloud, one), floating_state(cloud, one)
    return {(GONE, FREE): GONE, (ACTIVE, LED): ACTIVE}.get((server, floating),
                                                           f"{server}, {floating}")


def volume_state(cloud, one):
    found = volumes.get_all({"name": one.name})
    assert len(found) < 2, f"{one.name} is there twice"
    return found[0].status if found else GONE


def size_state(cloud, one):
    """State of a volume that is made larger."""
    [row] = volumes.get_all({"name": one.name})
    return f"{row.status} {row.size_gb}"


def copy_state(cloud, one):
    found = volumes.get_all({"name": f"{one.name}-copy"})
    assert len(found) < 2, f"{one.name} was copied twice"
    return found[0].status if found else GONE


def with_root(cloud, one):
    """State of a server whose root disk is a volume that comes and goes with it."""
    server = server_state(cloud, one)
    roots = [row.status for row in volumes.get_all() if row.image_id]
    return {(GONE, ()): GONE, (ACTIVE, (IN_USE,)): ACTIVE}.get(
        (server, tuple(roots)), f"{server}, {roots}")


def detached(cloud, one):
    """State of a deletion that has to free a volume as well."""
    server, volume = server_state(cloud, one), volume_state(cloud, one)
    return {(GONE, AVAILABLE): GONE, (ACTIVE, IN_USE): ACTIVE}.get(
        (server, volume), f"{server}, {volume}")


def placed_state(cloud, one):
    row = cloud.row(one.name)
    return f"{row.task_state or row.vm_state} on {row.host}"


def given_state(cloud, one):
    """State of a floating address that is given back while it leads somewhere."""
    [row] = floating_ips.find(ids=[one.floating_id], allocated=None)
    if row.project_id is None:
        return GONE if row.host is None else f"nobody's on {row.host}"
    return floating_state(cloud, one)


def snapshot_state(cloud, one):
    found = volume_snapshots.get_all({"volume_id": one.volume_id})
    return found[0].status if found else GONE


# -- what is asked -----------------------------------------------------------------------------

def create(cloud, one):
    status, answer = cloud.ask("POST", "/servers", {"server": {
        "name": one.name, "imageRef": cloud.image, "flavorRef": "1"}})
    if status == 202:
        one.id = answer["server"]["id"]
    return status, answer


def delete(cloud, one):
    return cloud.ask("DELETE", f"/servers/{one.id}")


def action(name, body=None):
    return lambda cloud, one: cloud.ask("POST", f"/servers/{one.id}/action", {name: body})


def associate(cloud, one):
    return cloud.ask("POST", f"/servers/{one.id}/action",
                     {"addFloatingIp": {"address": one.address}})


def disassociate(cloud, one):
    return cloud.ask("POST", f"/servers/{one.id}/action",
                     {"removeFloatingIp": {"address": one.address}})


def volume_api(cloud, method, path, body=None):
    port = cloud.values["volume_port"]
    return cloud.ask(method, f"http://127.0.0.1:{port}/v3/p{path}", body)


def create_volume(cloud, one):
    status, answer = volume_api(cloud, "POST", "/volumes", {"volume": {
        "name": one.name, "size": 1}})
    if status == 202:
        one.volume_id = answer["volume"]["id"]
    return status, answer


def delete_volume(cloud, one):
    return volume_api(cloud, "DELETE", f"/volumes/{one.volume_id}")


def create_snapshot(cloud, one):
    status, answer = volume_api(cloud, "POST", "/snapshots", {"snapshot": {
        "name": one.name, "volume_id": one.volume_id}})
    if status == 202:
        one.snapshot_id = answer["snapshot"]["id"]
    return status, answer


def delete_snapshot(cloud, one):
    return volume_api(cloud, "DELETE", f"/snapshots/{one.snapshot_id}")


def extend(cloud, one):
    return volume_api(cloud, "POST", f"/volumes/{one.volume_id}/action",
                      {"os-extend": {"new_size": 2}})


def clone(cloud, one):
    return volume_api(cloud, "POST", "/volumes", {"volume": {
        "name": f"{one.name}-copy", "source_volid": one.volume_id}})


def boot_from_volume(cloud, one):
    """Boot from a volume that is made of the image and goes with its server."""
    status, answer = cloud.ask("POST", "/servers", {"server": {
        "name": one.name, "flavorRef": "1", "block_device_mapping_v2": [{
            "boot_index": 0, "source_type": "image", "destination_type": "volume",
            "uuid": cloud.image, "volume_size": 1, "delete_on_termination": True}]}})
    if status == 202:
        one.id = answer["server"]["id"]
    return status, answer


def evacuate(cloud, one):
    return cloud.ask("POST", f"/servers/{one.id}/action", {"evacuate": {}})


def release(cloud, one):
    return cloud.ask("DELETE", f"/os-floating-ips/{one.floating_id}")


def attach(cloud, one):
    return cloud.ask("POST", f"/servers/{one.id}/os-volume_attachments",
                     {"volumeAttachment": {"volumeId": one.volume_id}})


def detach(cloud, one):
    return cloud.ask("DELETE", f"/servers/{one.id}/os-volume_attachments/{one.volume_id}")


# -- what is there before ----------------------------------------------------------------------

def must(cloud, one, act, state, wanted):
    status, answer = act(cloud, one)
    assert status < 300, answer
    assert cloud.wait_until(lambda: state(cloud, one) == wanted, SETTLE), state(cloud, one)


def nothing(cloud, one):
    pass


def refusing(cloud, one):
    """The first host refuses."""
    cloud.driver("c1").set_knobs(spawn_error="HypervisorError", spawn_leaves_remains=True)


def booted(cloud, one):
    must(cloud, one, create, server_state, ACTIVE)


def stopped(cloud, one):
    booted(cloud, one)
    must(cloud, one, action("os-stop"), server_state, STOPPED)


def with_floating(cloud, one):
    booted(cloud, one)
    status, answer = cloud.ask("POST", "/os-floating-ips", {"pool": "public"})
    assert status == 200, answer
    one.floating_id, one.address = answer["floating_ip"]["id"], answer["floating_ip"]["ip"]


def led(cloud, one):
    with_floating(cloud, one)
    must(cloud, one, associate, floating_state, LED)


def with_volume(cloud, one):
    must(cloud, one, create_volume, volume_state, AVAILABLE)


def with_snapshot(cloud, one):
    with_volume(cloud, one)
    must(cloud, one, create_snapshot, snapshot_state, AVAILABLE)


def with_both(cloud, one):
    booted(cloud, one)
    with_volume(cloud, one)


def attached(cloud, one):
    with_both(cloud, one)
    must(cloud, one, attach, volume_state, IN_USE)


def booted_from_volume(cloud, one):
    must(cloud, one, boot_from_volume, with_root, ACTIVE)


def left_by_its_host(cloud, one):
    """The server's host counts as down, although its worker runs: it may still do things."""
    booted(cloud, one)
    force_down(True)


def force_down(down):
    [service] = services.get_all(host="c1", topic="compute")
    services.change(service.id, forced_down=down)


OPERATIONS = {
    "create": Operation(nothing, create, server_state, GONE, ACTIVE),
    "create-refused": Operation(refusing, create, server_state, GONE, ACTIVE),
    "delete": Operation(booted, delete, server_state, ACTIVE, GONE),
    "delete-led": Operation(led, delete, freed, ACTIVE, GONE),
    "stop": Operation(booted, action("os-stop"), server_state, ACTIVE, STOPPED),
    "start": Operation(stopped, action("os-start"), server_state, STOPPED, ACTIVE),
    "reboot": Operation(booted, action("reboot", {"type": "SOFT"}), server_state, ACTIVE, ACTIVE),
    "reboot-hard": Operation(booted, action("reboot", {"type": "HARD"}), server_state, ACTIVE,
                             ACTIVE),
    "associate": Operation(with_floating, associate, floating_state, FREE, LED),
    "disassociate": Operation(led, disassociate, floating_state, LED, FREE),
    "release": Operation(led, release, given_state, LED, GONE),
    "evacuate": Operation(left_by_its_host, evacuate, placed_state, "active on c1",
                          "active on c2"),
    "boot-from-volume": Operation(nothing, boot_from_volume, with_root, GONE, ACTIVE),
    "delete-booted-from-volume": Operation(booted_from_volume, delete, with_root, ACTIVE, GONE),
    "delete-attached": Operation(attached, delete, detached, ACTIVE, GONE),
    "volume-create": Operation(nothing, create_volume, volume_state, GONE, AVAILABLE),
    "volume-delete": Operation(with_volume, delete_volume, volume_state, AVAILABLE, GONE),
    "volume-extend": Operation(with_volume, extend, size_state, "available 1", "available 2"),
    "volume-clone": Operation(with_volume, clone, copy_state, GONE, AVAILABLE),
    "snapshot-create": Operation(with_volume, create_snapshot, snapshot_state, GONE, AVAILABLE),
    "snapshot-delete": Operation(with_snapshot, delete_snapshot, snapshot_state, AVAILABLE, GONE),
    "attach": Operation(with_both, attach, volume_state, AVAILABLE, IN_USE),
    "detach": Operation(attached, detach, volume_state, IN_USE, AVAILABLE),
}


def attempt(operation, cloud, one):
    """Do it; return the status, or None when the answer never came."""
    try:
        return operation.act(cloud, one)[0]
    except (OSError, http.client.HTTPException, urllib.error.URLError):
        return None


def clean(cloud, one):
    """Remove what is left of a case, and wait until it is gone."""
    cloud.driver("c1").set_knobs()
    force_down(False)
    row = cloud.row(one.name)
    if row is not None:
        one.id = row.id
        must(cloud, one, delete, server_state, GONE)
    for row in volume_snapshots.get_all({"name": one.name}):
        one.volume_id, one.snapshot_id = row.volume_id, row.id
        must(cloud, one, delete_snapshot, snapshot_state, GONE)
    for name, state in ((f"{one.name}-copy", copy_state), (one.name, volume_state)):
        for volume in volumes.get_all({"name": name}):
            one.volume_id = volume.id
            must(cloud, one, delete_volume, state, GONE)
    if one.floating_id is not None and floating_ips.find(ids=[one.floating_id]):
        status, answer = cloud.ask("DELETE", f"/os-floating-ips/{one.floating_id}")
        assert status < 300, answer


def uncovered(traces):
    """Return the states in between, of every table, that none of the traces passes.

    Those of attachments are their volumes', which move with them.
    """
    passed = {point.partition(":")[0] for trace in traces for _daemon, point, _number in trace}
    tables = {"": TASKS, "volume-": VOLUME_TASKS, "snapshot-": SNAPSHOT_TASKS,
              "floating-": FLOATING_TASKS}
    return sorted(f"{kind}{state}" for kind, table in tables.items() for state in table
                  if f"to-{kind}{state}" not in passed)
