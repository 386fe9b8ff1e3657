# SPDX-License-Identifier: Apache-2.0
"""Indices for what is asked often: by address, by state, and the sums of a host.

That of the sums holds all they are made of, so that the scheduler's question reads no rows.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the new ones, then drop the two they begin with."""
    op.create_index("fixed_ips_address", "fixed_ips", ["address"])
    op.create_index("instances_states", "instances", ["vm_state", "task_state"])
    op.create_index("instances_host_sums", "instances", [
        "host", "vcpus", "memory_mb", "root_gb", "ephemeral_gb", "swap_mb"])
    op.drop_index("ix_instances_vm_state", "instances")
    op.drop_index("ix_instances_host", "instances")
