# SPDX-License-Identifier: Apache-2.0
"""The same request to a proxy of ours and to a real one, and what of the answers is compared.

Status, headers and body. Of refusals the words are ours, which say what was wrong, and only the
headers in OF_REFUSALS are compared; pages of web sites are our own too.
"""
import http.client
import json
import re
from itertools import product
from urllib.parse import quote

from swift_cluster import USERS

WHEN = ("x-timestamp", "last-modified", "x-put-timestamp", "x-auth-token-expires", "x-auth-token",
        "x-storage-token", "x-object-version-id")     # only that they are there
UNLIKE = ("date", "x-trans-id", "x-openstack-request-id", "server", "connection",
          "transfer-encoding", "x-manifest-etag")     # the last is of when segments were stored
SETS = ("allow", "vary", "access-control-expose-headers", "access-control-allow-methods",
        "access-control-allow-headers")
OF_REFUSALS = ("allow", "www-authenticate", "content-range", "vary", "x-account-status",
               "access-control-allow-origin", "access-control-expose-headers")
VARIES = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+|\b1[789]\d{8}\.\d{5}\b|"
                    r"\w\w\w, \d\d \w\w\w 20[23]\d \d\d:\d\d:\d\d GMT|127\.0\.0\.1:\d+")


class Pair:
    """Both proxies; `differences` is what was not the same.

    A request goes to another proxy of each side with `proxy`, its number, and to a storage server
    with its kind.
    """

    def __init__(self, ours, real):
        self.sides = {"ours": ours, "real": real}
        self.differences = []
        self.tokens = {(name, user): side.login(user).token
                       for name, side in self.sides.items() for user in USERS}

    def answers(self, method, path, headers=None, body=None, user="test:tester", proxy=0):
        """``{side: (status, headers, body)}``, without what is never the same."""
        return {name: self._one(name, method, path, dict(headers or {}), body, user, proxy)
                for name in self.sides}

    def _one(self, name, method, path, headers, body, user, proxy):
        side = self.sides[name]
        port = side.port(proxy, 0) if isinstance(proxy, str) else side.port("proxy", proxy)
        conn = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        if user is not None:
            headers.setdefault("X-Auth-Token", self.tokens[name, user])
        try:
            conn.request(method, quote(path, safe="/?&=%+;:,*"), body, {
                **({"Content-Length": "0"} if body is None and method in ("PUT", "POST") else {}),
                **{key: value.encode() for key, value in headers.items()}})
            reply = conn.getresponse()
            return told(method, reply.status, reply.getheaders(), reply.read())
        finally:
            conn.close()

    def ask(self, *request, **more):
        """Ask both; what differs is kept."""
        answers = self.answers(*request, **more)
        if answers["ours"] != answers["real"]:
            self.differences.append((*request, answers))

    def ask_all(self, *columns, **more):
        """Ask each request that takes one value of each column."""
        for request in product(*columns):
            self.ask(*request, **more)


def told(method, status, items, body):
    """What of an answer is compared."""
    headers = {}
    for name, value in items:
        name = name.lower()
        if name in UNLIKE or status >= 400 and name not in OF_REFUSALS or \
                name == "content-length" and (method == "HEAD" and status >= 300):
            continue
        value = "..." if name in WHEN else VARIES.sub("...", value)
        if "boundary=" in value:
            boundary = value.rpartition("boundary=")[2]
            value, body = value.replace(boundary, "B"), body.replace(boundary.encode(), b"B")
        if name in SETS:
            value = {part.strip() for part in value.split(",")} | headers.get(name, set())
        headers[name] = value
    if method != "HEAD":
        headers.pop("content-length", None)       # the body is compared
    kind = headers.get("content-type", "")
    if kind.startswith("text/html"):
        headers.pop("vary", None)             # a page is one, whatever is accepted
    if status >= 400 or status == 301:
        body = b""
    elif kind.startswith("application/json") and body and status == 200:
        body = VARIES.sub("...", json.dumps(json.loads(body), sort_keys=True))
    elif isinstance(body, bytes):
        body = VARIES.sub("...", body.decode("latin-1"))
    return status, headers, body
