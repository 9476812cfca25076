"""Calls to addresses that clients name, without letting a client reach what only this server can reach.

ValueError
├── UrlNotAllowed    400   the URL itself: scheme, port, spelling, or a host that is not public
├── FetchFailed      400   the URL is fine, its server is not: no such name, refused, timed out, HTTP 404, …
└── RemoteTooLarge   413   the answer is larger than a picture may be

A host passes only if every address it resolves to is public, and the connection goes to one of those very addresses:
the name is looked up once, so it cannot change its answer in between. The socket itself counts bytes and time, so
neither endless headers nor a byte a second can hold a web thread past the deadline. Proxies, cookies, .netrc and
redirects are not avoided by options here: http.client has none of them. requests-hardened, the library for this, looks
only at a name's first address, and has no deadline, no cap on bytes and no place to put another lookup; its list of
networks is the yardstick of our tests.
"""

import functools
import http
import http.client
import io
import ipaddress
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, cast
from urllib.parse import quote, urljoin, urlsplit

import certifi
import idna

_PORTS = {"http": 80, "https": 443}
_MAX_URL = 4096
_MAX_ADDRESSES = 4
_CHUNK = 1 << 16
_MAX_ANSWER = 1 << 18  # bytes of a webhook's answer, of which only the status counts
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close", "User-Agent": "maquette"}

# Brackets or a name, then perhaps a port; neither user names nor percent signs nor zone ids.
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^][:@%/?#]+))(?::([0-9]{0,5}))?", re.IGNORECASE | re.ASCII)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_LOCAL_DOMAINS = ("localhost", "localdomain", "local", "internal", "intranet", "lan", "home.arpa")

# IPv6 addresses in use lie in 2000::/3, so all the others (mapped, NAT64, ULA, link-local, …) need no list.
_IPV6_IN_USE = ipaddress.ip_network("2000::/3")
_SPECIAL = [
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "168.63.129.16/32",  # Azure's host agent: looks public, answers only from within
        "192.0.0.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.175.48.0/24",
        "198.18.0.0/15",  # benchmarking
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "2001::/23",  # Teredo, ORCHID and other protocol assignments
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",
        "3fff::/20",
    )
]


class UrlNotAllowed(ValueError):
    status: ClassVar[int] = 400


class FetchFailed(ValueError):
    status: ClassVar[int] = 400


class RemoteTooLarge(ValueError):
    status: ClassVar[int] = 413


class _TooManyBytes(OSError):
    """More came over the wire than any answer we want; an OSError because http.client swallows ValueErrors."""


@functools.cache
def _tls_context() -> ssl.SSLContext:
    # The system's authorities and certifi's: slim containers and some Pythons on macOS have none of their own.
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _connect(address: str, port: int, timeout_s: float) -> socket.socket:
    return socket.create_connection((address, port), timeout_s)


@dataclass(frozen=True)
class Network:
    """The three doors to the outside; tests put their own in their place.

    Attributes:
        resolve: (host, port) → every address of the name; raises OSError.
        connect: (numeric address, port, seconds) → a connected socket; raises OSError.
        tls: who is trusted for https.
    """

    resolve: Callable[[str, int], list[str]] = _resolve
    connect: Callable[[str, int, float], socket.socket] = _connect
    tls: Callable[[], ssl.SSLContext] = _tls_context


INTERNET = Network()


@dataclass(frozen=True)
class _Target:
    """A URL taken apart: `host` without brackets and final dot, `path` with the query."""

    url: str
    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, above 0.

        Raises:
            TimeoutError: none are.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def fetch_image(
    url: str,
    *,
    max_bytes: int,
    allow_private: bool,
    timeout_s: float = 10.0,
    max_redirects: int = 3,
    name: str = "image_url",
    network: Network = INTERNET,
) -> bytes:
    """The bytes behind `url`; whether they are a picture is check_image's question.

    Args:
        allow_private: any port and any address, for tests and closed networks.
        timeout_s: for everything together: lookup, redirects, connection, the last byte.
        name: the request field, for the messages.
    Raises:
        UrlNotAllowed, FetchFailed, RemoteTooLarge: see the top of this file.
    """
    deadline = _Deadline(timeout_s)
    label = name
    try:
        for _ in range(max_redirects + 1):
            target = _parse(url, label, allow_private)
            answer = _get(target, label, max_bytes, allow_private, deadline, network)
            if isinstance(answer, bytes):
                return answer
            label = f"{name}, after a redirect,"
            url = _join(target.url, answer.location, label)
    except TimeoutError as error:
        raise FetchFailed(
            f"{name} took longer than {timeout_s:g} s; try again, or send the picture itself in the request"
        ) from error
    raise FetchFailed(f"{name} redirects more than {max_redirects} times; give the address it ends at")


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    allow_private: bool,
    timeout_s: float = 10.0,
    name: str = "webhook_url",
    network: Network = INTERNET,
) -> int:
    """Sends `body` to `url`: the HTTP status it was answered with. Redirects are not followed.

    Args:
        allow_private, timeout_s, name: as for fetch_image.
    Raises:
        UrlNotAllowed: the address is not one to be called.
        FetchFailed: nobody answered in time.
    """
    deadline = _Deadline(timeout_s)
    target = _parse(url, name, allow_private)
    try:
        addresses = _addresses(target, name, allow_private, deadline, network)
        with _open(target, addresses, deadline, network) as sock:
            connection = _connection(_MeteredSocket(sock, deadline, _MAX_ANSWER), target)
            plain = {"Host": target.host_header, "User-Agent": "maquette", "Connection": "close"}
            connection.request("POST", target.path, body, {**plain, **headers})
            with connection.getresponse() as response:
                return response.status
    except TimeoutError as error:
        raise FetchFailed(f"{name} took longer than {timeout_s:g} s to answer") from error
    except (OSError, http.client.HTTPException) as error:
        raise FetchFailed(f"{name} could not be called at {target.host}: {_reason(error)}") from error


def check_url(url: str, allow_private: bool, *, name: str = "image_url") -> None:
    """Raises early what needs no lookup: scheme, spelling, port, local names and numeric addresses.

    A name that passes may still resolve to a private address: fetch_image looks, and refuses it then.

    Raises:
        UrlNotAllowed: with the reason.
    """
    _parse(url, name, allow_private)


def is_public(address: str) -> bool:
    """Whether a numeric address belongs to somebody on the internet: unicast, global, no tunnel to another address."""
    ip = ipaddress.ip_address(address)
    if any(ip in network for network in _SPECIAL):
        return False
    return ip.is_global and (ip.version == 4 or ip in _IPV6_IN_USE)


def _parse(url: str, name: str, allow_private: bool) -> _Target:
    _check_scheme(url, name)
    if len(url) > _MAX_URL:
        raise UrlNotAllowed(f"{name} has {len(url)} characters; at most {_MAX_URL}")
    # Other parsers drop or turn such characters, and then see another host than we would.
    strange = next((char for char in url if char in " \\" or not char.isprintable()), None)
    if strange is not None:
        raise UrlNotAllowed(f"{name} holds {strange!r}; write it as a %xx escape")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UrlNotAllowed(f"{name} is not a URL ({error}); send http://host/path or https://host/path") from error
    if "@" in parts.netloc:
        raise UrlNotAllowed(f"{name} holds a user name or password; leave it out and use a link that needs none")
    authority = _AUTHORITY.fullmatch(parts.netloc)
    if authority is None:
        raise UrlNotAllowed(f"{name} has no host we can read: {parts.netloc[:100]!r}; send https://host/path")
    host = _check_host(authority[1] or "", authority[2] or "", name, allow_private)
    port = int(authority[3] or _PORTS[parts.scheme])
    if not (0 < port < 65536 if allow_private else port in _PORTS.values()):
        raise UrlNotAllowed(f"{name} asks for port {port}; only ports 80 and 443 are fetched from")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~[]")
    query = "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~[]?") if parts.query else ""
    return _Target(url, parts.scheme, host, port, path + query)


def _join(url: str, location: str, name: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise UrlNotAllowed(f"{name} is not a URL ({error}); give the address it should end at") from error


def _check_scheme(url: str, name: str) -> None:
    scheme, colon, rest = url[:_MAX_URL].partition(":")
    if scheme.lower() in _PORTS and rest.startswith("//"):
        return
    if scheme.lower() == "data":
        raise UrlNotAllowed(f"{name} is a data: URL; send its text in image_data")
    if colon and re.fullmatch(r"[a-zA-Z][a-zA-Z0-9+.-]{0,30}", scheme) and scheme.lower() not in _PORTS:
        raise UrlNotAllowed(f"{name} has the scheme {scheme.lower()}:; only http:// and https:// are fetched")
    raise UrlNotAllowed(f"{name} is {url[:100]!r}; send a full URL that begins with http:// or https://")


def _check_host(ipv6: str, host: str, name: str, allow_private: bool) -> str:
    """The host in its one spelling, refused where its text alone says that it is no public one."""
    host = ipv6 or _ascii_host(host, name)
    literal = _literal(host, name)
    if allow_private:
        return literal or host
    if literal is None and ("." not in host or host.endswith(tuple(f".{domain}" for domain in _LOCAL_DOMAINS))):
        raise UrlNotAllowed(f"{name} has the host {host!r}, a local name; send a URL on a public host")
    if literal is not None and not is_public(literal):
        raise UrlNotAllowed(_not_public(name, host))
    return literal or host


def _ascii_host(host: str, name: str) -> str:
    """A host name in lower case, in its xn-- form, without the final dot."""
    host = host.lower()
    try:
        # Full-width digits and dots become plain ones here, before anything is decided about them.
        host = host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise UrlNotAllowed(f"{name} has a host that is not a name: {host[:100]!r}; check its spelling") from error
    host = host.removesuffix(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise UrlNotAllowed(f"{name} has a host that is not a name: {host[:100]!r}; check its spelling")
    return host


def _literal(host: str, name: str) -> str | None:
    """A numeric address in its usual spelling, None for a name.

    As in browsers, a host whose last label is a number is an address. Of the many spellings that C libraries take
    (2130706433, 0x7f.1, 0177.0.0.1, 127.1) only four plain decimal numbers are accepted: the rest only serve to hide.
    """
    if ":" not in host and not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return None
    try:
        return str(ipaddress.ip_address(host))
    except ValueError as error:
        raise UrlNotAllowed(
            f"{name} has the host {host!r}, an unusual spelling of an address; "
            "write four decimal numbers (203.0.113.7), IPv6 in brackets, or a name"
        ) from error


def _not_public(name: str, host: str) -> str:
    return f"{name} has the host {host!r}, which is not a public address; send a URL on a public host"


@dataclass(frozen=True)
class _Redirect:
    location: str


def _get(
    target: _Target, name: str, max_bytes: int, allow_private: bool, deadline: _Deadline, network: Network
) -> bytes | _Redirect:
    addresses = _addresses(target, name, allow_private, deadline, network)
    try:
        with _open(target, addresses, deadline, network) as sock:
            # Twice the cap covers headers and chunk marks of an honest server.
            wire = _MeteredSocket(sock, deadline, 2 * max_bytes + (1 << 20))
            return _exchange(wire, target, name, max_bytes)
    except TimeoutError:
        raise
    except _TooManyBytes as error:
        raise RemoteTooLarge(_too_large(name, max_bytes)) from error
    except (OSError, http.client.HTTPException) as error:
        raise FetchFailed(f"{name} could not be fetched from {target.host}: {_reason(error)}") from error


def _addresses(target: _Target, name: str, allow_private: bool, deadline: _Deadline, network: Network) -> list[str]:
    """Where the host is, all of it allowed; the one lookup of this hop."""
    if _literal(target.host, name) is not None:
        return [target.host]
    try:
        found = _look_up(target, deadline, network)
    except TimeoutError:
        raise
    except (OSError, UnicodeError) as error:
        raise FetchFailed(f"{name} has the host {target.host!r}, which cannot be found; check its spelling") from error
    if not found:
        raise FetchFailed(f"{name} has the host {target.host!r}, which has no address; check its spelling")
    if not allow_private and not all(is_public(address) for address in found):
        raise UrlNotAllowed(_not_public(name, target.host))
    return found[:_MAX_ADDRESSES]


def _look_up(target: _Target, deadline: _Deadline, network: Network) -> list[str]:
    # getaddrinfo takes no timeout. A thread that is left behind ends with the resolver's own, some ten seconds later.
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(network.resolve(target.host, target.port))
        except Exception as error:  # raised again where the answer is waited for
            answers.put(error)

    threading.Thread(target=ask, name="look-up", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.left())
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _open(target: _Target, addresses: list[str], deadline: _Deadline, network: Network) -> socket.socket:
    """A connection to the first of the checked addresses that takes one, with TLS for https."""
    for rest in range(len(addresses), 0, -1):
        try:
            # The last address gets all the time left; a dead IPv6 route before it must not use it up.
            sock = network.connect(addresses[-rest], target.port, deadline.left() / rest)
            break
        except OSError:
            deadline.left()
            if rest == 1:
                raise
    if target.scheme == "http":
        return sock
    try:
        sock.settimeout(deadline.left())
        return network.tls().wrap_socket(sock, server_hostname=target.host)
    except BaseException:
        sock.close()
        raise


def _connection(wire: "_MeteredSocket", target: _Target) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.auto_open = 0  # it must never open a connection of its own, to an address nobody checked
    connection.sock = cast(socket.socket, wire)
    return connection


def _exchange(wire: "_MeteredSocket", target: _Target, name: str, max_bytes: int) -> bytes | _Redirect:
    connection = _connection(wire, target)
    connection.request("GET", target.path, headers={"Host": target.host_header, **_HEADERS})
    with connection.getresponse() as response:
        location = response.getheader("Location")
        if response.status in _REDIRECTS and location:
            # http.client reads headers as Latin-1; servers that do not escape their URLs write UTF-8.
            return _Redirect(location.encode("latin-1").decode("utf-8", "replace"))
        if response.status != 200:
            raise FetchFailed(f"{name} was answered with HTTP {_status(response.status)}; a picture needs HTTP 200")
        return _body(response, name, max_bytes)


def _body(response: http.client.HTTPResponse, name: str, max_bytes: int) -> bytes:
    encoding = response.getheader("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        # Asked for plain bytes, so this is a mistake or a bomb; a picture gains nothing from it.
        raise FetchFailed(f"{name} was answered with Content-Encoding {encoding[:20]!r}; serve the picture as it is")
    length = response.length
    if length is not None and length > max_bytes:
        raise RemoteTooLarge(_too_large(name, max_bytes))
    body = bytearray()
    while chunk := response.read(_CHUNK):
        body += chunk
        if len(body) > max_bytes:
            raise RemoteTooLarge(_too_large(name, max_bytes))
    if length is not None and len(body) < length:
        raise FetchFailed(f"{name} broke off after {len(body)} of {length} bytes; try again")
    return bytes(body)


class _MeteredSocket:
    """What http.client needs of a socket, with the deadline and the cap in every single read and write."""

    def __init__(self, sock: socket.socket, deadline: _Deadline, max_bytes: int) -> None:
        self._sock = sock
        self._deadline = deadline
        self._wire = _Wire(sock, deadline, max_bytes)

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self._deadline.left())
        self._sock.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._wire, _CHUNK)

    def close(self) -> None:
        """Nothing: http.client closes early, while the answer is still to be read; the opener closes."""


class _Wire(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: _Deadline, max_bytes: int) -> None:
        self._sock = sock
        self._deadline = deadline
        self._left = max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._sock.settimeout(self._deadline.left())
        count = self._sock.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise _TooManyBytes
        return count


def _too_large(name: str, max_bytes: int) -> str:
    return f"{name} leads to more than {max_bytes / 2**20:g} MiB; link to a smaller picture"


def _status(status: int) -> str:
    """The number and our own words for it: the server's could hold anything."""
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _reason(error: Exception) -> str:
    """What went wrong, without addresses and without the server's own words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its TLS certificate is not valid ({error.verify_message}); use a host with a valid one"
    if isinstance(error, ssl.SSLError):
        return "the TLS connection failed; check that the host serves https"
    if isinstance(error, ConnectionRefusedError):
        return "it refused the connection; check the URL"
    if isinstance(error, http.client.HTTPException):
        return "its answer is not HTTP or breaks off; check the URL"
    return "it cannot be reached, or broke off the connection; try again"
