# SPDX-License-Identifier: Apache-2.0
"""Commands inside a guest, typed at its serial console as a person would.

    shell = GuestShell(host, instance_id, read=lambda: console_text)
    shell.run("cat /proc/partitions")
"""

import contextlib
import os
import threading
import time
import tty
import uuid

LOGIN_TIMEOUT = 240     # seconds from power on to a prompt, in software on a busy machine
RUN_TIMEOUT = 120       # for one command
POLL_SECONDS = 0.3
PLUG_TRIES = 30         # seconds a guest is given to find a disk that was plugged in


class GuestShell:
    """A root shell; ``read`` returns what the guest wrote to its console so far."""

    def __init__(self, host, instance_id, read):
        self.read = read
        path = host.virsh("ttyconsole", instance_id, check=True).stdout.strip()
        self.tty = os.open(path, os.O_RDWR | os.O_NOCTTY)
        # Else what the guest says would be echoed to it as if it were typed.
        tty.setraw(self.tty)
        threading.Thread(target=self._drain, daemon=True).start()
        self._wait("login:", LOGIN_TIMEOUT)
        self._type("root")
        self._wait("Password:", RUN_TIMEOUT)
        self._type("snakestack")
        self._wait("# ", RUN_TIMEOUT, after="Password:")

    def _drain(self):
        """Take what comes: it is in the log, and the guest must not wait for a reader."""
        with contextlib.suppress(OSError):
            while os.read(self.tty, 4096):
                pass

    def _type(self, line):
        os.write(self.tty, line.encode() + b"\r")

    def _wait(self, text, seconds, after=""):
        until = time.monotonic() + seconds
        while True:
            shown = self.read()
            if text in shown[shown.rfind(after) if after else 0:]:
                return shown
            assert time.monotonic() < until, f"no {text!r} in {shown[-3000:]!r}"
            time.sleep(POLL_SECONDS)

    def run(self, command):
        """Return what a command prints; AssertionError when it fails."""
        mark = uuid.uuid4().hex[:8]
        # Taken apart, so that the echo of what is typed is not taken for the answer.
        self._type(f"({command}); echo end-''{mark}-$?")
        shown = self._wait(f"end-{mark}-", RUN_TIMEOUT)
        text, _, status = shown.partition(f"end-{mark}-")
        # The number may come in the next read.
        while "\n" not in status:
            time.sleep(POLL_SECONDS)
            status = self.read().partition(f"end-{mark}-")[2]
        printed = text.rpartition(f"{mark}-$?")[2].replace("\r", "").strip("\n")
        assert status.splitlines()[0].strip() == "0", f"{command}: {printed}"
        return printed

    def disk(self, volume_id):
        """Return the path of the disk with a volume's serial number."""
        found = self.run(
            f"for i in $(seq {PLUG_TRIES}); do grep -l {volume_id[:20]} /sys/block/vd*/serial && "
            "break; sleep 1; done")
        return f"/dev/{found.splitlines()[-1].split('/')[3]}"
