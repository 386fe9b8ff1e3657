# SPDX-License-Identifier: Apache-2.0
"""Metrics for a statsd server: datagrams that are sent and forgotten."""
from __future__ import annotations

import random

from swift.common.concurrency import datagram_address, socket
from swift.common.conf import config_float, config_int


class Statsd:
    """A sender of metrics. Nothing it does can fail a request: what cannot be sent is lost."""

    def __init__(self, host: str, port: int = 8125, prefix: str = "", rate: float = 1.0) -> None:
        # Looked up once: it would take longer than all else, for each datagram.
        family, self.address = datagram_address(host, port)
        self.prefix = prefix + "." if prefix and not prefix.endswith(".") else prefix
        self.rate = rate
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)

    @classmethod
    def of(cls, conf: dict[str, str], name: str) -> Statsd | None:
        """By log_statsd_host, _port, _metric_prefix, _default_sample_rate, _sample_rate_factor,
        each also as access_log_statsd_*; None without a host."""
        def get(option: str) -> str | None:
            return conf.get("access_log_statsd_" + option, conf.get("log_statsd_" + option))
        host = get("host")
        if not host:
            return None
        values = {option: value for option in ("port", "default_sample_rate", "sample_rate_factor")
                  if (value := get(option))}
        prefix = get("metric_prefix")
        rate = config_float(values, "default_sample_rate", 1) * config_float(
            values, "sample_rate_factor", 1)
        return cls(host, config_int(values, "port", 8125), f"{prefix}.{name}" if prefix else name,
                   rate)

    def _send(self, text: str, share: float = 1) -> None:
        rate = self.rate * share
        if rate < 1:
            if random.random() >= rate:
                return
            text += f"|@{rate:g}"
        try:
            self.sock.sendto((self.prefix + text).encode("utf-8", "replace"), self.address)
        except OSError:
            pass                       # nobody listens, or the buffer is full

    def timing(self, metric: str, seconds: float, share: float = 1) -> None:
        """How long something took; `share` of what is so frequent that not all is to be told."""
        self._send(f"{metric}:{seconds * 1000:g}|ms", share)

    def counts(self, numbers: dict[str, int]) -> None:
        """How much there was of several things; nothing is said of what there was nothing of."""
        for metric, number in numbers.items():
            if number:
                self.count(metric, number)

    def count(self, metric: str, number: int) -> None:
        """How much of something there was."""
        self._send(f"{metric}:{number}|c")
