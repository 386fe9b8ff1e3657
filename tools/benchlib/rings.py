# SPDX-License-Identifier: Apache-2.0
"""What swift-ring-builder takes for a ring of 200 devices, as commands, their start included."""
import resource
import subprocess
import tempfile
from pathlib import Path

from .measures import Figures

ZONES, HOSTS, DISKS = 10, 5, 4
PART_POWER, REPLICAS = 16, 3
TIMEOUT = 300
WARNING = 1                 # the exit status of a ring that could be more balanced


def figures(builder: str) -> Figures:
    """CPU seconds of the first rebalance and of one after a device lost its weight and another
    came, by the command `builder`."""
    with tempfile.TemporaryDirectory(prefix="snakestack-bench-") as folder:
        path = str(Path(folder) / "object.builder")

        def run(*command: str) -> float:
            before = _children()
            done = subprocess.run([builder, path, *command], capture_output=True, text=True,
                                  timeout=TIMEOUT, check=False)
            if done.returncode not in (0, WARNING):
                raise RuntimeError(f"{builder} {command[0]}: {done.stdout}{done.stderr}")
            return _children() - before

        run("create", str(PART_POWER), str(REPLICAS), "1")
        devices = []
        for zone in range(ZONES):
            for host in range(HOSTS):
                for disk in range(DISKS):
                    devices += [f"r1z{zone + 1}-10.{zone}.{host}.1:6200/sd{disk}", "100"]
        run("add", *devices)
        first = run("rebalance", "1")
        run("set_weight", "d0", "0")
        run("add", "r1z1-10.0.0.9:6200/sdz", "100")
        run("pretend_min_part_hours_passed")
        return {"ring of 200 devices, first rebalance, CPU s": first,
                "the same after a change, CPU s": run("rebalance", "2")}


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
