# SPDX-License-Identifier: Apache-2.0
"""Tags, which are metadata: Create-, Delete- and DescribeTags of instances, volumes, snapshots.

The tag Name is the thing's name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nova import exception, policy
from nova.api.ec2 import listing, volumes
from nova.api.ec2.actions import Call, action
from nova.api.ec2.errors import invalid, unsupported
from nova.api.ec2.instances import one_of
from nova.api.ec2.instances_view import tags_of
from nova.api.ec2.snapshots import snapshot_of
from nova.api.ec2.tagging import key_of, value_of
from nova.db import ec2_ids, instances, volume_snapshots
from nova.db import volumes as volume_rows


@dataclass(frozen=True)
class Kind:
    """How one kind of thing is found and how its metadata is changed."""

    name: str
    rules: str                                              # of the policy: change and list
    find: Callable[[Call, str], Any]
    all: Callable[[str], list[Any]]                         # of a project
    tags: Callable[[Any], dict[str, str]]
    rename: Callable[[Call, str, str | None], Any]
    add: Callable[[Call, str, Mapping[str, str]], Any]
    remove: Callable[[Call, str, str], Any]


def _rename_instance(call: Call, row_id: str, name: str | None) -> None:
    if not name:
        raise invalid("Tag.Value", name, "A server has a name.")
    call.compute.update(call.context, row_id, {"display_name": name})


KINDS = {
    "i": Kind(
        "instance", "compute:server_metadata", one_of,
        lambda project: instances.get_all({"project_id": project}), tags_of, _rename_instance,
        lambda call, row_id, tags: call.compute.add_metadata(call.context, row_id, tags),
        lambda call, row_id, key: call.compute.delete_metadata(call.context, row_id, key)),
    "vol": Kind(
        "volume", "volume:volume_metadata", volumes.own,
        lambda project: volume_rows.get_all({"project_id": project}), volumes.tags_of,
        lambda call, row_id, name: call.compute.volumes.update(
            call.context, row_id, {"name": name}),
        lambda call, row_id, tags: call.compute.volumes.add_metadata(call.context, row_id, tags),
        lambda call, row_id, key: call.compute.volumes.delete_metadata(
            call.context, row_id, key)),
    "snap": Kind(
        "snapshot", "volume:snapshot_metadata", snapshot_of,
        lambda project: volume_snapshots.get_all({"project_id": project}), volumes.tags_of,
        lambda call, row_id, name: call.compute.volumes.update_snapshot(
            call.context, row_id, {"name": name}),
        lambda call, row_id, tags: call.compute.volumes.add_snapshot_metadata(
            call.context, row_id, tags),
        lambda call, row_id, key: call.compute.volumes.delete_snapshot_metadata(
            call.context, row_id, key)),
}


def _resources(call: Call) -> list[tuple[Kind, Any]]:
    """Return the things a request is about, all found and allowed before anything is done."""
    found = []
    for one in call.params["Resources"]:
        kind = KINDS.get(one.partition("-")[0])
        if kind is None:
            raise unsupported(f"Tagging {ascii(one[:64])}, which is no instance, volume or "
                              "snapshot,")
        policy.authorize(call.context, f"{kind.rules}:change")
        found.append((kind, kind.find(call, one)))
    return found


@action("CreateTags", policy="compute:server_metadata:change", takes=("Resources", "Tags"))
def create_tags(call: Call) -> None:
    wanted = {key_of(tag): value_of(tag) for tag in call.params["Tags"]}
    named = "Name" in wanted
    name = wanted.pop("Name", None)
    for kind, row in _resources(call):
        if named:
            kind.rename(call, row.id, name)
        if wanted:
            kind.add(call, row.id, wanted)


@action("DeleteTags", policy="compute:server_metadata:change", takes=("Resources", "Tags"))
def delete_tags(call: Call) -> None:
    tags = call.params.get("Tags")
    for kind, row in _resources(call):
        there = row.metadata_ or {}
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
        if not policy.allows(call.context, f"{kind.rules}:list"):
            continue
        rows = kind.all(call.project_id)
        ids = ec2_ids.ids_of(prefix, [row.id for row in rows])
        found += [{"ResourceId": ids[row.id], "ResourceType": kind.name, "Key": key,
                   "Value": value} for row in rows for key, value in kind.tags(row).items()]
    shown, token = listing.page([one for one in found if filters.met(one)], call.params,
                                lambda one: f"{one['ResourceId']}|{one['Key']}")
    return {"Tags": shown, "NextToken": token}
