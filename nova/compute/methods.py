# SPDX-License-Identifier: Apache-2.0
"""What a compute worker may be asked.  The row says what is wanted; a message is only a hint."""

from nova.rpc.table import Method, MethodTable

TOPIC = "compute"

METHODS = MethodTable(TOPIC, [
    Method("build_instance", ("instance_id",), description="Build an instance claimed here"),
    Method("terminate_instance", ("instance_id",), description="Remove a guest and its row"),
    Method("stop_instance", ("instance_id",), description="Power a guest off"),
    Method("start_instance", ("instance_id",), description="Power a guest on"),
    Method("reboot_instance", ("instance_id",), description="Reboot, soft or hard by task state"),
    Method("attach_volume", ("attachment_id",), description="Give a guest a reserved volume"),
    Method("detach_volume", ("attachment_id",), description="Take a volume away from a guest"),
    Method("refresh_instance_network", ("instance_ids",),
           description="Apply the instances' firewall rules and addresses anew"),
    Method("get_console_output", ("instance_id",), ("lines",), timeout=30,
           description="The last lines of a guest's console, as text"),
    Method("host_uptime", timeout=10, description="The uptime line of the host"),
    Method("audit_host", ("repair",), timeout=120,
           description="Compare this host with its rows; answers what does not fit"),
])
