# SPDX-License-Identifier: Apache-2.0
"""The same request to proxies with filters that few have, ours and real ones: the same answer.

Each proxy below has a number and a configuration of its own, alike on both sides; storage servers
have `recon`. What is otherwise on purpose stands at the end of a test, with its reason.
"""
import base64
import hmac
import http.client
import json
import re
import socket
import threading
import time
from itertools import product
from pathlib import Path

import dns.message
import dns.rcode
import dns.rrset
import pytest
from real_swift import MixedCluster
from same_proxies import VARIES, Pair
from swift_cluster import PIPELINE, TYPES

pytestmark = [pytest.mark.whole, pytest.mark.timeout(900)]      # a fixture starts 24 processes
ROOT = "/v1/AUTH_test"
END = 4000000000
MISC, RATES, LOCKED, DOMAINS, OTHER_DOMAINS, SHORT, LOGGED = range(1, 8)
CNAMES = {"a.cust.com.": "AUTH-test.example.com.", "c.cust.com.": "con.auth-test.example.com.",
          "two.cust.com.": "a.cust.com.",
          "other.cust.com.": "x.other.org.", "loop.cust.com.": "loop.cust.com."}
# number: (pipeline, options of the proxy, {filter: options})
PROXIES = {
    MISC: ("catch_errors gatekeeper healthcheck proxy-logging cache list_endpoints name_check "
           "listing_formats container_sync tempurl crossdomain tempauth copy slo dlo "
           "versioned_writes symlink proxy-logging proxy-server",
           "admin_key = sesame\ndeny_host_headers = bad.host\n"
           "disallowed_sections = swift, crossdomain.x, container_sync, tempurl\n",
           {"healthcheck": "disable_path = {root}/disabled", "list_endpoints": "",
            "name_check": "", "crossdomain": "cross_domain_policy = <allow-access-from "
            'domain="*.example.com" secure="true" />',
            "container_sync": "current = //R/c\nallow_full_urls = false"}),
    RATES: (PIPELINE, "", {
        "ratelimit": "account_ratelimit = 0.001\naccount_whitelist = AUTH_test2\n"
        "account_blacklist = AUTH_admin\ncontainer_ratelimit_0 = 0.001\n"
        "container_listing_ratelimit_0 = 0.001\nmax_sleep_time_seconds = 1\n"
        "rate_buffer_seconds = 0"}),
    LOCKED: ("catch_errors gatekeeper healthcheck proxy-logging cache listing_formats bulk "
             "tempauth read_only copy slo dlo versioned_writes symlink proxy-logging "
             "proxy-server", "", {"read_only": "read_only = true"}),
    DOMAINS: ("catch_errors gatekeeper healthcheck proxy-logging cache cname_lookup domain_remap "
              "listing_formats tempauth copy slo dlo versioned_writes symlink proxy-logging "
              "proxy-server",
              "", {"cname_lookup": "storage_domain = example.com, .storage.org\n"
                   "lookup_depth = 2\nnameservers = 127.0.0.1:{dns}",
                   "domain_remap": "storage_domain = example.com, .storage.org\n"
                   "reseller_prefixes = AUTH, SERVICE\ndefault_reseller_prefix = AUTH\n"
                   "mangle_client_paths = yes"}),
    OTHER_DOMAINS: ("catch_errors gatekeeper healthcheck proxy-logging cache domain_remap "
                    "listing_formats tempauth copy slo dlo versioned_writes symlink proxy-logging "
                    "proxy-server", "", {"domain_remap": "storage_domain = example.com"}),
    SHORT: ("healthcheck cache tempauth proxy-server", "expose_info = no\n", {}),
    LOGGED: (PIPELINE, "", {"proxy-logging": "access_log_udp_host = 127.0.0.1\n"
                            "access_log_udp_port = {log}"})}


def name_server():
    """The port of a name server that knows CNAMES, until this process ends."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))

    def serve():
        while True:
            data, peer = sock.recvfrom(4096)
            question = dns.message.from_wire(data)
            answer = dns.message.make_response(question)
            name = question.question[0].name.to_text().lower()
            if name in CNAMES:
                answer.answer.append(dns.rrset.from_text(name, 5, "IN", "CNAME", CNAMES[name]))
            else:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            sock.sendto(answer.to_wire(), peer)
    threading.Thread(target=serve, daemon=True).start()
    return sock.getsockname()[1]


class Filtered(MixedCluster):
    """A cluster whose storage servers have recon; `proxies` starts those of PROXIES."""

    def configure(self):
        super().configure()
        for kind in TYPES:
            path = self.etc / f"{kind}-0.conf"
            path.write_text(path.read_text().replace(
                f"pipeline = {kind}-server", f"pipeline = healthcheck recon {kind}-server")
                + "[filter:healthcheck]\nuse = egg:swift#healthcheck\n[filter:recon]\n"
                f"use = egg:swift#recon\nrecon_cache_path = {self.root}/cache0\n")

    def proxies(self, dns_port):
        self.log = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.log.bind(("127.0.0.1", 0))
        self.log.settimeout(60)
        log_port = self.log.getsockname()[1]
        base = (self.etc / "proxy-server.conf").read_text()
        for number, (pipeline, options, filters) in PROXIES.items():
            text = re.sub(r"pipeline = .*", f"pipeline = {pipeline}", base).replace(
                "use = egg:swift#proxy\n", "use = egg:swift#proxy\n" + options)
            for name, more in filters.items():
                text = re.sub(rf"\[filter:{name}\]\n(?:[^\[].*\n)*", "", text)
                text += f"\n[filter:{name}]\nuse = egg:swift#{name.replace('-', '_')}\n" \
                    f"{more.format(root=self.root, dns=dns_port, log=log_port)}\n"
            (self.etc / "proxy-server.conf").write_text(text)
            self.another_proxy(number)
        (self.etc / "proxy-server.conf").write_text(base)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    everything = {*((kind, 0) for kind in TYPES), *(("proxy", n) for n in (0, *PROXIES))}
    dns_port = name_server()
    with Filtered(tmp_path_factory.mktemp("ours"), nodes=1, policies=2) as ours, \
            Filtered(tmp_path_factory.mktemp("real"), everything, nodes=1, policies=2) as real:
        for side in (ours, real):
            side.proxies(dns_port)
        pair = Pair(ours, real)
        pair.ask("PUT", ROOT + "/con", {"X-Container-Read": ".r:*"})
        pair.ask("PUT", ROOT + "/con/o", {}, b"x")
        assert not pair.differences
        yield pair


@pytest.fixture(autouse=True)
def nothing_differs(pair):
    pair.differences.clear()
    yield
    assert not pair.differences


def signature(method, end=END, digest="sha1", key=b"sesame"):
    return hmac.new(key, f"{method}\n{end}\n/info".encode(), digest).hexdigest()


def test_what_a_proxy_tells_of_itself(pair):
    good = signature("GET")
    queries = [
        f"swiftinfo_sig={sig}&swiftinfo_expires={end}" for sig, end in (
            (signature("HEAD"), END), ("x", END), ("%FF", END), (good.upper(), END), ("", ""),
            (signature("PUT"), END), (signature("GET", 1), 1), (signature("GET", "x"), "x"),
            (signature("GET", "4e9"), "4e9"), (signature("GET", key=b"x"), END))]
    queries += [f"swiftinfo_sig={good}", f"swiftinfo_expires={END}", "x=y"]
    for number in (0, SHORT):
        pair.ask_all(("HEAD", "OPTIONS", "PUT", "POST", "DELETE", "FOO"),
                     ("/info/", "//info", "/info/x", *(f"/info?{q}" for q in queries[1:4])),
                     [{}], [None], [None], proxy=number)
    pair.ask_all(("GET",), [f"/info?{query}" for query in queries if "sig=&" not in query
                            and query != "x=y" and signature("HEAD") not in query],
                 [{}], [None], [None], proxy=MISC)
    for query, number in product(("", "?x=y", f"?swiftinfo_sig={good}&swiftinfo_expires={END}"),
                                 (0, MISC, SHORT)):
        answers = pair.answers("GET", "/info" + query, {"Origin": "http://a.com"}, proxy=number)
        (status, headers, body), real = answers["ours"], answers["real"]
        assert (status, headers) == real[:2]
        if status == 200:        # ours says more: which filters there are
            told, wanted = json.loads(body), json.loads(real[2])
            assert wanted.keys() <= told.keys() <= wanted.keys() | {"dlo", "list_endpoints"}
            for name in wanted.keys() - {"swift", "tempurl"}:
                assert told[name] == wanted[name]
            assert wanted.get("swift", {}).keys() <= told.get("swift", {}).keys() | {
                "auto_create_account_prefix"}
    # On purpose: a key's owner may sign with what is not broken, too.
    for digest in ("sha256", "sha512"):
        answers = pair.answers("GET", f"/info?swiftinfo_sig={signature('GET', digest=digest)}"
                               f"&swiftinfo_expires={END}", proxy=MISC)
        assert (answers["ours"][0], answers["real"][0]) == (200, 401)


def test_pages_of_no_account(pair):
    pair.ask_all(("GET", "OPTIONS", "PUT", "POST", "DELETE"), (
        "/crossdomain.xml", "/crossdomain.xml/", "/crossdomain.xml?x=y", "/healthcheck",
        "/healthcheck/", "/healthcheck?x", "//healthcheck"), [{}], [None], [None], proxy=MISC)
    for side in pair.sides.values():
        (side.root / "disabled").touch()
    pair.ask_all(("GET", "HEAD", "PUT"), ("/healthcheck",), [{}], [None], [None], proxy=MISC)
    for side in pair.sides.values():
        (side.root / "disabled").unlink()
    for host in ("bad.host", "bad.host:80", "good.host"):
        pair.ask("GET", ROOT + "/con", {"Host": host}, proxy=MISC)
    # On purpose: HEAD says what GET would.
    answers = pair.answers("HEAD", "/crossdomain.xml", user=None, proxy=MISC)
    assert (answers["ours"][0], answers["real"][0]) == (200, 412)


def test_names(pair):
    for name, method in product(
            ("a'b", 'a"b', "a`b", "a<b", "a>b", "./x", "x/./y", "x/../y", "x/.", "x/..", "..",
             "x" * 225, "x" * 245, "%27", "ä" * 130, "%2527", "x/.../y", ".x/y", "a\x00b"),
            ("GET", "PUT", "DELETE")):
        for path in (f"{ROOT}/{name}", f"{ROOT}/con/{name}"):
            pair.ask(method, path, {}, b"" if method == "PUT" else None, proxy=MISC)
    pair.ask_all(("GET", "PUT"), ("/v1/AUTH_te'st", "/a'b", ROOT + "/con?prefix='"), proxy=MISC)


def test_places(pair):
    pair.ask("PUT", ROOT + "/con1", {"X-Storage-Policy": "policy1"})
    for version, rest in product(
            ("", "/v1", "/v1.0", "/v2", "/v2.0", "/v3", "/v1.1", "/1.0", "/2", "/V1", "/v"),
            ("", "/", "/AUTH_test", "/AUTH_test/", "/AUTH_test/con", "/AUTH_test/con/o",
             "/AUTH_test/con1/o", "/AUTH_test/con/o/p//q", "/AUTH_test/con/ü x", "/no", "/no/c",
             "/AUTH_test/no/o", "//c", "/AUTH_test//o", "/AUTH_test/con/x?y=z")):
        pair.ask("GET", "/endpoints" + version + rest, user=None, proxy=MISC)
    pair.ask_all(("HEAD", "PUT", "POST", "DELETE", "OPTIONS", "FOO"),
                 ("/endpoints/AUTH_test/con/o", "/endpoints/v2/AUTH_test"), [{}], [None], [None],
                 proxy=MISC)
    pair.ask_all(("GET",), ("/endpoint/x", "/endpoints", "/endpointsx/a"), proxy=MISC)
    # On purpose: a name that is no UTF-8 is nobody's.
    answers = pair.answers("GET", "/endpoints/AUTH_test/con/%FF", proxy=MISC)
    assert (answers["ours"][0], answers["real"][0]) == (400, 200)


HOSTS = (
    "AUTH-test.example.com", "AUTH_test.example.com", "auth-test.example.com", "test.example.com",
    "con.AUTH-test.example.com", "con.auth-test.example.com:8080", "CON.auth-test.example.com",
    "con.test.example.com", "x.con.auth-test.example.com", "a.storage.org", "other-x.example.com",
    "con.auth-test.storage.org", "service-test.example.com", "a-b-c.example.com", "a.cust.com",
    "c.cust.com", "c.cust.com:80", "C.CUST.com", "two.cust.com", "loop.cust.com",
    "other.cust.com", "none.cust.com", "127.0.0.1", "127.0.0.1:99", "10.0.0.1",
    "AUTH_a-b.example.com")


def test_domains(pair):
    paths = ("/", "/o", "/con/o", "/v1/AUTH_test/con/o", "/v1/", "/con", "//o", "/healthcheck")
    for number, host in product((DOMAINS, OTHER_DOMAINS), HOSTS):
        pair.ask_all(("GET",), paths, [{"Host": host}], proxy=number)
        pair.ask("GET", "/o", {"Host": host}, user=None, proxy=number)
        pair.ask("PUT", "/new", {"Host": host}, b"x", proxy=number)
        pair.ask("DELETE", "/new", {"Host": host}, proxy=number)
    # On purpose: names of hosts know no capitals, no part is empty; localhost is no customer.
    for host, ours, real in (("con.AUTH-test.EXAMPLE.com", 200, 400),
                             ("con..example.com", 400, 401), ("localhost", 412, 400)):
        answers = pair.answers("GET", "/o", {"Host": host}, user=None, proxy=DOMAINS)
        assert (answers["ours"][0], answers["real"][0]) == (ours, real)


def test_nobody_writes(pair):
    pair.ask("PUT", ROOT + "/ro")
    pair.ask("PUT", ROOT + "/ro/o", {}, b"x")
    for user, method in product(("test:tester", None, "test:tester3"), (
            "GET", "HEAD", "PUT", "POST", "DELETE", "COPY", "OPTIONS", "FOO")):
        for path in (ROOT + "/ro", ROOT + "/ro2", ROOT + "/ro/p", "/v1.0/AUTH_test/ro/o",
                     "/v2/AUTH_test/ro", "/v1/AUTH_none/c", "/v1", "/v1/AUTH_test//x",
                     ROOT + "/ro/" + "x" * 1025):
            pair.ask(method, path, {}, b"" if method == "PUT" else None, user=user, proxy=LOCKED)
    for headers in ({"Destination": "ro/c"},
                    {"Destination": "ro/c", "Destination-Account": "AUTH_test2"}):
        pair.ask("COPY", ROOT + "/ro/o", headers, proxy=LOCKED)
    pair.ask("PUT", ROOT + "/ro/c", {"X-Copy-From": "ro/o"}, proxy=LOCKED)
    pair.ask("POST", ROOT + "?bulk-delete", {"Accept": "application/json"}, b"ro/o\n",
             proxy=LOCKED)


def mark(side, account, word):
    """Write an account's own limit where only operators can."""
    def send(method, host, path, headers):
        conn = http.client.HTTPConnection(host, timeout=30)
        try:
            conn.request(method, path, headers=headers)
            reply = conn.getresponse()
            return reply.status, reply.read()
        finally:
            conn.close()
    _, places = send("GET", f"127.0.0.1:{side.port('proxy', MISC)}", f"/endpoints/{account}", {})
    host, path = json.loads(places)[0].split("/", 3)[2:]
    assert send("POST", host, "/" + path, {
        "X-Account-Sysmeta-Global-Write-Ratelimit": word, "Content-Length": "0",
        "X-Timestamp": f"{time.time():.5f}"})[0] == 204


def test_rates(pair):
    for user, account in (("test2:tester2", "AUTH_test2"), ("admin:admin", "AUTH_admin")):
        for method, path in product(("PUT", "POST", "GET", "HEAD", "OPTIONS"), ("", "/c", "/c/o")):
            pair.ask(method, f"/v1/{account}{path}", {}, b"" if method == "PUT" else None,
                     user=user, proxy=RATES)
    # An empty container has no rate in a real one: what is remembered of this one is forgotten.
    pair.ask("POST", ROOT + "/con")
    for method, path in (("PUT", "/r1"), ("PUT", "/r2"), ("PUT", "/con/a"), ("PUT", "/con/b"),
                         ("DELETE", "/con/o"), ("GET", "/con"), ("GET", "/con"), ("HEAD", "/con"),
                         ("GET", "/con/o"), ("POST", "/con"), ("GET", ""), ("GET", "/no")):
        pair.ask(method, ROOT + path, {}, b"" if method == "PUT" else None, proxy=RATES)
    pair.ask("PUT", "/v1/AUTH_test5/c", user="admin:admin")
    for word in ("BLACKLIST", "WHITELIST", ""):
        for side in pair.sides.values():
            mark(side, "AUTH_test5", word)
        pair.ask("POST", "/v1/AUTH_test5", {"X-Account-Meta-A": "b"}, user="test:tester6",
                 proxy=SHORT)          # it is known at once
        for method, path in product(("PUT", "POST", "GET", "HEAD", "OPTIONS"), ("/c", "/c/o")):
            pair.ask(method, "/v1/AUTH_test5" + path, {}, b"" if method == "PUT" else None,
                     user="test:tester6")


def test_facts_of_storage_servers(pair):
    def shape(value):
        if isinstance(value, dict):
            return {Path(name).name: shape(item) for name, item in value.items()}
        return [shape(item) for item in value[:1]] if isinstance(value, list) else \
            type(value).__name__
    for kind, what in product(TYPES, (
            "version", "mem", "load", "async", "replication/account", "replication/container",
            "replication/object", "replication", "devices", "updater/object", "auditor/account",
            "auditor/container", "auditor/object", "expirer/object", "mounted", "ringmd5",
            "swiftconfmd5", "quarantined", "sockstat", "time", "driveaudit", "sharding",
            "sharding/container", "reconstruction/object", "relinker", "foo", "", "Version",
            "replication/foo", "updater", "updater/account", "auditor", "expirer")):
        answers = pair.answers("GET", f"/recon/{what}", user=None, proxy=kind)
        (status, _, body), real = answers["ours"], answers["real"]
        assert status == real[0], what
        if status == 200:
            # A number that may be a point in time was taken out.
            ours, theirs = (shape(json.loads(text.replace("...", "0.5")))
                            for text in (body, real[2]))
            if what == "async":      # on purpose: counted, without a cron job
                theirs = {"async_pending": "int", "async_pending_last": "float"}
            assert ours == theirs, what
    for kind in TYPES:
        pair.ask_all(("GET", "HEAD", "PUT"), ("/healthcheck", "/recon", "/reconx", "/"), [{}],
                     [None], [None], proxy=kind)
    # On purpose: with mount_check = false no folder has to be a mount, so none is missed.
    answers = pair.answers("GET", "/recon/unmounted", user=None, proxy="object")
    assert answers["ours"][2] == "[]" != answers["real"][2]


def lines(side, last):
    """Fields of the lines of the access log, up to that of a client's request for `last`."""
    found = []
    while True:
        words = side.log.recv(65536).decode().rstrip("\0\n").split(" ")
        words = words[next(n for n, word in enumerate(words) if word.count("/") == 5):]
        _, method, path, _, status, referer, agent, token, came, went = words[:10]
        source, user = words[14], words[19]
        if source == "-" and path == last:
            return found
        if source == "-":
            found.append((method, path, status, referer, agent, token[:7], came, went, user))
        elif source in ("BD", "SSC"):
            found.append((method, path, status, token[:7], came, source))


def test_lines_of_the_access_log(pair):
    """As OpenStack Swift's, for whoever counts and bills by them."""
    root, me = "/v1/AUTH_test/log", {"X-Auth-User": "test:tester"}
    pair.ask("PUT", root)
    for number, (method, path, headers, body) in enumerate((
            ("PUT", root + "/o", {}, b"abc"), ("GET", root + "/o", {}, None),
            ("PUT", root + "/none", {}, b""), ("HEAD", root + "/o", {}, None),
            ("GET", root + "/o", {"Range": "bytes=0-1", "Referer": "http://x/a%20b?c"}, None),
            ("GET", root + "/ü &x", {"User-Agent": "a (b; c=100%)/d,~'\"!*+$@[]"}, None),
            ("GET", root + "/o", {"If-None-Match": "*"}, None), ("GET", "/healthcheck", {}, None),
            ("PUT", root + "/big", {"Content-Length": "5368709123"}, b""),
            ("PUT", root + "/chunked", {}, [b"12", b"345"]),
            ("GET", "/auth/v1.0", {**me, "X-Auth-Key": "testing"}, None),
            ("GET", "/auth/v1.0", {**me, "X-Auth-Key": "wrong"}, None),
            ("PUT", root + "/copy", {"X-Copy-From": "log/o"}, None),
            ("DELETE", root + "/copy", {}, None), ("FOO", root, {}, None),
            ("POST", "/v1/AUTH_test?bulk-delete", {}, b"log/chunked"))):
        pair.ask(method, path, headers, body, proxy=LOGGED)
        pair.ask("GET", f"{root}/mark{number}", proxy=LOGGED)
        ours, real = (lines(pair.sides[name], f"{root}/mark{number}") for name in ("ours", "real"))
        assert ours == real


def sync_words(method, path, stamp="1800000000.00000", realm_key="realm key", key="ck", realm="R"):
    digest = hmac.new(realm_key.encode(), f"{method}\n{path}\n{stamp}\nn\n{key}".encode(), "sha1")
    return f"{realm} n {digest.hexdigest()}"


def test_sync(pair):
    pair.ask("PUT", ROOT + "/sy", {"X-Container-Sync-Key": "ck"})
    pair.ask("PUT", ROOT + "/sy0")
    for number, target, method in product((0, MISC), (
            "//R/c/AUTH_test/x", "//r/C/AUTH_test/x", "//R/none/AUTH_test/x", "//none/c/a/x",
            "//R/c/AUTH_test", "//R/c/AUTH_test/x/y", "http://127.0.0.1:80/v1/a/c", "foo", "",
            "https://127.0.0.1/v1/a/c", "ftp://127.0.0.1/v1/a/c", "http://127.0.0.1/v1/a",
            "http://127.0.0.1/v1/a/c/o", "http://127.0.0.1:80/v1/a/c?q=1", "http://[::1]/v1/a/c",
            "http://example.com/v1/a/c", "http://127.0.0.1:80/v1/a/c#f"), ("PUT", "POST")):
        pair.ask(method, ROOT + "/sy", {"X-Container-Sync-To": target}, proxy=number)
        pair.ask("HEAD", ROOT + "/sy", proxy=number)
    path, now = ROOT + "/sy/s", "1800000000.00000"
    for method, user in product(("PUT", "DELETE", "GET", "HEAD", "POST"), (None, "test:tester")):
        good = sync_words(method, path)
        for stamp, words in (
                (now, good), (now, sync_words(method, path, realm="X")), (now, "R n"),
                (now, sync_words(method, path, realm_key="x")), (now, "R n x y"), (now, "R"),
                (now, sync_words(method, path, key="x")), (now, good.upper()), ("1", good),
                ("1", sync_words(method, path, "1")), (now, sync_words(method, path, realm="r"))):
            pair.ask(method, path, {"X-Container-Sync-Auth": words, "X-Timestamp": stamp},
                     b"z" if method == "PUT" else None, user=user)
    for path, method in product((ROOT + "/sy0/s", ROOT + "/none/o", "/v1"), ("PUT", "GET")):
        for key in ("ck", ""):
            pair.ask(method, path, {"X-Timestamp": now, "X-Container-Sync-Auth": sync_words(
                method, path, key=key)}, b"" if method == "PUT" else None, user=None)
    # On purpose: nothing that leads nowhere is kept, and no input makes a 5xx.
    for target, real in (("//R/c//x", 202), ("//", 202), ("/", 202), ("http://[/v1/a/c", 503)):
        answers = pair.answers("PUT", ROOT + "/sy", {"X-Container-Sync-To": target})
        assert (answers["ours"][0], answers["real"][0]) == (400, real)


def test_a_configuration_that_names_few_filters(pair):
    """Both put in what a proxy cannot be without."""
    root, short = "/v1/AUTH_admin", {"proxy": SHORT, "user": "admin:admin"}
    pair.ask("PUT", root + "/few", {"X-Container-Sysmeta-A": "b", "X-Timestamp": "1"}, **short)
    pair.ask("PUT", root + "/few/o", {"X-Object-Sysmeta-A": "b", "X-Object-Meta-A": "b",
                                      "X-Backend-Storage-Policy-Index": "1"}, b"x", **short)
    for path, kind in product(("", "/few"), ("application/json", "text/xml", "text/plain", "*/*")):
        pair.ask_all(("GET", "HEAD"), (root + path,), [{"Accept": kind}], **short)
    pair.ask("GET", root + "/few?format=json", **short)
    pair.ask("COPY", root + "/few/o", {"Destination": "few/copy"}, **short)
    pair.ask("PUT", root + "/few/copy2", {"X-Copy-From": "few/o"}, **short)
    pair.ask("PUT", root + "/few/all", {"X-Object-Manifest": "few/c"}, b"", **short)
    pair.ask_all(("GET", "HEAD"), [f"{root}/few/{n}" for n in ("o", "copy", "copy2", "all")],
                 **short)
    for method, user in product(("GET", "PUT", "COPY"), (None, "test2:tester2")):
        pair.ask(method, root + "/few/o", {"Destination": "few/x"}, user=user, proxy=SHORT)
    # On purpose: what nobody will heed is no success.
    answers = pair.answers("POST", root + "/few", {"X-Versions-Location": "v"}, **short)
    assert (answers["ours"][0], answers["real"][0]) == (412, 204)


def test_temporary_addresses_in_all_forms(pair):
    pair.ask("POST", ROOT + "/con", {"X-Container-Meta-Temp-Url-Key": "k"})
    path = ROOT + "/con/o"
    for digest, form in product(("sha1", "sha256", "sha512"), ("hex", "base64", "url", "bare")):
        made = hmac.new(b"k", f"GET\n{END}\n{path}".encode(), digest)
        text = made.hexdigest() if form == "hex" else \
            f"{digest}:{base64.b64encode(made.digest()).decode()}"
        if form in ("url", "bare"):
            text = text.replace("+", "-").replace("/", "_").rstrip("=" if form == "bare" else "")
        text = text.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
        pair.ask("GET", f"{path}?temp_url_sig={text}&temp_url_expires={END}", user=None)
    for span in ("127.0.0.1", "127.0.0.0/8", "10.0.0.0/8", "::1", "::/0", "127.0.0.1/8", "x",
                 "0.0.0.0/0", "127.0.0.1/33", "127.0.0.1/255.0.0.0"):
        made = hmac.new(b"k", f"ip={span}\nGET\n{END}\n{path}".encode(), "sha256").hexdigest()
        pair.ask("GET", f"{path}?temp_url_sig={made}&temp_url_expires={END}"
                 f"&temp_url_ip_range={span}", user=None)


def test_older_versions(pair):
    """Of each side its own ids are used."""
    pair.ask("PUT", ROOT + "/vs", {"X-Versions-Enabled": "true"})
    ids = {}
    for name, side in pair.sides.items():
        send = side.login()
        ids[name] = [send("PUT", "/vs/v", body=body)[1]["x-object-version-id"]
                     for body in (b"one", b"two")]

    def compare(method, number, headers=None):
        answers = {}
        for name, side in pair.sides.items():
            conn = http.client.HTTPConnection("127.0.0.1", side.proxy_port, timeout=30)
            conn.request(method, f"{ROOT}/vs/v?version-id={ids[name][number]}", headers={
                "X-Auth-Token": pair.tokens[name, "test:tester"], **(headers or {}),
                "Content-Length": "0"})
            reply = conn.getresponse()
            found = {key.lower(): value for key, value in reply.getheaders()}
            answers[name] = reply.status, reply.read() if reply.status < 400 else b"", {
                key: str(ids[name].index(value)) if value in ids[name] else
                VARIES.sub("...", value) for key, value in found.items()
                if "version-id" in key or key == "etag"}, "last-modified" in found
            conn.close()
        assert answers["ours"] == answers["real"], (method, number)
    for method in ("GET", "HEAD", "PUT"):
        compare(method, 0)
    compare("COPY", 1, {"Destination": "vs/copy"})
    pair.ask("PUT", ROOT + "/vs/copy2", {"X-Copy-From": "vs/v"})
    compare("DELETE", 1)
    compare("DELETE", 1)
    compare("DELETE", 0)
    compare("GET", 0)
    # On purpose: the metadata of an older version can be changed.
    for name, side in pair.sides.items():
        send = side.login()
        made = send("PUT", "/vs/p", body=b"x")[1]["x-object-version-id"]
        status = send("POST", f"/vs/p?version-id={made}", {"X-Object-Meta-A": "b"})[0]
        assert status == {"ours": 202, "real": 400}[name]
