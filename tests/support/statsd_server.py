# SPDX-License-Identifier: Apache-2.0
"""A statsd server on loopback that remembers what it is told."""
from __future__ import annotations

import socket


class StatsdServer:
    """Called, it gives the lines it was told since the last call; as a context it ends.

    `conf` are the options that tell of it, and whatever else the test puts there.
    """

    def __init__(self, values: bool = True, **conf: str) -> None:
        self.values = values           # whether lines are with them
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.settimeout(0)
        self.conf = {"log_statsd_host": "127.0.0.1", "log_address": "/none",
                     "log_statsd_port": str(self._sock.getsockname()[1]), **conf}

    def __enter__(self) -> StatsdServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def __call__(self) -> list[str]:
        got = []
        while True:                       # over loopback what was sent is there
            try:
                line = self._sock.recv(1000).decode()
            except BlockingIOError:
                return got
            if not self.values:
                name, _, rest = line.partition(":")
                line = f"{name}|{rest.split('|')[1]}"
            got.append(line)
