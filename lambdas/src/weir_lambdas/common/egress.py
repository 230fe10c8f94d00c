"""Outgoing HTTP, guarded: the address that is checked is the address that is connected to.

A name is resolved here, every address it gives is judged, and the connection is made to a judged
address, so that a name which changes its answer between check and use gains nothing. Redirects are
followed here too, one judged hop at a time.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
)

from weir_contract.sources import Egress
from weir_lambdas.common.errors import ConfigInvalid, EgressRefused, SourceBadAnswer

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Sequence[str]]

MAX_REDIRECTS = 10
REDIRECTS = {301, 302, 303, 307, 308}
KEEPS_METHOD = {307, 308}
PUBLIC_HEADERS = {"accept", "accept-encoding", "user-agent", "content-type"}
"""The headers that any host may see; all others are the endpoint's own."""

METADATA = {
    ipaddress.ip_address("169.254.169.254"): "the instance metadata service",
    ipaddress.ip_address("169.254.170.2"): "the container credentials service",
    ipaddress.ip_address("169.254.170.23"): "the pod identity service",
    ipaddress.ip_address("fd00:ec2::254"): "the instance metadata service",
    ipaddress.ip_address("fd00:ec2::23"): "the pod identity service",
}
"""Never allowed, whatever is switched on: these hand out credentials."""

EMBEDDED = [
    ipaddress.IPv6Network(text)
    for text in ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96", "64:ff9b:1::/96")
]
"""Networks whose addresses end in an IPv4 address: NAT64 (RFC 6052, 8215), compatible, translated."""

NOT_PUBLIC = [
    ipaddress.ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "fec0::/10", "::/8")
]
"""Addresses that the standard library, or one version of it, calls global, and that are nobody's."""


def system_resolver(host: str, port: int) -> Sequence[str]:
    """Addresses of a host by the system's resolver; raises OSError where there are none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


def unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one (mapped, 6to4, NAT64), or the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address.sixtofour:
            return address.sixtofour
        if any(address in network for network in EMBEDDED) and int(address) > 1:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def refusal(text: str, egress: Egress) -> str | None:
    """Why an address may not be connected to, or None where it may.

    Parameters
    ----------
    text
        An IPv4 or IPv6 address; a zone (``%eth0``) is ignored.
    egress
        What the Platform allows.
    """
    address = unwrapped(ipaddress.ip_address(text.partition("%")[0]))
    if address in METADATA:
        return METADATA[address]
    if address.is_loopback:
        return None if egress.allow_loopback else "a loopback address"
    if address.is_link_local:
        return "a link-local address"
    if address.is_unspecified or address.is_multicast:
        return "no host's address"
    if not address.is_global or any(address in network for network in NOT_PUBLIC):
        return None if egress.allow_private else "a private address"
    return None


def host_allowed(host: str, patterns: Sequence[str]) -> bool:
    """Whether a host is one of the names or matches ``*.example.com`` (which needs a subdomain)."""
    host = host.lower().rstrip(".")
    return any(
        host.endswith(pattern[1:].lower()) if pattern.startswith("*.") else host == pattern.lower()
        for pattern in patterns
    )


def origin(url: str) -> tuple[str, str, int]:
    """``(scheme, host, port)`` of a URL.

    Raises
    ------
    EgressRefused
        It is no http or https URL with a host, or it carries a user name.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise EgressRefused("is no valid URL", without_query(url)) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise EgressRefused("is no http or https URL", without_query(url))
    if parts.username or parts.password:
        raise EgressRefused(
            "carries credentials in the URL; put them in a header by ${SECRET:...}",
            parts.hostname,
        )
    return parts.scheme, parts.hostname.lower(), port or (443 if parts.scheme == "https" else 80)


def joined(base: str, target: str) -> str:
    """A URL that a source gave, which may be relative to where it was given.

    Raises
    ------
    SourceBadAnswer
        It is no URL.
    """
    try:
        return urljoin(base, target)
    except ValueError as error:
        raise SourceBadAnswer("leads on to what is no URL", without_query(base)) from error


def without_query(url: str) -> str:
    """A URL fit for a message: no query, which may hold a key, and no user name."""
    head = url.split("?", 1)[0].split("#", 1)[0]
    scheme, sep, rest = head.partition("://")
    return f"{scheme}{sep}{rest.rpartition('@')[2]}" if sep else head


class _Guard:
    """Opens a socket to a judged address."""

    def __init__(self, egress: Egress, resolver: Resolver) -> None:
        self._egress, self._resolver = egress, resolver

    def connect(self, connection: HTTPConnection) -> socket.socket:
        host, port = connection.host, connection.port or connection.default_port
        try:
            addresses = self._resolver(host.strip("[]"), port)
        except OSError as error:
            gai = socket.gaierror(*error.args[:2])
            raise NameResolutionError(host, connection, gai) from error
        except UnicodeError as error:
            raise EgressRefused("is no name that a host can have", host) from error
        for address in addresses:
            if reason := refusal(address, self._egress):
                raise EgressRefused(f"{host} resolves to {address}, {reason}", host)
        last: OSError | None = None
        for address in addresses:
            try:
                # create_connection takes a literal address as it is: nothing is resolved again.
                opened = socket.create_connection((address, port), _seconds(connection.timeout))
            except OSError as error:
                last = error
                continue
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return opened
        if isinstance(last, TimeoutError):
            raise ConnectTimeoutError(connection, f"{host} did not accept a connection") from last
        raise NewConnectionError(connection, f"no connection to {host}: {last}") from last


def _seconds(timeout: Any) -> float | None:
    return float(timeout) if isinstance(timeout, (int, float)) else None


@contextmanager
def cut_off(connection: Any, seconds: float, what: str) -> Iterator[None]:
    """End what is read from a connection within the block after so many seconds, however it drips:
    a socket's own timeout begins anew with every byte.

    Raises
    ------
    urllib3.exceptions.ReadTimeoutError
        It took longer.
    """
    opened = connection.sock if connection is not None else None
    if opened is None:
        yield
        return
    late = threading.Event()

    def cut() -> None:
        late.set()
        with suppress(OSError):  # it has ended by itself
            socket.socket.shutdown(opened, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if not late.is_set():
            raise
        raise ReadTimeoutError(None, "", what) from error  # type: ignore[arg-type]
    finally:
        timer.cancel()
    if late.is_set():
        raise ReadTimeoutError(None, "", what)  # type: ignore[arg-type]


HEAD_TIMEOUTS = 2
"""The head of an answer may take this many request timeouts in all."""


def _head_of(connection: HTTPConnection, read: Callable[[], Any]) -> Any:
    seconds = _seconds(connection.timeout)
    if seconds is None:
        return read()
    with cut_off(connection, seconds * HEAD_TIMEOUTS, "the head of the answer did not end"):
        return read()


def _pool_manager(guard: _Guard, **options: Any) -> urllib3.PoolManager:
    class GuardedHTTPConnection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return guard.connect(self)

        def getresponse(self) -> Any:
            return _head_of(self, super().getresponse)

    class GuardedHTTPSConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return guard.connect(self)

        def getresponse(self) -> Any:
            return _head_of(self, super().getresponse)

    class GuardedHTTPPool(HTTPConnectionPool):
        ConnectionCls = GuardedHTTPConnection

    class GuardedHTTPSPool(HTTPSConnectionPool):
        ConnectionCls = GuardedHTTPSConnection

    manager = urllib3.PoolManager(num_pools=4, **options)
    manager.pool_classes_by_scheme = {"http": GuardedHTTPPool, "https": GuardedHTTPSPool}
    return manager


_SENDABLE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not _SENDABLE.fullmatch(value):
            raise ConfigInvalid(
                "its value has a line feed or another letter that no header can carry; was a secret "
                "stored with a line feed at its end?",
                f"header {name}",
            )


@dataclass(frozen=True)
class Request:
    """One request. ``headers`` may hold credentials: they go to trusted origins only."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = None  # type: ignore[assignment]
    body: bytes | None = None
    timeout_seconds: float = 30.0


class EgressClient:
    """An HTTP client that goes only where it may and tells its secrets only to whom it should.

    Parameters
    ----------
    egress
        What the Platform allows.
    endpoint
        The source's URL: its origin may see the request's headers and body.
    allowed_hosts
        Further hosts that may see them, over https or the endpoint's own scheme.
    resolver
        Host and port -> addresses.
    connections
        Connections that are kept open to one host, for as many threads.
    """

    def __init__(
        self,
        egress: Egress,
        endpoint: str,
        allowed_hosts: Sequence[str] = (),
        resolver: Resolver = system_resolver,
        connections: int = 1,
    ) -> None:
        self._egress, self._allowed_hosts = egress, allowed_hosts
        self._base, self._endpoint = endpoint, origin(endpoint)
        self._pools = _pool_manager(_Guard(egress, resolver), maxsize=connections)

    def absolute(self, url: str) -> str:
        """A URL that a source gave, which may be relative to the endpoint."""
        return joined(self._base, url)

    def trusted(self, url: str) -> bool:
        """Whether a URL's origin may see the source's credentials."""
        found = origin(url)
        if found == self._endpoint:
            return True
        safe = found[0] in ("https", self._endpoint[0])
        return safe and host_allowed(found[1], self._allowed_hosts)

    def send(self, request: Request) -> tuple[urllib3.BaseHTTPResponse, str]:
        """Send a request and follow its redirects.

        Returns
        -------
        tuple
            The answer, its body not yet read (call ``release_conn`` or ``drain_conn`` after), and
            the URL that gave it.

        Raises
        ------
        EgressRefused
            A hop leads where the Platform does not allow.
        SourceBadAnswer
            More than :data:`MAX_REDIRECTS` redirects, or one without a target.
        urllib3.exceptions.HTTPError
            The network failed.
        """
        url, method, body = request.url, request.method, request.body
        for _ in range(MAX_REDIRECTS + 1):
            host = origin(url)[1]
            if self._egress.hosts and not host_allowed(host, self._egress.hosts):
                raise EgressRefused(f"{host} is none of the hosts that the Platform allows", host)
            trusted = self.trusted(url)
            if body is not None and not trusted:
                raise EgressRefused(
                    "a redirect would carry the request's body to another origin", host
                )
            headers = {
                name: value
                for name, value in (request.headers or {}).items()
                if trusted or name.lower() in PUBLIC_HEADERS
            }
            _check_headers(headers)
            answer = self._pools.request(
                method,
                url,
                headers=headers,
                body=body,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=urllib3.Timeout(
                    connect=min(request.timeout_seconds, 10), read=request.timeout_seconds
                ),
            )
            if answer.status not in REDIRECTS:
                return answer, url
            target = answer.headers.get("Location")
            answer.release_conn()
            answer.close()
            if not target:
                status = HTTPStatus(answer.status)
                raise SourceBadAnswer(
                    f"{status.value} {status.phrase} without a Location", without_query(url)
                )
            url = joined(url, target)
            if answer.status not in KEEPS_METHOD and method != "HEAD":
                method, body = "GET", None
        raise SourceBadAnswer(
            f"more than {MAX_REDIRECTS} redirects in a row", without_query(request.url)
        )
