# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy on loopback that drops, stalls or cuts short what passes through it."""

import contextlib
import socket
import threading
import time

_TICK = 0.1
_PIECE = 1 << 14


class FaultProxy:
    """Forwards connections to (host, port); `url` is where it listens.

    :ivar cut_down: close each connection after so many bytes of answer, None for never.
    :ivar cut_up: close it after so many bytes of request.
    :ivar stall_down: after so many bytes of answer send nothing more, but keep the line open.
    :ivar refuse: close new connections at once.
    """

    def __init__(self, host, port):
        self._upstream = (host, port)
        self.heal()
        self._stopping = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_TICK)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def heal(self):
        """Behave from now on."""
        self.cut_down = self.cut_up = self.stall_down = None
        self.refuse = False

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self._stopping = True
        for thread in list(self._threads):
            thread.join(10)
        self._listener.close()

    def _accept(self):
        while not self._stopping:
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            if self.refuse:
                client.close()
                continue
            server = socket.create_connection(self._upstream, timeout=10)
            for source, target, downward in ((client, server, False), (server, client, True)):
                thread = threading.Thread(target=self._pump, args=(source, target, downward),
                                          daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pump(self, source, target, downward):
        passed = 0
        with contextlib.suppress(OSError):
            source.settimeout(_TICK)
            while not self._stopping:
                try:
                    piece = source.recv(_PIECE)
                except TimeoutError:
                    continue
                if not piece:
                    break
                limit = self.cut_down if downward else self.cut_up
                if limit is not None and passed + len(piece) > limit:
                    target.sendall(piece[:max(0, limit - passed)])
                    break
                if downward and self.stall_down is not None \
                        and passed + len(piece) > self.stall_down:
                    target.sendall(piece[:max(0, self.stall_down - passed)])
                    while self.stall_down is not None and not self._stopping:
                        time.sleep(_TICK / 2)
                    break
                target.sendall(piece)
                passed += len(piece)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
