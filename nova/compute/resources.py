# SPDX-License-Identifier: Apache-2.0
"""What this host offers, written into its row of ``compute_nodes``."""

import logging
from pathlib import Path

from oslo_config import cfg

from nova.compute.worker import Worker
from nova.db import compute_nodes
from nova.exception import HostNotFound

LOG = logging.getLogger(__name__)

OPTIONS = [
    cfg.FloatOpt("cpu_allocation_ratio", default=16.0, min=0.0,
                 help="Virtual processors placed on this host per real one."),
    cfg.FloatOpt("ram_allocation_ratio", default=1.5, min=0.0,
                 help="Memory placed on this host as a multiple of what it has."),
    cfg.FloatOpt("disk_allocation_ratio", default=1.0, min=0.0,
                 help="Disk placed on this host as a multiple of what it has."),
    cfg.IntOpt("reserved_host_memory_mb", default=512, min=0,
               help="MiB of memory the host keeps for itself."),
    cfg.IntOpt("reserved_host_disk_gb", default=0, min=0,
               help="GiB of disk the host keeps for itself."),
]
CONF = cfg.CONF
CONF.register_opts(OPTIONS)


def boot_id() -> str:
    """Return what the kernel calls this boot of the host."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class Resources:
    """Reports one host."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def rebooted(self) -> bool:
        """Tell whether the host was started anew since its last report: guests are off then.

        A host that has never reported was not.
        """
        try:
            known = (compute_nodes.get(self.worker.host).stats or {}).get("boot_id")
        except HostNotFound:
            return False
        return known is not None and known != boot_id()

    def report(self) -> None:
        """Write down what the host offers now; nothing is written when nothing changed."""
        offer = self.worker.driver.get_available_resource()
        compute_nodes.report(
            self.worker.host, hypervisor_hostname=offer.hypervisor_hostname,
            hypervisor_type=offer.hypervisor_type, hypervisor_version=offer.hypervisor_version,
            host_ip=CONF.my_ip, vcpus=offer.vcpus, memory_mb=offer.memory_mb,
            local_gb=offer.local_gb, disk_available_gb=offer.disk_available_gb,
            cpu_allocation_ratio=CONF.cpu_allocation_ratio,
            ram_allocation_ratio=CONF.ram_allocation_ratio,
            disk_allocation_ratio=CONF.disk_allocation_ratio,
            reserved_memory_mb=CONF.reserved_host_memory_mb,
            reserved_disk_gb=CONF.reserved_host_disk_gb,
            cpu_info=dict(offer.cpu_info), stats={**offer.stats, "boot_id": boot_id()})
