# SPDX-License-Identifier: Apache-2.0
"""Tags: Create-, Delete- and DescribeTags.

Of instances, volumes and snapshots they are their metadata, and the tag Name is the thing's name;
security groups, addresses and key pairs have tags of their own.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nova import exception, policy, quota
from nova.api.ec2 import listing, volumes
from nova.api.ec2.actions import Call, action
from nova.api.ec2.errors import invalid, unsupported
from nova.api.ec2.instances import one_of
from nova.api.ec2.instances_view import tags_of
from nova.api.ec2.keypairs import key_id
from nova.api.ec2.snapshots import snapshot_of
from nova.api.ec2.tagging import key_of, value_of
from nova.db import (
    ec2_ids,
    ec2_tags,
    floating_ips,
    instances,
    keypairs,
    security_groups,
    volume_snapshots,
)
from nova.db import volumes as volume_rows
from nova.db.models import FloatingIp, KeyPair, SecurityGroup


@dataclass(frozen=True)
class Kind:
    """How one kind of thing is found and how its metadata is changed."""

    name: str
    rules: tuple[str, str]                                  # of the policy: to change, to list
    find: Callable[[Call, str], Any]
    all: Callable[[Call], list[Any]]                        # of a project
    tags: Callable[[Any], dict[str, str]]
    add: Callable[[Call, str, Mapping[str, str]], Any]
    remove: Callable[[Call, str, str], Any]
    rename: Callable[[Call, str, str | None], Any] | None = None    # None: Name is as any other
    ids: Callable[[Any], dict[Any, str]] | None = None              # None: as the prefix's are


def _rename_instance(call: Call, row_id: str, name: str | None) -> None:
    if not name:
        raise invalid("Tag.Value", name, "A server has a name.")
    call.compute.update(call.context, row_id, {"display_name": name})


def _own_tags(name: str, rules: tuple[str, str], prefix: str, model: type[Any],
              rows: Callable[[Call], list[Any]], owner: Callable[[Call], str]) -> Kind:
    """Return the kind of what has tags in its row."""
    ids = _key_ids if model is KeyPair else functools.partial(ec2_ids.ids_of, prefix)

    def find(call: Call, ec2_id: str) -> Any:
        there = rows(call)
        shown = ids([row.id for row in there])
        for row in there:
            if shown[row.id] == ec2_id:
                return row
        raise listing.not_found(prefix, [ec2_id])

    def change(call: Call, row_id: Any, new: Callable[[dict[str, str]], dict[str, str]]) -> None:
        limit = quota.limits(call.project_id)["metadata_items"]

        def checked(old: dict[str, str]) -> dict[str, str]:
            tags = new(old)
            quota.check_count("metadata_items", len(tags), limit)
            return tags
        if row_id == security_groups.default_id(call.project_id):
            security_groups.ensure_default(call.project_id)
        if ec2_tags.change(model, row_id, owner(call), checked) is None:
            raise listing.not_found(prefix, ids([row_id]).values())

    return Kind(name, rules, find, rows, lambda row: dict(row.tags or {}),
                lambda call, row_id, tags: change(call, row_id, lambda old: {**old, **tags}),
                lambda call, row_id, key: change(call, row_id, lambda old: {
                    one: value for one, value in old.items() if one != key}), ids=ids)


def _key_ids(numbers: Sequence[int]) -> dict[int, str]:
    return {number: key_id(number) for number in numbers}


def _groups(call: Call) -> list[Any]:
    return [view.group for view in security_groups.find(call.project_id)]


KINDS = {
    "i": Kind(
        "instance", ("compute:server_metadata:change", "compute:server_metadata:list"), one_of,
        lambda call: instances.get_all({"project_id": call.project_id}), tags_of,
        lambda call, row_id, tags: call.compute.add_metadata(call.context, row_id, tags),
        lambda call, row_id, key: call.compute.delete_metadata(call.context, row_id, key),
        _rename_instance),
    "vol": Kind(
        "volume", ("volume:volume_metadata:change", "volume:volume_metadata:list"), volumes.own,
        lambda call: volume_rows.get_all({"project_id": call.project_id}), volumes.tags_of,
        lambda call, row_id, tags: call.compute.volumes.add_metadata(call.context, row_id, tags),
        lambda call, row_id, key: call.compute.volumes.delete_metadata(
            call.context, row_id, key),
        lambda call, row_id, name: call.compute.volumes.update(
            call.context, row_id, {"name": name})),
    "snap": Kind(
        "snapshot", ("volume:snapshot_metadata:change", "volume:snapshot_metadata:list"),
        snapshot_of, lambda call: volume_snapshots.get_all({"project_id": call.project_id}),
        volumes.tags_of,
        lambda call, row_id, tags: call.compute.volumes.add_snapshot_metadata(
            call.context, row_id, tags),
        lambda call, row_id, key: call.compute.volumes.delete_snapshot_metadata(
            call.context, row_id, key),
        lambda call, row_id, name: call.compute.volumes.update_snapshot(
            call.context, row_id, {"name": name})),
    "sg": _own_tags(
        "security-group", ("network:security_groups:update", "network:security_groups:list"),
        "sg", SecurityGroup, _groups, lambda call: call.project_id),
    "eipalloc": _own_tags(
        "elastic-ip", ("network:floatingips:update", "network:floatingips:list"), "eipalloc",
        FloatingIp, lambda call: floating_ips.find(call.project_id),
        lambda call: call.project_id),
    "key": _own_tags(
        "key-pair", ("compute:keypairs:create", "compute:keypairs:list"), "key", KeyPair,
        lambda call: keypairs.get_all(call.context.user_id or ""),
        lambda call: call.context.user_id or ""),
}


def _resources(call: Call) -> list[tuple[Kind, Any]]:
    """Return the things a request is about, all found and allowed before anything is done."""
    found = []
    for one in call.params["Resources"]:
        kind = KINDS.get(one.partition("-")[0])
        if kind is None:
            raise unsupported(f"Tagging {ascii(one[:64])}, which is none of "
                              f"{', '.join(kind.name for kind in KINDS.values())},")
        policy.authorize(call.context, kind.rules[0])
        found.append((kind, kind.find(call, one)))
    return found


@action("CreateTags", policy="compute:server_metadata:change", takes=("Resources", "Tags"))
def create_tags(call: Call) -> None:
    wanted = {key_of(tag): value_of(tag) for tag in call.params["Tags"]}
    for kind, row in _resources(call):
        rest = dict(wanted)
        if kind.rename is not None and "Name" in rest:
            kind.rename(call, row.id, rest.pop("Name"))
        if rest:
            kind.add(call, row.id, rest)


@action("DeleteTags", policy="compute:server_metadata:change", takes=("Resources", "Tags"))
def delete_tags(call: Call) -> None:
    tags = call.params.get("Tags")
    for kind, row in _resources(call):
        there = (row.metadata_ if kind.rename is not None else row.tags) or {}
        for tag in ([{"Key": key} for key in there] if tags is None else tags):
            key, value = tag.get("Key", ""), tag.get("Value")
            if key in there and value in (None, there[key]):
                try:
                    kind.remove(call, row.id, key)
                except (exception.InstanceNotFound, exception.VolumeNotFound,
                        exception.SnapshotNotFound):
                    raise
                except exception.NotFound:      # gone meanwhile, which is what was wanted
                    pass


@action("DescribeTags", policy="compute:server_metadata:list",
        takes=("Filters", "MaxResults", "NextToken"))
def describe_tags(call: Call) -> dict[str, Any]:
    filters = listing.Filters(call.params.get("Filters"), {
        "key": lambda one: one["Key"], "value": lambda one: one["Value"],
        "resource-id": lambda one: one["ResourceId"],
        "resource-type": lambda one: one["ResourceType"],
        "tags": lambda one: {one["Key"]: one["Value"]}})
    found = []
    for prefix, kind in KINDS.items():
        if not policy.allows(call.context, kind.rules[1]):
            continue
        rows = kind.all(call)
        ids = (kind.ids or functools.partial(ec2_ids.ids_of, prefix))([row.id for row in rows])
        found += [{"ResourceId": ids[row.id], "ResourceType": kind.name, "Key": key,
                   "Value": value} for row in rows for key, value in kind.tags(row).items()]
    shown, token = listing.page([one for one in found if filters.met(one)], call.params,
                                lambda one: f"{one['ResourceId']}|{one['Key']}")
    return {"Tags": shown, "NextToken": token}
