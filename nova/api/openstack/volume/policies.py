# SPDX-License-Identifier: Apache-2.0
"""Who may do what with volumes, by default."""

from nova import policy
from nova.policy import MEMBER, READER

RULES = {
    "volume:volumes:list": (READER, "List volumes"),
    "volume:volumes:show": (READER, "Show a volume"),
    "volume:volumes:create": (MEMBER, "Make volumes"),
    "volume:volumes:delete": (MEMBER, "Delete volumes"),
    "volume:volume_metadata:list": (READER, "List a volume's metadata"),
    "volume:volume_metadata:change": (MEMBER, "Change a volume's metadata and name"),
    "volume:snapshots:list": (READER, "List snapshots"),
    "volume:snapshots:show": (READER, "Show a snapshot"),
    "volume:snapshots:create": (MEMBER, "Make snapshots"),
    "volume:snapshots:delete": (MEMBER, "Delete snapshots"),
    "volume:snapshot_metadata:list": (READER, "List a snapshot's metadata"),
    "volume:snapshot_metadata:change": (MEMBER, "Change a snapshot's metadata and name"),
}

for _name, (_check, _description) in RULES.items():
    policy.register(_name, _check, _description)
