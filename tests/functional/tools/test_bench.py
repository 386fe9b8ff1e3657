# SPDX-License-Identifier: Apache-2.0
"""The benchmark counts CPU of whole process trees and believes no failed answer."""
import http.server
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from benchlib import listing, rings, turns
from benchlib.accounting import Meter
from benchlib.load import Request, send
from benchlib.target import Target

BURN = ("import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'while True: pass'])\n"
        "time.sleep(60)")


def wait_until_it_burns(meter):
    deadline = time.monotonic() + 20
    while meter.seconds() < 0.2:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_meter_counts_what_its_leader_started():
    leader = subprocess.Popen([sys.executable, "-c", BURN], start_new_session=True)
    try:
        meter = Meter(lambda: [leader.pid])
        wait_until_it_burns(meter)
        # less than the wall time on a busy machine, but surely not nothing
        assert meter.cost(lambda: time.sleep(1.0)) > 0.02
    finally:
        subprocess.run(["pkill", "-KILL", "-s", str(leader.pid)], check=False, timeout=10)
        leader.wait(10)


def test_who_is_not_measured_stands_still():
    burning = [subprocess.Popen([sys.executable, "-c", BURN], start_new_session=True)
               for _ in range(2)]
    try:
        sides = [Target(str(one.pid), "", "", Meter(lambda pid=one.pid: [pid]))
                 for one in burning]
        for side in sides:
            wait_until_it_burns(side.meter)

        def used(side):
            other = sides[side is sides[0]].meter
            return {"mine": side.meter.cost(lambda: time.sleep(0.5)),
                    "other's": other.cost(lambda: time.sleep(0.5))}

        for figures in turns.measure(*sides, 3, used):
            assert figures["mine"] > 0.02 and figures["other's"] == 0
        assert all(side.meter.cost(lambda: time.sleep(0.5)) > 0.02 for side in sides)
    finally:
        for one in burning:
            subprocess.run(["pkill", "-KILL", "-s", str(one.pid)], check=False, timeout=10)
            one.wait(10)


def test_idling_is_taken_off():
    meter = Meter(lambda: [], idle=0.5)
    assert meter.cost(lambda: None) == 0.0


def test_pages_of_listings_are_measured(monkeypatch):
    monkeypatch.setattr(listing, "FEW", 1200)
    table = listing.run(2400).splitlines()
    assert len(table) == 14 and table[0].endswith("1,200         2,400")
    assert all(float(cell) > 0 for line in table[1:] for cell in line.split()[-2:])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str]] = []

    def do_GET(self):
        Handler.seen.append((self.path, self.headers["X-Auth-Token"]))
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    Handler.seen = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


def test_every_request_is_sent_once(server):
    send(server, "token", [Request("GET", f"/{number}") for number in range(50)], workers=4)
    assert sorted(Handler.seen) == sorted((f"/v1/{number}", "token") for number in range(50))


def test_a_failed_answer_ends_the_measurement(server):
    with pytest.raises(RuntimeError, match="404"):
        send(server, "token", [Request("GET", "/there"), Request("GET", "/missing")])


def test_a_ring_is_made_by_the_command_that_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(rings, "PART_POWER", 8)
    figures = rings.figures(str(Path(sys.executable).parent / "swift-ring-builder"))
    assert len(figures) == 2 and all(seconds > 0.02 for seconds in figures.values())
    with pytest.raises(RuntimeError, match="create"):
        rings.figures(str(_failing(tmp_path)))


def _failing(folder):
    command = folder / "builder"
    command.write_text("#!/bin/sh\nexit 2\n")
    command.chmod(0o755)
    return command
