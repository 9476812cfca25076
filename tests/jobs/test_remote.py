"""image_url: what is refused before a connection, and what a hostile server cannot do after it."""

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from requests_hardened.ip_filter import EXTRA_BLOCKED_NET_RANGES

from jobs import remote
from jobs.remote import FetchFailed, Network, RemoteTooLarge, UrlNotAllowed, check_url, fetch_image, is_public

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
PUBLIC = "93.184.215.14"


class Site(ThreadingHTTPServer):
    """A server on 127.0.0.1 whose paths are functions; it remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.paths: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {"/a.png": send(PICTURE)}
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
        self.server.paths.get(self.path, send(b"internal secret", status=404))(self)

    def log_message(self, format: str, *args: object) -> None:
        pass


def send(body: bytes, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            if value:
                handler.send_header(key.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def redirect(location: str, status: int = 302) -> Callable[[BaseHTTPRequestHandler], None]:
    return send(b"", status=status, Location=location)


def raw(*pieces: bytes, pause: float = 0.0, repeat: int = 1) -> Callable[[BaseHTTPRequestHandler], None]:
    """Writes bytes as they are, head and all; the last piece `repeat` times with pauses."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        for piece in (*pieces[:-1], *[pieces[-1]] * repeat):
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(pause)

    return answer


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()


class Fake:
    """A network whose names are a table and whose every connection ends at one local port.

    `connections` and `lookups` hold what was asked for, so tests see which address would have been reached.
    """

    def __init__(
        self, local_port: int, names: dict[str, list[list[str]]], context: ssl.SSLContext | None = None
    ) -> None:
        self.local_port = local_port
        self.names = names
        self.lookups: list[str] = []
        self.connections: list[tuple[str, int]] = []
        self.network = Network(self._resolve, self._connect, lambda: context or ssl.create_default_context())

    def _resolve(self, host: str, port: int) -> list[str]:
        self.lookups.append(host)
        if host not in self.names:
            raise socket.gaierror(-2, "Name or service not known")
        answers = self.names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def _connect(self, address: str, port: int, timeout_s: float) -> socket.socket:
        self.connections.append((address, port))
        return socket.create_connection(("127.0.0.1", self.local_port), timeout_s)


def fetch(url: str, **changes: object) -> bytes:
    options: dict[str, object] = {"max_bytes": 1 << 20, "allow_private": True, "timeout_s": 5.0}
    return fetch_image(url, **(options | changes))  # type: ignore[arg-type]


# --- the good way


def test_gives_the_bytes_and_asks_for_nothing_else(site: Site) -> None:
    assert fetch(site.url + "/a.png") == PICTURE
    path, headers = site.asked[0]
    assert path == "/a.png"
    assert headers["host"] == f"127.0.0.1:{site.server_port}"
    assert headers["accept"] == "image/*"
    assert headers["accept-encoding"] == "identity"
    assert not headers.keys() & {"cookie", "authorization", "referer", "proxy-authorization"}


def test_query_stays_and_fragment_and_non_ascii_do_not(site: Site) -> None:
    site.paths["/b%C3%A9.png?x=1&y=%2F"] = send(PICTURE)
    assert fetch(site.url + "/bé.png?x=1&y=%2F#part") == PICTURE


def test_takes_chunked_answers_and_answers_without_a_length(site: Site) -> None:
    site.paths["/chunked"] = raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    site.paths["/endless"] = raw(b"HTTP/1.0 200 OK\r\n\r\n", b"abcde")
    assert fetch(site.url + "/chunked") == fetch(site.url + "/endless") == b"abcde"


def test_proxies_from_the_environment_are_not_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert fetch(site.url + "/a.png") == PICTURE


def test_a_public_name_is_reached_at_the_address_that_was_checked(site: Site) -> None:
    fake = Fake(site.server_port, {"public.test": [[PUBLIC]]})
    assert fetch("http://public.test/a.png", allow_private=False, network=fake.network) == PICTURE
    assert fake.connections == [(PUBLIC, 80)]
    assert site.asked[0][1]["host"] == "public.test"


def test_a_dead_address_is_followed_by_the_next_checked_one(site: Site) -> None:
    fake = Fake(site.server_port, {"public.test": [["2606:2800:21f::1", PUBLIC]]})

    def connect(address: str, port: int, timeout_s: float) -> socket.socket:
        if ":" in address:
            raise OSError("no route")
        return fake._connect(address, port, timeout_s)

    network = Network(fake.network.resolve, connect)
    assert fetch("http://public.test/a.png", allow_private=False, network=network) == PICTURE
    assert fake.lookups == ["public.test"]


def test_an_address_that_never_answers_does_not_use_up_the_time(site: Site) -> None:
    fake = Fake(site.server_port, {"public.test": [["2606:2800:21f::1", PUBLIC]]})

    def connect(address: str, port: int, timeout_s: float) -> socket.socket:
        if ":" in address:
            time.sleep(timeout_s)
            raise TimeoutError
        return fake._connect(address, port, timeout_s)

    network = Network(fake.network.resolve, connect)
    assert fetch("http://public.test/a.png", timeout_s=0.6, network=network) == PICTURE


@pytest.mark.parametrize("host", ["8.8.8.8", "[2606:4700::1111]"])
def test_a_numeric_host_is_not_looked_up(site: Site, host: str) -> None:
    fake = Fake(site.server_port, {})
    assert fetch(f"http://{host}/a.png", allow_private=False, network=fake.network) == PICTURE
    assert fake.lookups == [] and fake.connections == [(host.strip("[]"), 80)]
    assert site.asked[0][1]["host"] == host


# --- URLs that are refused by their text


REFUSED_ALWAYS = [
    "file:///etc/passwd",
    "ftp://example.com/a.png",
    "gopher://example.com/_x",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    "unix:///var/run/docker.sock",
    "http:example.com/a.png",
    "http:/example.com/a.png",
    "//example.com/a.png",
    "example.com/a.png",
    "",
    "http://",
    "http:///a.png",
    "http://:80/",
    "http://user@example.com/",
    "http://user:secret@example.com/",
    "http://example.com@127.0.0.1/",
    "http://example.com\\@127.0.0.1/",
    "http://example.com\\.evil.test/",
    " http://example.com/",
    "http://example.com/\n",
    "http://exa\tmple.com/",
    "http://example.com/a b",
    "http://example.com/\x00",
    "http://example.com/\r\nHost: internal",
    "http://example.com/\u2028",
    "http://exam%70le.com/",
    "http://example.com:80:80/",
    "http://example.com:99999/",
    "http://example.com:0/",
    "http://example.com:+80/",
    "http://example.com:٨٠/",
    "http://exa..mple.com/",
    "http://-example.com/",
    "http://" + "a" * 64 + ".com/",
    "http://" + "a." * 130 + "com/",
    "http://[::1/",
    "http://[::1]evil.test/",
    "http://[zz::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://2130706433/",
    "http://0177.0.0.1/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0X7F.1/",
    "http://127.1/",
    "http://0/",
    "http://127.0.0.0x1/",
    "http://127.0.0.01/",
    "http://256.1.1.1/",
    "http://1.2.3.4.5/",
    "http://２１３０７０６４３３/",
    "http://example.com/" + "a" * 5000,
]
REFUSED_AS_PRIVATE = [
    "http://127.0.0.1/",
    "http://127.0.0.1./",
    "http://１２７.０.０.１/",
    "http://127。0。0。1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127.255.255.254/",
    "http://0.0.0.0/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://192.0.0.192/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://[::]/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:8.8.8.8]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://[fd00:ec2::254]/",
    "http://[ff02::1]/",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://a.localhost/",
    "http://printer.local/",
    "http://metadata.google.internal/",
    "http://metadata.google.internal./",
    "http://redis/",
    "http://example.com:22/",
    "http://example.com:6379/",
    "https://example.com:8443/",
]


@pytest.mark.parametrize("url", REFUSED_ALWAYS)
@pytest.mark.parametrize("allow_private", [True, False])
def test_no_setting_lets_these_through(url: str, allow_private: bool) -> None:
    with pytest.raises(UrlNotAllowed, match="image_url"):
        check_url(url, allow_private)


@pytest.mark.parametrize("url", REFUSED_AS_PRIVATE)
def test_private_hosts_are_refused_without_a_lookup_or_a_connection(url: str) -> None:
    fake = Fake(9, {})
    with pytest.raises(UrlNotAllowed, match="image_url"):
        fetch(url, allow_private=False, network=fake.network)
    assert fake.lookups == fake.connections == []


@pytest.mark.parametrize("url", REFUSED_AS_PRIVATE)
def test_closed_networks_may_use_them(url: str) -> None:
    check_url(url, allow_private=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "HTTP://Example.COM./a",
        "http://8.8.8.8/",
        "https://[2606:4700::1111]:443/",
        "https://bücher.example/ä",
    ],
)
def test_public_urls_pass(url: str) -> None:
    check_url(url, allow_private=False)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "scheme file:; only http:// and https://"),
        ("data:image/png;base64," + "A" * 9999, "send its text in image_data"),
        ("http://user:secret@example.com/", "user name or password"),
        ("http://example.com:22/", "port 22; only ports 80 and 443"),
        ("http://127.1/", "four decimal numbers"),
    ],
)
def test_messages_say_what_to_do_and_name_the_field(url: str, words: str) -> None:
    with pytest.raises(UrlNotAllowed) as caught:
        check_url(url, allow_private=False, name="webhook_url")
    assert str(caught.value).startswith("webhook_url ") and words in str(caught.value)
    assert "secret" not in str(caught.value) and caught.value.status == 400


@given(st.text(max_size=40), st.sampled_from(["", "http://", "https://", "http://[", "http://a.b/"]), st.booleans())
def test_any_text_is_a_url_or_refused(text: str, start: str, allow_private: bool) -> None:
    with contextlib.suppress(UrlNotAllowed):
        check_url(start + text, allow_private)


# --- addresses


def test_every_network_that_requests_hardened_blocks_is_not_public() -> None:
    assert EXTRA_BLOCKED_NET_RANGES
    for network in EXTRA_BLOCKED_NET_RANGES:
        assert not is_public(str(network[0])) and not is_public(str(network[-1])), network


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_public(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    local = ip.is_private or ip.is_multicast or ip.is_reserved or ip.is_loopback or ip.is_link_local
    assert not (local and is_public(str(ip)))


@given(st.ip_addresses(v=4))
def test_no_ipv6_spelling_makes_an_ipv4_address_public(ip: ipaddress.IPv4Address) -> None:
    number = int(ip)
    for value in (number, 0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80):
        assert not is_public(str(ipaddress.IPv6Address(value)))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", PUBLIC, "2606:4700::1111", "2a00:1450:4001:82a::200e"])
def test_real_hosts_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], [PUBLIC, "10.0.0.1"], [PUBLIC, "::1"], ["fe80::1%eth0"]])
def test_a_name_with_any_private_address_is_refused_and_the_address_not_told(addresses: list[str]) -> None:
    fake = Fake(9, {"public.test": [addresses]})
    with pytest.raises(UrlNotAllowed, match="'public.test', which is not a public address") as caught:
        fetch("http://public.test/", allow_private=False, network=fake.network)
    assert fake.connections == [] and not any(address in str(caught.value) for address in addresses)


def test_a_name_that_changes_its_address_is_asked_only_once(site: Site) -> None:
    fake = Fake(site.server_port, {"rebind.test": [[PUBLIC], ["127.0.0.1"]]})
    assert fetch("http://rebind.test/a.png", allow_private=False, network=fake.network) == PICTURE
    assert fake.lookups == ["rebind.test"] and fake.connections == [(PUBLIC, 80)]


def test_a_name_that_changes_between_redirects_is_checked_again(site: Site) -> None:
    site.paths["/again"] = redirect("/a.png")
    fake = Fake(site.server_port, {"rebind.test": [[PUBLIC], ["127.0.0.1"]]})
    with pytest.raises(UrlNotAllowed, match="not a public address"):
        fetch("http://rebind.test/again", allow_private=False, network=fake.network)
    assert fake.connections == [(PUBLIC, 80)]


# --- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(site: Site, status: int) -> None:
    site.paths |= {
        "/1": redirect("2", status),
        "/2": redirect(site.url + "/3", status),
        "/3": redirect("/a.png", status),
    }
    assert fetch(site.url + "/1") == PICTURE
    assert [path for path, _ in site.asked] == ["/1", "/2", "/3", "/a.png"]


def test_the_fourth_redirect_ends_it(site: Site) -> None:
    site.paths["/loop"] = redirect("/loop")
    with pytest.raises(FetchFailed, match="redirects more than 3 times"):
        fetch(site.url + "/loop")
    assert len(site.asked) == 4


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/a.png",
        "//127.0.0.1/a.png",
        "http://inside.test/a.png",
        "http://localhost/",
        "http://[::1]/",
        "http://public.test:6379/",
        "http://user@public.test/",
        "file:///etc/passwd",
        "ftp://public.test/",
        "http://[::1",
        "http://2130706433/",
        "http://public.test\\@127.0.0.1/",
    ],
)
def test_a_redirect_is_checked_like_the_first_url(site: Site, location: str) -> None:
    site.paths["/go"] = redirect(location)
    fake = Fake(site.server_port, {"public.test": [[PUBLIC]], "inside.test": [["10.1.2.3"]]})
    with pytest.raises(UrlNotAllowed, match="image_url, after a redirect,") as caught:
        fetch("http://public.test/go", allow_private=False, network=fake.network)
    assert [path for path, _ in site.asked] == ["/go"] and "10.1.2.3" not in str(caught.value)


# --- servers that answer badly


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (send(b"internal secret", status=404), "HTTP 404 Not Found"),
        (send(b"internal secret", status=500), "HTTP 500 Internal Server Error"),
        (send(b"", status=204), "HTTP 204"),
        (send(b"", status=302), "HTTP 302"),
        (raw(b"HTTP/1.0 799 internal secret\r\n\r\n"), "HTTP 799;"),
        (send(PICTURE, Content_Encoding="gzip"), "Content-Encoding 'gzip'"),
        (raw(b"internal secret\r\n\r\n"), "not HTTP"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"abc"), "broke off after 3 of 10 bytes"),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\ninternal secret"), "not HTTP"),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"9\r\nabc"), "breaks off"),
        (raw(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n"), "not HTTP"),
        (raw(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70000 + b"\r\n\r\n"), "not HTTP"),
    ],
)
def test_a_bad_answer_is_described_but_not_repeated(
    site: Site, answer: Callable[[BaseHTTPRequestHandler], None], words: str
) -> None:
    site.paths["/bad"] = answer
    with pytest.raises(FetchFailed) as caught:
        fetch(site.url + "/bad")
    assert words in str(caught.value) and "secret" not in str(caught.value)
    assert caught.value.status == 400


def test_an_unknown_name_and_a_closed_port_are_told_apart() -> None:
    with pytest.raises(FetchFailed, match="'nowhere.test', which cannot be found"):
        fetch("http://nowhere.test/", network=Fake(9, {}).network)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(FetchFailed, match="refused the connection"):
            fetch(f"http://127.0.0.1:{closed.getsockname()[1]}/")


def test_a_length_above_the_cap_is_refused_before_the_body(site: Site) -> None:
    site.paths["/big"] = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n", b"a", pause=2)
    began = time.monotonic()
    with pytest.raises(RemoteTooLarge, match="more than 1 MiB") as caught:
        fetch(site.url + "/big")
    assert time.monotonic() - began < 1 and caught.value.status == 413


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
    ],
)
def test_a_stream_without_an_end_is_cut_at_the_cap(site: Site, head: bytes) -> None:
    sent: list[int] = []

    def flood(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(head)
        with contextlib.suppress(OSError):
            while len(sent) < 1000:
                handler.wfile.write(bytes(1 << 16))
                sent.append(1)

    site.paths["/flood"] = flood
    with pytest.raises(RemoteTooLarge):
        fetch(site.url + "/flood")
    assert len(sent) < 1000


def test_exactly_the_cap_is_allowed(site: Site) -> None:
    site.paths["/full"] = send(bytes(1000))
    assert fetch(site.url + "/full", max_bytes=1000) == bytes(1000)
    with pytest.raises(RemoteTooLarge):
        fetch(site.url + "/full", max_bytes=999)


# --- the deadline


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\n", b"A"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b"a"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"a"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n",),
    ],
)
def test_a_byte_now_and_then_does_not_move_the_deadline(site: Site, pieces: tuple[bytes, ...]) -> None:
    site.paths["/drip"] = raw(*pieces, pause=0.05, repeat=40)
    began = time.monotonic()
    with pytest.raises(FetchFailed, match="longer than 0.4 s"):
        fetch(site.url + "/drip", timeout_s=0.4)
    assert 0.35 < time.monotonic() - began < 1.0


def test_redirects_share_one_deadline(site: Site) -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.2)
        redirect("/slow")(handler)

    site.paths["/slow"] = slow
    with pytest.raises(FetchFailed, match="longer than 0.5 s"):
        fetch(site.url + "/slow", timeout_s=0.5)


def test_a_lookup_that_hangs_ends_at_the_deadline() -> None:
    def hang(host: str, port: int) -> list[str]:
        time.sleep(2)
        return [PUBLIC]

    began = time.monotonic()
    with pytest.raises(FetchFailed, match="longer than 0.2 s"):
        fetch("http://slow.test/", timeout_s=0.2, network=Network(resolve=hang))
    assert time.monotonic() - began < 1


def test_a_tls_handshake_that_never_ends_is_cut() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(FetchFailed, match="longer than 0.3 s"):
            fetch(f"https://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=0.3)
    assert time.monotonic() - began < 1


# --- TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority nobody knows."""
    return trustme.CA()


@pytest.fixture
def secure_site(site: Site, authority: trustme.CA) -> Site:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("good.test").configure_cert(context)
    context.sni_callback = lambda _sock, name, _context: site.asked.append(("sni", {"name": str(name)}))
    site.socket = context.wrap_socket(site.socket, server_side=True)
    return site


def test_https_checks_the_certificate_against_the_name_not_the_address(
    secure_site: Site, authority: trustme.CA
) -> None:
    names = {"good.test": [[PUBLIC]], "other.test": [[PUBLIC]]}
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    fake = Fake(secure_site.server_port, names, trusting)
    assert fetch("https://good.test/a.png", allow_private=False, network=fake.network) == PICTURE
    assert secure_site.asked[0] == ("sni", {"name": "good.test"})
    assert secure_site.asked[1][1]["host"] == "good.test"
    assert fake.connections == [(PUBLIC, 443)]
    with pytest.raises(FetchFailed, match="TLS certificate is not valid"):
        fetch("https://other.test/a.png", allow_private=False, network=fake.network)


def test_an_unknown_authority_is_refused(secure_site: Site) -> None:
    fake = Fake(secure_site.server_port, {"good.test": [[PUBLIC]]})
    with pytest.raises(FetchFailed, match="TLS certificate is not valid"):
        fetch("https://good.test/a.png", network=Network(fake.network.resolve, fake.network.connect))
    assert remote._tls_context().verify_mode == ssl.CERT_REQUIRED


def test_https_to_a_plain_server_is_explained(site: Site) -> None:
    with pytest.raises(FetchFailed, match="TLS connection failed"):
        fetch(site.url.replace("http:", "https:") + "/a.png")
