"""Behind HAProxy, which tells by the PROXY protocol who its clients are: over TCP, a unix socket, and ending TLS."""

import contextlib
import json
import re
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.e2e.conftest import Start
from tests.kit.certificates import Authority
from tests.kit.proxies import SPOOFED, STRANGER, Proxies, Proxy, haproxy_config
from tests.kit.proxy_headers import CLIENT, version_2
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import PATIENCE, ROOT, until

pytestmark = pytest.mark.e2e

APP = ("tests.e2e.peer_application:app", "--app-dir", str(ROOT))
PATIENT = ("--proxy-protocol-timeout", str(PATIENCE))  # for headers that come when other things are done
# It passes on bytes, as a balancer of TCP does, and the clients' own words in their requests with them.
BYTES = """
frontend public
    mode tcp
    bind 127.0.0.1:{port}{tls}
    default_backend app
backend app
    mode tcp
    server one {server} {options}
"""
# It makes one connection for each client, and checks the server's health over connections of its own.
CHECKING = """
frontend public
    bind 127.0.0.1:{port}
    default_backend app
backend app
    option httpchk GET /health
    http-check send ver HTTP/1.1 hdr Host health
    server one {server} {options} check inter 50ms
"""


def behind(proxies: Proxies, server: str, options: str, *, kind: str = BYTES, certificate: bytes = b"") -> Proxy:
    """HAProxy before a server; with a certificate it ends TLS."""

    def configure(port: int, directory: Path) -> str:
        pair = directory / "pair.pem"
        pair.write_bytes(certificate)
        tls = f" ssl crt {pair}" if certificate else ""
        return haproxy_config(kind.format(port=port, server=server, options=options, tls=tls))

    return proxies.haproxy(configure)


def stranger(port: int, verify: ssl.SSLContext | bool = False) -> dict[str, Any]:
    """What a client that nobody trusts, and that lies in all fields that it knows, is taken for."""
    with httpx.Client(transport=httpx.HTTPTransport(local_address=STRANGER, verify=verify)) as client:
        scheme = "https" if verify else "http"
        told: dict[str, Any] = client.get(f"{scheme}://127.0.0.1:{port}/", headers=SPOOFED).json()
        return told


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may enter, unlike a test's own."""
    with TemporaryDirectory(prefix="corehttp-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.mark.feature
def test_each_bind_takes_the_headers_that_it_asks_for_and_nothing_else(
    start: Start, proxies: Proxies, open_directory: Path
) -> None:
    path = open_directory / "app.sock"
    binds = ("127.0.0.1:0,proxy-protocol=v1", "127.0.0.1:0,proxy-protocol=v2", f"unix:{path}", "127.0.0.1:0")
    words = [word for bind in binds[:3] for word in ("-b", bind)]
    server = start(*APP, *words, "-b", f"{binds[3]},proxy-protocol=off", "--proxy-protocol", "auto")
    one, two, plain = re.findall(r"http://127\.0\.0\.1:(\d+)", server.stderr)
    for place, options in (
        (f"127.0.0.1:{one}", "send-proxy"),
        (f"127.0.0.1:{two}", "send-proxy-v2 proxy-v2-options crc32c,unique-id"),
        (f"unix@{path}", "send-proxy"),
        (f"unix@{path}", "send-proxy-v2"),
    ):
        proxy = behind(proxies, place, options)
        told = stranger(proxy.port)
        assert told["client"][0] == STRANGER
        assert (told["server"], told["scheme"]) == (["127.0.0.1", proxy.port], "http")
        assert not [name for name in told["fields"] if "forwarded" in name or "real" in name]
        with connect(f"ws://127.0.0.1:{proxy.port}/", source_address=(STRANGER, 0), open_timeout=PATIENCE) as websocket:
            told = json.loads(websocket.recv(PATIENCE))
            assert (told["client"][0], told["server"], told["scheme"]) == (STRANGER, ["127.0.0.1", proxy.port], "ws")
    logged = re.compile(re.escape(STRANGER) + r':\d+ "GET / ')
    until(lambda: len(logged.findall(server.stdout)) == 8, "the lines of all requests")
    assert stranger(int(plain))["client"][0] == STRANGER
    for port in (one, two):
        with RawConnection(int(port)) as client, contextlib.suppress(ConnectionError):
            client.ask("/")
            assert client.socket.recv(1) == b""
    server.wait_for_log("and not with a PROXY header \\(--proxy-protocol v[12]; said once a minute\\)")


def test_a_proxy_that_ends_tls_says_so(start: Start, proxies: Proxies) -> None:
    authority = Authority()
    issued = authority.issue("127.0.0.1")
    trusting = ssl.create_default_context(cadata=authority.pem.decode())
    server = start(*APP, "--port", "0", "--proxy-protocol", "v2")
    place, pair = f"127.0.0.1:{server.port}", issued.pem + issued.key()
    with_state = behind(proxies, place, "send-proxy-v2-ssl-cn", certificate=pair)
    told = stranger(with_state.port, trusting)
    assert (told["client"][0], told["server"], told["scheme"]) == (STRANGER, ["127.0.0.1", with_state.port], "https")
    without = behind(proxies, place, "send-proxy-v2", certificate=pair)
    assert stranger(without.port, trusting)["scheme"] == "http"


def test_tls_begins_behind_the_header(start: Start, proxies: Proxies, tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.issue("127.0.0.1").write(tmp_path)
    trusting = ssl.create_default_context(cadata=authority.pem.decode())
    tls = ("--ssl-certfile", certificate, "--ssl-keyfile", key)
    server = start(*APP, "--port", "0", "--workers", "2", *tls, "--proxy-protocol", "auto")
    for options in ("send-proxy", "send-proxy-v2"):
        proxy = behind(proxies, f"127.0.0.1:{server.port}", options)
        told = stranger(proxy.port, trusting)
        assert (told["client"][0], told["server"], told["scheme"]) == (STRANGER, ["127.0.0.1", proxy.port], "https")
        wss = connect(f"wss://127.0.0.1:{proxy.port}/", ssl=trusting, source_address=(STRANGER, 0))
        with wss as websocket:
            told = json.loads(websocket.recv(PATIENCE))
            assert (told["client"][0], told["server"], told["scheme"]) == (STRANGER, ["127.0.0.1", proxy.port], "wss")
    assert "cut the connection" not in server.stderr
    with RawConnection(server.port) as client:
        received, written = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = trusting.wrap_bio(received, written, server_hostname="127.0.0.1")
        with contextlib.suppress(ssl.SSLWantReadError):
            session.do_handshake()
        client.socket.sendall(version_2() + written.read())  # in one segment
        client.wait_for(b"\x16\x03\x03")  # the server's first record (RFC 8446, 5.1)


@pytest.mark.parametrize("options", ["send-proxy check-send-proxy", "send-proxy-v2 check-send-proxy"])
def test_a_check_of_the_servers_health_comes_from_the_proxy_itself(
    start: Start, proxies: Proxies, options: str
) -> None:
    server = start(*APP, "--port", "0", "--proxy-protocol", "auto")
    proxy = behind(proxies, f"127.0.0.1:{server.port}", options, kind=CHECKING)
    until(lambda: len(re.findall(r'127\.0\.0\.1:\d+ .*"GET /health ', server.stdout)) > 2, "checks of health")
    assert stranger(proxy.port)["client"][0] == STRANGER
    assert "cut the connection" not in server.stderr


def test_a_client_stays_who_it_is_through_reloads(start: Start, proxies: Proxies) -> None:
    server = start(*APP, "--port", "0", "--workers", "2", "--proxy-protocol", "v2", *PATIENT)
    proxy = behind(proxies, f"127.0.0.1:{server.port}", "send-proxy-v2")
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(RawConnection(proxy.port)) for _ in range(10)]
        waiting = [opened.enter_context(RawConnection(server.port)) for _ in range(10)]  # for their own headers
        before = [said(client) for client in clients]
        for number in range(2):
            server.signal(signal.SIGHUP)
            server.wait_for_log("reloaded in", number + 1)
        after = [said(client) for client in clients]
        assert [one["client"] for one in after] == [[*client.socket.getsockname()] for client in clients]
        assert [one["client"] for one in before] == [one["client"] for one in after]
        assert not {one["pid"] for one in before} & {one["pid"] for one in after}
        for client in waiting:
            client.socket.sendall(version_2())
            assert said(client)["client"] == [*CLIENT]
    assert server.stop() == 0


def test_a_reload_changes_where_headers_are_expected(start: Start, tmp_path: Path) -> None:
    options = tmp_path / "corehttp.toml"
    one, two = (str(tmp_path / name) for name in ("one.sock", "two.sock"))
    options.write_text(f'bind = ["unix:{one}"]')
    server = start(*APP)
    for number, (plain, announced) in enumerate([(one, two), (two, one)], 1):
        options.write_text(f'bind = ["unix:{two}", "unix:{one}"]'.replace(announced, f"{announced},proxy-protocol=v2"))
        server.signal(signal.SIGHUP)
        server.wait_for_log("reloaded in", number)
        for place, header, told in ((plain, b"", None), (announced, version_2(), [*CLIENT])):
            with RawConnection(place) as client:
                client.socket.sendall(header)
                assert said(client)["client"] == told
    assert server.stop() == 0


def test_sticky_clients_are_known_by_the_address_that_the_proxy_tells(start: Start, proxies: Proxies) -> None:
    server = start(
        *APP, "--port", "0", "--workers", "3", "--proxy-protocol", "v2", "--sticky", "ip", "--rescue-after", "60"
    )
    proxy = behind(proxies, f"127.0.0.1:{server.port}", "send-proxy-v2")
    pids: dict[str, set[int]] = {}
    for host in [f"127.0.0.{number}" for number in range(60, 68)] * 3:
        with httpx.Client(transport=httpx.HTTPTransport(local_address=host)) as client:
            told = client.get(f"{proxy.url}/").json()
            assert told["client"][0] == host
            pids.setdefault(host, set()).add(told["pid"])
    assert [len(found) for found in pids.values()] == [1] * 8
    assert len(set.union(*pids.values())) > 1


def said(client: RawConnection) -> dict[str, Any]:
    """What a client is taken for."""
    found: dict[str, Any] = json.loads(client.get("/")[1])
    return found
