# SPDX-License-Identifier: Apache-2.0
"""What the caller's project has to do with: DescribeAccountAttributes."""

from typing import Any

from nova import quota
from nova.api.ec2.actions import Call, action
from nova.api.ec2.errors import invalid
from nova.db import ec2_ids, networks


def _values(call: Call) -> dict[str, str]:
    limits = quota.limits(call.project_id)
    own = networks.owned(call.project_id)
    default = ec2_ids.id_of("vpc", own[0].id) if len(own) == 1 else "none"
    return {"supported-platforms": "VPC", "default-vpc": default,
            "max-instances": str(limits["instances"]),
            "max-elastic-ips": str(limits["floating_ips"]),
            "vpc-max-elastic-ips": str(limits["floating_ips"]),
            "vpc-max-security-groups-per-interface": str(limits["security_groups"])}


@action("DescribeAccountAttributes", policy="compute:limits:show", takes=("AttributeNames",))
def describe_account(call: Call) -> dict[str, Any]:
    """Limits are the project's quotas; -1 is none."""
    known = _values(call)
    wanted = call.params.get("AttributeNames") or sorted(known)
    for name in wanted:
        if name not in known:
            raise invalid("AttributeName", name)
    return {"AccountAttributes": [
        {"AttributeName": name, "AttributeValues": [{"AttributeValue": known[name]}]}
        for name in dict.fromkeys(wanted)]}
