# SPDX-License-Identifier: Apache-2.0
"""What a volume worker may be asked.  The row says what is wanted; a message is only a hint."""

from nova.rpc.table import Method, MethodTable

TOPIC = "volume"

METHODS = MethodTable(TOPIC, [
    Method("create_volume", ("volume_id",), description="Make a volume claimed here"),
    Method("delete_volume", ("volume_id",), description="Remove a volume and its row"),
    Method("extend_volume", ("volume_id",), description="Make a volume larger"),
    Method("create_snapshot", ("snapshot_id",), description="Copy a volume as it is now"),
    Method("delete_snapshot", ("snapshot_id",), description="Remove a snapshot and its row"),
    Method("initialize_connection", ("volume_id", "connector"), timeout=30,
           description="Let a host reach a volume that is being attached there; says how"),
    Method("terminate_connection", ("volume_id", "connector"), timeout=30,
           description="End every way a host has to a volume"),
    Method("audit_host", ("repair",), timeout=120,
           description="Compare this host with its rows; answers what does not fit"),
])
