# SPDX-License-Identifier: Apache-2.0
"""A proxy in the process of the test that dies at a write of its choice, and its boto3 client.

    proxy = MortalProxy(cluster, monkeypatch)
    proxy.live(writes=1)                 # the second write to the store is not made any more,
    with proxy.death():                  # nor anything after it
        proxy.s3.delete_object(...)
    proxy.live()

Death is an exception that nothing on the way handles, and that each request to the store meets
from then on: what the store holds is what it would hold if the process had been killed.
"""
from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSResponse
from s3_client import boto
from swift_cluster import SwiftCluster
from wsgi_call import Body

from swift.common.app_conf import load_app
from swift.common.wsgi import parse_head

WRITES = ("PUT", "POST", "DELETE", "UPDATE")
S3_OPTIONS = "use = egg:swift#s3api\ns3_acl = yes\nmin_segment_size = 10"


class Killed(BaseException):
    """The process is no more."""


class MortalProxy:
    """`made` are the writes since `live`, whether there came an end or not."""

    def __init__(self, cluster: SwiftCluster, monkeypatch: Any, **changes: str) -> None:
        monkeypatch.setattr("swift.proxy.controllers.info._info", {"swift": {}})
        text = (cluster.etc / "proxy-server.conf").read_text()
        for old, new in {"use = egg:swift#s3api": S3_OPTIONS, **changes}.items():
            assert old in text
            text = text.replace(old, new)
        path = cluster.etc / "mortal-proxy.conf"
        path.write_text(text)
        self.app = load_app(str(path))
        self.live()
        self._patch(monkeypatch)
        self.s3 = boto("http://mortal.test", "test:tester", "testing")
        self.s3.meta.events.register("before-send.s3", self._answer)

    def live(self, writes: int | None = None, done: bool = False) -> None:
        """Live, for so many writes to the store, until the next begins or, with `done`, until so
        many have come to their end; for ever without."""
        self.left, self.done, self.ended = writes, done, 0
        self.dead, self.made = False, []

    @contextlib.contextmanager
    def death(self) -> Iterator[None]:
        """Whatever becomes of a client when the proxy dies."""
        try:
            yield
        except Killed:
            pass
        except Exception:              # an end in a thread of its own is an error to the client
            if not self.dead:
                raise

    def _patch(self, monkeypatch: Any) -> None:
        from swift.proxy.server import Application
        real = Application.__call__

        def mortal(app: Any, env: dict[str, Any], start_response: Any) -> Any:
            writes = env["REQUEST_METHOD"] in WRITES
            if writes and not self.dead:
                self.dead = not self.done and len(self.made) == self.left
                self.made.append(f"{env['REQUEST_METHOD']} {env['PATH_INFO']}")
            if self.dead:
                raise Killed
            pieces = real(app, env, start_response)
            if writes:
                self.ended += 1
                self.dead = self.dead or self.done and self.ended == self.left
                if self.dead:
                    raise Killed
            return pieces

        monkeypatch.setattr(Application, "__call__", mortal)

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        parts = urlsplit(request.url)
        data = request.body or b""
        data = data if isinstance(data, bytes) else data.read()
        head = [f"{request.method} {parts.path}?{parts.query} HTTP/1.1"]
        head += [f"{name}: {value if isinstance(value, str) else value.decode()}"
                 for name, value in request.headers.items()]
        env = parse_head("\r\n".join(head).encode(), {
            "SCRIPT_NAME": "", "REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "http"})
        env["wsgi.input"] = Body(data)
        got: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            got[:] = int(status[:3]), dict(headers)

        body = b"".join(self.app(env, start))
        raw = io.BytesIO(body)
        raw.stream = lambda *_, **__: iter([body])                # type: ignore[attr-defined]
        return AWSResponse(request.url, *got, raw)
