# SPDX-License-Identifier: Apache-2.0
"""Tags of instances, which are their metadata: Create-, Delete- and DescribeTags.

The tag Name is the server's name.
"""

from typing import Any

from nova import exception
from nova.api.ec2 import listing
from nova.api.ec2.actions import Call, action
from nova.api.ec2.errors import invalid, unsupported
from nova.api.ec2.instances import one_of
from nova.api.ec2.instances_view import tags_of
from nova.api.ec2.lifecycle import key_of, value_of
from nova.db import ec2_ids, instances
from nova.db.models import Instance


def _resources(call: Call) -> list[Instance]:
    """Return the instances a request is about, all found before anything is done."""
    for one in call.params["Resources"]:
        if not one.startswith("i-"):
            raise unsupported(f"Tagging {ascii(one[:64])}, which is not an instance,")
    return [one_of(call, one) for one in call.params["Resources"]]


@action("CreateTags", policy="compute:server_metadata:change", takes=("Resources", "Tags"))
def create_tags(call: Call) -> None:
    wanted = {key_of(tag): value_of(tag) for tag in call.params["Tags"]}
    name = wanted.pop("Name", None)
    if name == "":
        raise invalid("Tag.Value", name, "A server has a name.")
    for row in _resources(call):
        if name is not None:
            call.compute.update(call.context, row.id, {"display_name": name})
        if wanted:
            call.compute.add_metadata(call.context, row.id, wanted)


@action("DeleteTags", policy="compute:server_metadata:change", takes=("Resources", "Tags"))
def delete_tags(call: Call) -> None:
    rows, tags = _resources(call), call.params.get("Tags")
    for row in rows:
        there = row.metadata_ or {}
        for tag in ([{"Key": key} for key in there] if tags is None else tags):
            key, value = tag.get("Key", ""), tag.get("Value")
            if key in there and value in (None, there[key]):
                try:
                    call.compute.delete_metadata(call.context, row.id, key)
                except exception.InstanceNotFound:
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
    rows = instances.get_all({"project_id": call.project_id})
    ids = ec2_ids.ids_of("i", [row.id for row in rows])
    found = [{"ResourceId": ids[row.id], "ResourceType": "instance", "Key": key, "Value": value}
             for row in rows for key, value in tags_of(row).items()]
    shown, token = listing.page([one for one in found if filters.met(one)], call.params,
                                lambda one: f"{one['ResourceId']}|{one['Key']}")
    return {"Tags": shown, "NextToken": token}
