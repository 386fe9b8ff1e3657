# SPDX-License-Identifier: Apache-2.0
"""Who may do what in the Network API, by default."""

from nova import policy
from nova.policy import ADMIN, MEMBER, READER

_THINGS = {"networks": "networks", "subnets": "subnets", "ports": "ports",
           "floatingips": "floating IPs", "security_groups": "security groups",
           "security_group_rules": "security-group rules"}
RULES = {
    "network:networks:shared": (ADMIN, "Make networks that are shared or external"),
    "network:networks:availability": (ADMIN, "Show how many addresses of networks are taken"),
    "network:ports:bind": (ADMIN, "Set a port's device, its owner and its MAC"),
    "network:floatingips:address": (ADMIN, "Choose the address of a floating IP"),
    "network:other_projects": (ADMIN, "Make things for other projects"),
    "network:quotas:show": (READER, "Show the project's network quotas"),
    "network:quotas:change": (ADMIN, "Set a project's network quotas"),
    "network:extensions:list": (READER, "List extensions"),
    "network:others:list": (READER, "List what this cloud has none of"),
    "network:others:create": (MEMBER, "Make what this cloud has none of"),
    "network:agents:list": (ADMIN, "List network agents"),
}
for _name, _words in _THINGS.items():
    RULES |= {f"network:{_name}:list": (READER, f"List {_words}"),
              f"network:{_name}:show": (READER, f"Show one of the {_words}"),
              f"network:{_name}:create": (MEMBER, f"Make {_words}"),
              f"network:{_name}:update": (MEMBER, f"Change {_words}"),
              f"network:{_name}:delete": (MEMBER, f"Delete {_words}")}

for _name, (_check, _description) in RULES.items():
    policy.register(_name, _check, _description)
