# SPDX-License-Identifier: Apache-2.0
"""What bodies of server requests may look like."""

from typing import Any

from nova.api.openstack.compute.block_devices import MAPPING_V1, MAPPING_V2
from nova.api.openstack.validation import (
    BOOLEAN,
    METADATA,
    NAME,
    NOTHING,
    UUID,
    Schema,
    integer,
    obj,
    string,
)

IMAGE_REF = string(255)
_NULL: dict[str, Any] = {"type": "null"}
_ACCESS_V4 = {"anyOf": [{"type": "string", "format": "ipv4"}, {"const": ""}, _NULL]}
_ACCESS_V6 = {"anyOf": [{"type": "string", "format": "ipv6"}, {"const": ""}, _NULL]}
_UUID_OR_NULL = {"anyOf": [UUID, _NULL]}
_HINT_IDS = {"anyOf": [UUID, {"type": "array", "items": UUID, "maxItems": 64}]}
DISK_CONFIG = {"enum": ["AUTO", "MANUAL"]}

NETWORKS = {"anyOf": [
    {"enum": ["auto", "none"]},
    {"type": "array", "maxItems": 32, "items": obj({
        "uuid": UUID, "port": _UUID_OR_NULL,
        "fixed_ip": {"type": "string", "format": "ip"}, "tag": string(60)})},
]}

_SERVER = {
    "name": NAME, "description": {"anyOf": [string(255), _NULL]},
    "imageRef": IMAGE_REF,
    "flavorRef": {"anyOf": [string(255, 1), integer(0)]},
    "adminPass": string(255), "metadata": METADATA,
    "networks": NETWORKS,
    "OS-DCF:diskConfig": DISK_CONFIG, "accessIPv4": _ACCESS_V4, "accessIPv6": _ACCESS_V6,
    "personality": {"type": "array", "maxItems": 64}, "key_name": string(255),
    "security_groups": {"type": "array", "maxItems": 64, "items": obj(
        {"name": string(255, 1)}, ("name",), more=True)},
    "user_data": {"anyOf": [string(65535, format="base64"), _NULL]},
    "config_drive": {"anyOf": [BOOLEAN, {"const": ""}, _NULL]},
    "availability_zone": {"anyOf": [string(255), _NULL]},
    "min_count": integer(1), "max_count": integer(1), "return_reservation_id": BOOLEAN,
    "block_device_mapping": MAPPING_V1, "block_device_mapping_v2": MAPPING_V2,
    "os:scheduler_hints": {"type": "object"},
}
_HINTS = {
    "type": "object", "maxProperties": 32, "additionalProperties": True,
    "properties": {"same_host": _HINT_IDS, "different_host": _HINT_IDS, "group": UUID}}

CREATE = Schema(obj({
    "server": {**obj(_SERVER, ("name", "flavorRef")),
               "properties": {**_SERVER, "os:scheduler_hints": _HINTS}},
    "os:scheduler_hints": _HINTS, "OS-SCH-HNT:scheduler_hints": _HINTS,
}, ("server",)))

UPDATE = Schema(obj({"server": obj({
    "name": NAME, "OS-DCF:diskConfig": DISK_CONFIG,
    "accessIPv4": _ACCESS_V4, "accessIPv6": _ACCESS_V6,
}, minProperties=1)}, ("server",)))

REBOOT = Schema(obj({"type": {"enum": ["HARD", "Hard", "hard", "SOFT", "Soft", "soft"]}},
                    ("type",)))
EVACUATE = Schema(obj({"host": {"anyOf": [string(255, 1), _NULL]}, "onSharedStorage": BOOLEAN,
                       "adminPass": string(255), "force": BOOLEAN}))
RESET_STATE = Schema(obj({"state": {"enum": ["active", "error"]}}, ("state",)))
CONSOLE = Schema(obj({"length": {
    "type": ["integer", "string", "null"], "pattern": r"^-?[0-9]{1,10}\Z",
    "minimum": -1, "maximum": 2**31 - 1}}))
GROUP = Schema(obj({"name": string(255, 1, format="stripped-name")}, ("name",)))
FLOATING_IP = Schema(obj({
    "address": {"type": "string", "format": "ip"},
    "fixed_address": {"anyOf": [{"type": "string", "format": "ip"}, _NULL]},
}, ("address",)))
FLOATING_IP_GONE = Schema(obj({"address": {"type": "string", "format": "ip"}}, ("address",)))
ANYTHING_OR_NOTHING = Schema({"anyOf": [NOTHING, {"type": "string", "maxLength": 255}]})

METADATA_BODY = Schema(obj({"metadata": METADATA}, ("metadata",)))
META_ITEM = Schema(obj({"meta": {**METADATA, "minProperties": 1, "maxProperties": 1}},
                       ("meta",)))
