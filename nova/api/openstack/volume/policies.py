# SPDX-License-Identifier: Apache-2.0
"""Who may do what in the Volume API, by default."""

from nova import policy
from nova.policy import ADMIN, MEMBER, READER

RULES = {
    "volume:volumes:list": (READER, "List the project's volumes"),
    "volume:volumes:list:all_tenants": (ADMIN, "List every project's volumes"),
    "volume:volumes:show": (READER, "Show a volume"),
    "volume:volumes:create": (MEMBER, "Create volumes"),
    "volume:volumes:update": (MEMBER, "Rename a volume"),
    "volume:volume_metadata:list": (READER, "List a volume's metadata"),
    "volume:volume_metadata:change": (MEMBER, "Change a volume's metadata"),
    "volume:volumes:delete": (MEMBER, "Delete a volume"),
    "volume:volumes:extend": (MEMBER, "Make a volume larger"),
    "volume:volumes:set_bootable": (MEMBER, "Say whether a server can boot from a volume"),
    "volume:volumes:reset_status": (ADMIN, "Write down another status of a volume"),
    "volume:volumes:force_delete": (ADMIN, "Delete a volume whatever its status"),
    "volume:volumes:connect": (MEMBER, "Be told that servers are attached through compute"),
    "volume:snapshots:list": (READER, "List the project's snapshots"),
    "volume:snapshots:list:all_tenants": (ADMIN, "List every project's snapshots"),
    "volume:snapshots:show": (READER, "Show a snapshot"),
    "volume:snapshots:create": (MEMBER, "Create snapshots of volumes"),
    "volume:snapshots:update": (MEMBER, "Rename a snapshot"),
    "volume:snapshot_metadata:list": (READER, "List a snapshot's metadata"),
    "volume:snapshot_metadata:change": (MEMBER, "Change a snapshot's metadata"),
    "volume:snapshots:delete": (MEMBER, "Delete a snapshot"),
    "volume:snapshots:reset_status": (ADMIN, "Write down another status of a snapshot"),
    "volume:snapshots:force_delete": (ADMIN, "Delete a snapshot whatever its status"),
    "volume:attachments:list": (READER, "List what the project's volumes are attached to"),
    "volume:attachments:list:all_tenants": (ADMIN, "List every project's attachments"),
    "volume:attachments:show": (READER, "Show what a volume is attached to"),
    "volume:attachments:change": (MEMBER, "Be told that servers are attached through compute"),
    "volume:types:list": (READER, "List volume types"),
    "volume:types:show": (READER, "Show a volume type"),
    "volume:types:change": (ADMIN, "Create, change and delete volume types"),
    "volume:types:extra_specs:show": (ADMIN, "Show a volume type's extra specs"),
    "volume:types:extra_specs:change": (ADMIN, "Set and remove a volume type's extra specs"),
    "volume:types:access": (ADMIN, "List and change who may use a volume type"),
    "volume:limits:show": (READER, "Show the project's limits and usage of volumes"),
    "volume:quota_sets:show": (READER, "Show the project's quotas of volumes"),
    "volume:quota_sets:change": (ADMIN, "Set a project's quotas of volumes"),
    "volume:services:list": (ADMIN, "List the daemons of volumes"),
    "volume:services:update": (ADMIN, "Enable and disable daemons of volumes"),
    "volume:availability_zones:list": (READER, "List zones of volumes"),
    "volume:pools:list": (ADMIN, "List where volumes are and how much room there is"),
    "volume:extensions:list": (READER, "List extensions of the Volume API"),
    "volume:unsupported": (READER, "Be told what this cloud does not have"),
    "volume:unsupported:admin": (ADMIN, "Be told what this cloud does not have for operators"),
}

for _name, (_check, _description) in RULES.items():
    policy.register(_name, _check, _description)
