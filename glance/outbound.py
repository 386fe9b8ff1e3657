# SPDX-License-Identifier: Apache-2.0
"""The only way this service fetches from an address somebody else named.

Imports, ``copy_from``, tasks and http locations all come through `Fetcher`.  It decides by the
operator's lists, resolves the host once, refuses every answer that is not a public address, and
connects to the very address it checked; each redirect is a new address and is checked as one.
Whatever goes wrong in reaching the place reads the same to the caller, so nobody learns which
ports of our own network are open.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import logging
import re
import socket
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from oslo_config import cfg

from glance import exceptions

LOG = logging.getLogger(__name__)

GROUP = "import_filtering_opts"
OPTIONS = [
    cfg.ListOpt("allowed_schemes", default=["http", "https"],
                help="Schemes that may be fetched from; never anything but http and https."),
    cfg.ListOpt("disallowed_schemes", default=[], help="Schemes taken out of allowed_schemes."),
    cfg.ListOpt("allowed_hosts", default=[],
                help="Host names that may be fetched from; all of them when empty."),
    cfg.ListOpt("disallowed_hosts", default=[], help="Host names that may not."),
    cfg.ListOpt("allowed_ports", item_type=cfg.types.Port(), default=[80, 443],
                help="Ports that may be fetched from."),
    cfg.ListOpt("disallowed_ports", item_type=cfg.types.Port(), default=[],
                help="Ports taken out of allowed_ports."),
    cfg.ListOpt("allowed_networks", default=[],
                help="Networks (CIDR) that may be fetched from although they are not public, "
                     "such as that of a mirror of one's own."),
    cfg.IntOpt("fetch_connect_timeout", default=10, min=1,
               help="Seconds to wait for a connection."),
    cfg.IntOpt("fetch_read_timeout", default=30, min=1,
               help="Seconds to wait for each piece of an answer."),
    cfg.IntOpt("fetch_timeout", default=6 * 3600, min=1,
               help="Seconds after which a fetch is given up, however well it goes."),
    cfg.StrOpt("fetch_cacert", help="Certificate authorities to trust for https; those of the "
                                    "system by default."),
]
SCHEMES = ("http", "https")
MAX_REDIRECTS = 5
MAX_URL = 2000
CHUNK = 1 << 20
_PORTS = {"http": 80, "https": 443}
# Anything that a resolver may read as a number instead of a name: decimal, octal, hex, short.
_NUMERIC_LABEL = re.compile(r"(0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)
_UNSAFE = re.compile(r"[^\x21-\x7e]|[\\\"<>^`{|}]")
#: what the caller is told, whatever it was that kept the data from coming
UNREACHABLE = "url: no data could be fetched from there"
REFUSED = "url: does not pass filtering: this service does not fetch from there"

Resolver = Callable[..., Sequence[tuple[Any, ...]]]


@dataclasses.dataclass(frozen=True)
class Target:
    """A URL that passed every check, and the one address to connect to."""

    scheme: str
    host: str
    port: int
    path: str
    address: str

    @property
    def url(self) -> str:
        """The URL, without fragment."""
        return f"{self.scheme}://{self.netloc}{self.path}"

    @property
    def netloc(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class Fetched:
    """An answer whose body has yet to be read; close it."""

    def __init__(self, response: Any, size: int | None, partial: bool, deadline: float) -> None:
        self._response = response
        self.size = size
        #: whether the body is the asked-for part, not the whole
        self.partial = partial
        self._deadline = deadline
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes, none at the end; ``OSError`` when it breaks off."""
        from urllib3 import exceptions as errors

        if time.monotonic() > self._deadline:
            raise OSError("the fetch takes too long")
        try:
            return self._response.read(size)
        except (errors.HTTPError, OSError) as error:
            raise OSError(f"the fetch broke off ({type(error).__name__})") from None

    def pieces(self) -> Iterator[bytes]:
        """The body, 1 MiB at a time."""
        try:
            while piece := self.read(CHUNK):
                yield piece
        finally:
            self.close()

    def close(self) -> None:
        """Give up the connection."""
        self._response.close()


class Fetcher:
    """Fetches under the operator's rules.

    :param resolver: stands in for ``socket.getaddrinfo`` in tests.
    """

    def __init__(self, *, schemes: Sequence[str] = SCHEMES, hosts: Sequence[str] = (),
                 bad_hosts: Sequence[str] = (), ports: Sequence[int] = (80, 443),
                 networks: Sequence[str] = (), connect_timeout: float = 10.0,
                 read_timeout: float = 30.0, total_timeout: float = 6 * 3600.0,
                 cacert: str | None = None, resolver: Resolver = socket.getaddrinfo) -> None:
        self.schemes = frozenset(schemes) & frozenset(SCHEMES)
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)
        self._bad_hosts = frozenset(host.lower().rstrip(".") for host in bad_hosts)
        self._ports = frozenset(ports)
        try:
            self._networks = [ipaddress.ip_network(text.strip()) for text in networks]
        except ValueError as error:
            raise exceptions.ConfigurationError(
                f"[{GROUP}] allowed_networks: {error}") from None
        self._timeouts = (connect_timeout, read_timeout)
        self._total = total_timeout
        self._cacert = cacert
        self._resolver = resolver

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Fetcher:
        """The fetcher that ``[import_filtering_opts]`` describes."""
        conf.register_opts(OPTIONS, GROUP)
        group = conf[GROUP]
        return cls(
            schemes=sorted(set(group.allowed_schemes) - set(group.disallowed_schemes)),
            hosts=group.allowed_hosts, bad_hosts=group.disallowed_hosts,
            ports=sorted(set(group.allowed_ports) - set(group.disallowed_ports)),
            networks=group.allowed_networks, connect_timeout=group.fetch_connect_timeout,
            read_timeout=group.fetch_read_timeout, total_timeout=group.fetch_timeout,
            cacert=group.fetch_cacert)

    # Deciding

    def check(self, url: str) -> None:
        """Raise `Invalid` for a URL that is never fetched; asks no resolver and opens nothing."""
        self._split(url)

    def _split(self, url: str) -> tuple[str, str, int, str]:
        """(scheme, host, port, path with query) of a URL the rules allow by its text."""
        if not isinstance(url, str) or len(url) > MAX_URL or _UNSAFE.search(url):
            raise exceptions.Invalid("url: not a URL in ASCII of at most 2000 characters")
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port
        except ValueError:
            raise exceptions.Invalid("url: not a URL") from None
        host = (parts.hostname or "").rstrip(".")
        if not host:
            raise exceptions.Invalid("url: names no host")
        if parts.username is not None or parts.password is not None or "@" in parts.netloc:
            raise exceptions.Invalid("url: may not hold a user or a password")
        scheme = parts.scheme.lower()
        if scheme not in self.schemes:
            raise exceptions.Invalid(
                f"url: the scheme must be one of {', '.join(sorted(self.schemes)) or 'none'}")
        port = _PORTS[scheme] if port is None else port
        if (port not in self._ports or host in self._bad_hosts
                or (self._hosts and host not in self._hosts) or _is_disguised(host)):
            raise exceptions.Invalid(REFUSED)
        path = parts.path or "/"
        return scheme, host, port, f"{path}?{parts.query}" if parts.query else path

    def resolve(self, url: str) -> Target:
        """The checked URL with the address to connect to.

        All addresses of the host must be allowed: a name that also leads inside is refused.
        """
        scheme, host, port, path = self._split(url)
        try:
            answers = self._resolver(host, port, 0, socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise exceptions.Invalid(UNREACHABLE) from None
        addresses = [str(answer[4][0]) for answer in answers]
        if not addresses or not all(self._may_connect(address) for address in addresses):
            LOG.warning("a fetch from an address that is not public was refused")
            raise exceptions.Invalid(REFUSED)
        return Target(scheme, host, port, path, addresses[0])

    def _may_connect(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        return all(any(each in network for network in self._networks)
                   or (each.is_global and not each.is_multicast and not each.is_reserved)
                   for each in (address, *_carried(address)))

    # Fetching

    def open(self, url: str, offset: int = 0, length: int | None = None) -> Fetched:
        """GET `url`, following checked redirects.

        :raises Invalid: `REFUSED` or `UNREACHABLE`; the log says more.
        """
        headers = {"Accept-Encoding": "identity", "User-Agent": "glance"}
        if offset or length is not None:
            last = "" if length is None else str(offset + length - 1)
            headers["Range"] = f"bytes={offset}-{last}"
        response = self._follow("GET", url, headers)
        if response.status not in (200, 206):
            response.close()
            raise exceptions.Invalid(UNREACHABLE)
        return Fetched(response, _length(response), response.status == 206,
                       time.monotonic() + self._total)

    def size(self, url: str) -> int:
        """The Content-Length that HEAD answers; `Invalid` when there is none."""
        response = self._follow("HEAD", url, {"Accept-Encoding": "identity"})
        response.close()
        size = _length(response)
        if response.status != 200 or size is None:
            raise exceptions.Invalid(UNREACHABLE)
        return size

    def _follow(self, method: str, url: str, headers: dict[str, str]) -> Any:
        for _ in range(MAX_REDIRECTS + 1):
            target = self.resolve(url)
            response = self._send(method, target, headers)
            if response.status not in (301, 302, 303, 307, 308):
                return response
            response.close()
            url = urllib.parse.urljoin(target.url, response.headers.get("Location", ""))
        raise exceptions.Invalid(UNREACHABLE)

    def _send(self, method: str, target: Target, headers: dict[str, str]) -> Any:
        import urllib3
        from urllib3 import exceptions as errors

        options: dict[str, Any] = {
            "timeout": urllib3.Timeout(connect=self._timeouts[0], read=self._timeouts[1]),
            "retries": False, "maxsize": 1}
        if target.scheme == "https":
            if self._cacert is None:
                import certifi

                options["ca_certs"] = certifi.where()
            else:
                options["ca_certs"] = self._cacert
            pool: Any = urllib3.HTTPSConnectionPool(
                target.address, target.port, server_hostname=target.host,
                assert_hostname=target.host, **options)
        else:
            pool = urllib3.HTTPConnectionPool(target.address, target.port, **options)
        try:
            return pool.urlopen(method, target.path, headers={**headers, "Host": target.netloc},
                                redirect=False, preload_content=False, decode_content=False,
                                assert_same_host=False)
        except (errors.HTTPError, OSError, ValueError) as error:
            LOG.info("a fetch failed: %s", type(error).__name__)
            raise exceptions.Invalid(UNREACHABLE) from None


def _length(response: Any) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _is_disguised(host: str) -> bool:
    """Whether this is a number that some resolvers take for an address, or an odd spelling."""
    if ":" in host:
        return False
    labels = host.split(".")
    if not all(_NUMERIC_LABEL.fullmatch(label) for label in labels[-1:]):
        return False
    try:
        return str(ipaddress.IPv4Address(host)) != host
    except ValueError:
        return True


def _carried(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[Any]:
    """The IPv4 addresses inside an IPv6 one, where packets might really go."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[Any] = [address.ipv4_mapped, address.sixtofour]
    found += list(address.teredo or ())
    if address in ipaddress.ip_network("64:ff9b::/96") or address in ipaddress.ip_network(
            "64:ff9b:1::/48") or int(address) >> 32 == 0:
        found.append(ipaddress.IPv4Address(int(address) & 0xffffffff))
    return [each for each in found if each is not None]
