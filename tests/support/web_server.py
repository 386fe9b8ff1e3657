# SPDX-License-Identifier: Apache-2.0
"""A small web server on loopback, for what is fetched from elsewhere."""

import contextlib
import threading

# by name: importing eventlet makes the attribute http.server a green copy of the module
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WebHandler(BaseHTTPRequestHandler):
    """Files that a test puts into ``server.files``, whole or in ranges."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_args):
        pass

    def do_GET(self):
        self.server.seen.append(dict(self.headers))
        found = self.server.files.get(self.path)
        status = 200 if found is not None else 404
        found = found or b""
        if status == 200 and "Range" in self.headers:
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            found, status = found[int(first):int(last) + 1 if last else None], 206
        self.send_response(status)
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        if self.command == "GET":
            self.server.on_get()
            with contextlib.suppress(OSError):
                self.wfile.write(found)

    do_HEAD = do_GET  # noqa: N815 - the name http.server looks for


@contextlib.contextmanager
def web_server():
    """Serves ``files``, a dictionary; ``on_get`` is called before each body.

    ``seen`` has the headers of every request.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), WebHandler)
    server.daemon_threads = True
    server.files, server.seen, server.on_get = {}, [], lambda: None
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
