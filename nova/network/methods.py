# SPDX-License-Identifier: Apache-2.0
"""What a network worker may be asked."""

from nova.rpc.table import Method, MethodTable

TOPIC = "network"

METHODS = MethodTable(TOPIC, [
    Method("allocate_for_instance", ("instance_id",), timeout=60,
           description="Give an instance its ports and addresses; idempotent; answers VIFs"),
    Method("deallocate_for_instance", ("instance_id",), ("from_host",), timeout=60,
           description="Take an instance's addresses and ports away; idempotent"),
    Method("apply_floating_ip", ("floating_ip_id",), timeout=30,
           description="Make the host's rules say what the row of a floating address says"),
    Method("refresh_network", ("network_id",), timeout=30,
           description="Bridge, gateway, DHCP server and rules of a network, anew"),
    Method("remove_network", ("network_id", "bridge"), timeout=30,
           description="Take a deleted network's bridge, DHCP server and rules away"),
    Method("audit_host", ("repair",), timeout=120,
           description="Compare this host with its rows; answers what does not fit"),
])
