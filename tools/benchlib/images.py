# SPDX-License-Identifier: Apache-2.0
"""What image data costs: CPU per GiB in and out, memory, and how others fare meanwhile."""
import contextlib
import functools
import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psutil

from .target import Target

MIB = 1 << 20
TIMEOUT = 600.0
PROBE_PAUSE = 0.05
SAMPLE_PAUSE = 0.1
IDLE_SECONDS = 10.0

Figures = dict[str, float]


class Watch:
    """Memory of the service's processes, and the latency of a listing, while something runs."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._over = threading.Event()
        self.latencies: list[float] = []
        self.peak = self.start = self._memory()

    def _memory(self) -> float:
        """MB of memory that is the processes' own, together."""
        total = 0
        for pid in self._target.meter.leaders():
            with contextlib.suppress(psutil.Error):
                leader = psutil.Process(pid)
                total += sum(process.memory_full_info().uss
                             for process in [leader, *leader.children(recursive=True)])
        return total / 1e6

    def _probe(self) -> None:
        while not self._over.wait(PROBE_PAUSE):
            began = time.monotonic()
            self._target.call("GET", "/v2/images")
            self.latencies.append(time.monotonic() - began)

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_PAUSE):
            self.peak = max(self.peak, self._memory())

    def during(self, work: Callable[[], None]) -> None:
        """Do the work under watch."""
        threads = [threading.Thread(target=each) for each in (self._probe, self._sample)]
        for thread in threads:
            thread.start()
        try:
            work()
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def p99(self) -> float:
        """The latency in ms that 99 of 100 listings kept."""
        ranked = sorted(self.latencies)
        return 1000 * ranked[min(len(ranked) - 1, int(len(ranked) * 0.99))]


def _pieces(mib: int) -> Iterator[bytes]:
    block = os.urandom(MIB)
    for _ in range(mib):
        yield block


def _request(target: Target, method: str, path: str, mib: int = 0) -> None:
    parts = urlsplit(target.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
    headers = {"X-Auth-Token": target.token}
    if method == "PUT":
        headers |= {"Content-Type": "application/octet-stream", "Content-Length": str(mib * MIB)}
    connection.request(method, parts.path.rstrip("/") + path,
                       _pieces(mib) if method == "PUT" else None, headers)
    answer = connection.getresponse()
    while answer.read(MIB):
        pass
    connection.close()
    if answer.status not in (200, 204):
        raise RuntimeError(f"{method} {path} was answered with {answer.status}")


def transfers(target: Target, mib: int) -> Figures:
    """An upload, then a download of an image of `mib` MiB, with what they cost."""
    image = target.call("POST", "/v2/images", {
        "name": f"bench-{os.getpid()}", "disk_format": "raw", "container_format": "bare"})
    watch = Watch(target)
    watch.during(lambda: time.sleep(IDLE_SECONDS))
    figures: Figures = {"idle: list p99, ms": watch.p99()}
    path = f"/v2/images/{image['id']}/file"
    try:
        for name, method in (("upload", "PUT"), ("download", "GET")):
            cost = target.meter.cost(functools.partial(_request, target, method, path, mib))
            figures[f"{name}, CPU seconds a GiB"] = cost * 1024 / mib
            figures[f"{name}, MiB a CPU second"] = mib / cost if cost else 0.0
        watch = Watch(target)
        watch.during(lambda: _request(target, "GET", path))
        figures["download: list p99, ms"] = watch.p99()
        figures["download: memory growth, MB"] = watch.peak - watch.start
    finally:
        target.call("DELETE", f"/v2/images/{image['id']}")
    second = target.call("POST", "/v2/images", {
        "name": f"bench-{os.getpid()}-2", "disk_format": "raw", "container_format": "bare"})
    try:
        watch = Watch(target)
        watch.during(lambda: _request(target, "PUT", f"/v2/images/{second['id']}/file", mib))
        figures["upload: list p99, ms"] = watch.p99()
        figures["upload: memory growth, MB"] = watch.peak - watch.start
    finally:
        target.call("DELETE", f"/v2/images/{second['id']}")
    return figures
