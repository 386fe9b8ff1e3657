# SPDX-License-Identifier: Apache-2.0
"""What a scheduler may be asked."""

from nova.rpc.table import Method, MethodTable

TOPIC = "scheduler"

METHODS = MethodTable(TOPIC, [
    Method("schedule_instances", ("instance_ids",),
           description="Find and claim a host for each instance in task scheduling"),
    Method("schedule_volumes", ("volume_ids",),
           description="Find and claim a volume host for each volume that waits for one"),
])
