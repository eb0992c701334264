"""A service over TLS in this process, in both event loops, with Python's own TLS as its client."""

import asyncio
import contextlib
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import uvloop

from corehttp import serve
from corehttp.asgi import Receive, Scope, Send
from corehttp.embed import Server
from corehttp.protocols import tls_opening
from corehttp.protocols.http1 import connection
from tests.kit.certificates import Authority

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
LIMIT = 10.0  # seconds that anything here may take

Run = Callable[[Coroutine[object, object, None]], None]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a coroutine in each of the event loops."""
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        yield runner.run


@cache
def authority() -> Authority:
    return Authority()


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, Any]:
    """The options for a certificate of `localhost`."""
    certfile, keyfile = authority().issue("localhost").write(tmp_path)
    return {"ssl_certfile": certfile, "ssl_keyfile": keyfile}


def client(directory: Path | None = None, *, days: float = 90) -> ssl.SSLContext:
    """What a client is wrapped with; with a directory it has a certificate of its own that ends in `days`."""
    context = ssl.create_default_context(cadata=authority().pem.decode())
    context.check_hostname = False
    if directory is not None:
        context.load_cert_chain(*authority().issue(days=days, common_name="Käthe, Köln").write(directory, "client"))
    return context


@contextlib.asynccontextmanager
async def connected(server: Server, context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Reader, Writer]]:
    async with asyncio.timeout(LIMIT):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def ask(reader: Reader, writer: Writer, path: str = "/", fields: str = "") -> bytes:
    """The body of the answer to a request."""
    writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n".encode())
    return await answer(reader)


def read_one(port: int | None, context: ssl.SSLContext) -> None:
    """Connect, and read a byte; for a thread."""
    with (
        socket.create_connection(("127.0.0.1", port or 0), LIMIT) as cleartext,
        context.wrap_socket(cleartext, server_hostname="localhost") as connection,
    ):
        connection.recv(1)


def asked(port: int | None, context: ssl.SSLContext) -> ssl.SSLSocket:
    """A connection on which a request was answered; for a thread."""
    cleartext = socket.create_connection(("127.0.0.1", port or 0), LIMIT)
    connected = context.wrap_socket(cleartext, server_hostname="localhost")
    connected.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert connected.recv(65536)
    return connected


async def answer(reader: Reader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    return await reader.readexactly(int(lines[b"content-length"]))


async def tell_scope(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what the scope says of the connection."""
    if scope["type"] != "http":
        return
    told = {"scheme": scope["scheme"], "tls": scope["extensions"].get("tls")}
    body = json.dumps(told).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def send_much(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with 8 MB in one piece."""
    if scope["type"] == "http":
        size = 8_000_000
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        await send({"type": "http.response.body", "body": b"x" * size})


def test_the_scope_tells_of_tls_and_each_request_gets_its_own(run: Run, pair: dict[str, Any]) -> None:
    certificate = Path(pair["ssl_certfile"]).read_text()

    async def main() -> None:
        async with serve(tell_scope, port=0, **pair) as server, connected(server, client()) as (reader, writer):
            assert server.url.startswith("https://127.0.0.1:")
            first, again, third = [json.loads(await ask(reader, writer)) for _ in range(3)]
            assert first == again == third
            assert first["scheme"] == "https"
            tls = first["tls"]
            assert tls["server_cert"] == certificate
            assert (tls["client_cert_chain"], tls["client_cert_name"], tls["client_cert_error"]) == ([], None, None)
            assert tls["tls_version"] == 0x0304
            assert tls["cipher_suite"] in (0x1301, 0x1302, 0x1303)

    run(main())


def test_a_client_is_told_by_its_certificate_and_tls_12_by_its_numbers(
    run: Run, pair: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    options = {**pair, "ssl_ca_certs": tmp_path / "ca.pem", "ssl_cert_reqs": "required"}
    context = client(tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")

    async def main() -> None:
        async with serve(tell_scope, port=0, **options) as server, connected(server, context) as (reader, writer):
            tls = json.loads(await ask(reader, writer))["tls"]
            assert tls["client_cert_chain"][0].split() == (tmp_path / "client.crt").read_text().split()
            assert tls["client_cert_name"] == "CN=Käthe\\, Köln"
            assert (tls["tls_version"], tls["cipher_suite"]) == (0x0303, 0xC02B)

    run(main())


@pytest.mark.parametrize(("days", "alert"), [(None, "CERTIFICATE_REQUIRED"), (-1, "CERTIFICATE_EXPIRED")])
def test_a_client_without_a_certificate_that_counts_is_told_why_it_is_refused(
    run: Run, pair: dict[str, Any], tmp_path: Path, days: float | None, alert: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    options = {**pair, "ssl_ca_certs": tmp_path / "ca.pem", "ssl_cert_reqs": "required"}
    context = client() if days is None else client(tmp_path, days=days)

    async def main() -> None:
        async with serve(tell_scope, port=0, **options) as server:
            with pytest.raises(ssl.SSLError, match=alert):
                await asyncio.to_thread(read_one, server.port, context)

    caplog.set_level(logging.DEBUG, "corehttp.error")
    run(main())
    (line,) = [record for record in caplog.records if "handshake" in record.message]
    assert line.levelno == logging.INFO
    assert "127.0.0.1" in line.message


def test_who_speaks_cleartext_is_told_so(run: Run, pair: dict[str, Any]) -> None:
    async def main() -> None:
        async with serve(tell_scope, port=0, **pair) as server, connected(server) as (reader, writer):
            writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            told = await reader.read()
            assert told.startswith(b"HTTP/1.1 400 ")
            assert b"HTTPS port" in told

    run(main())


@pytest.mark.parametrize("sent", [b"\0\1\2", b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\0\5hello", b"\x80\x2e\1"])
def test_what_is_no_handshake_is_cut(run: Run, pair: dict[str, Any], sent: bytes) -> None:
    async def main() -> None:
        async with serve(tell_scope, port=0, **pair) as server:
            async with connected(server) as (reader, writer):
                writer.write(sent)
                with contextlib.suppress(ConnectionError):
                    assert not (await reader.read()).startswith(b"HTTP")
            async with connected(server, client()) as (reader, writer):
                assert await ask(reader, writer)

    run(main())


def test_a_first_record_may_come_byte_by_byte_and_a_request_with_the_end_of_the_handshake(
    run: Run, pair: dict[str, Any]
) -> None:
    async def main() -> None:
        async with serve(tell_scope, port=0, **pair) as server, connected(server) as (reader, writer):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = client().wrap_bio(incoming, outgoing)
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            for byte in outgoing.read():
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)
            while True:
                incoming.write(await reader.read(65536))
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    continue
                break
            tls.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            writer.write(outgoing.read())  # in one segment with the last message of the handshake
            body = b""
            while b'"https"' not in body:
                incoming.write(await reader.read(65536))
                with contextlib.suppress(ssl.SSLWantReadError):
                    body += tls.read(65536)

    run(main())


def test_a_large_response_goes_out_whole_over_a_connection_that_ends_and_nothing_in_cleartext(
    run: Run, pair: dict[str, Any]
) -> None:
    async def main() -> None:
        async with serve(send_much, port=0, **pair) as server, connected(server, client()) as (reader, writer):
            assert len(await ask(reader, writer, fields="connection: close\r\n")) == 8_000_000
            assert await reader.read() == b""
        async with serve(tell_scope, port=0, **pair) as server, connected(server, client()) as (reader, writer):
            assert await ask(reader, writer, fields="connection: close\r\n")
            assert await reader.read() == b""

    run(main())


def test_handshakes_that_never_end_hold_nobody_up(run: Run, pair: dict[str, Any]) -> None:
    async def main() -> None:
        async with serve(tell_scope, port=0, timeout_graceful_shutdown=0.1, **pair) as server:
            with contextlib.ExitStack() as silent:
                address = ("127.0.0.1", server.port or 0)
                clients = [silent.enter_context(socket.create_connection(address)) for _ in range(200)]
                for slow in clients[::2]:
                    slow.send(b"\x16\x03\x01\2\0\1")
                async with connected(server, client()) as (reader, writer):
                    assert await ask(reader, writer)
                await server.stop()

    run(main())


def test_a_stop_waits_neither_for_silent_clients_nor_for_their_close_notify(
    run: Run, pair: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_opening, "LINGER", 10 * LIMIT)
    monkeypatch.setattr(connection, "LINGER", 10 * LIMIT)

    async def main() -> None:
        async with serve(tell_scope, port=0, timeout_graceful_shutdown=10 * LIMIT, **pair) as server:
            deaf = await asyncio.to_thread(asked, server.port, client())  # it reads nothing any more
            with deaf, socket.create_connection(("127.0.0.1", server.port or 0)):
                began = asyncio.get_running_loop().time()
                await server.stop()
                assert asyncio.get_running_loop().time() - began < LIMIT

    run(main())


def test_a_client_that_ends_without_close_notify_is_gone(run: Run, pair: dict[str, Any]) -> None:
    begun, gone = asyncio.Event(), asyncio.Event()

    async def wait_for_end(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            begun.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

    async def main() -> None:
        async with serve(wait_for_end, port=0, **pair) as server:
            async with connected(server, client()) as (_, writer):
                writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
                await begun.wait()
                writer.transport.abort()
            async with asyncio.timeout(LIMIT):
                await gone.wait()

    run(main())


def redirecting() -> tuple[str, tuple[str, int]]:
    """A bind to a free port, whose socket the service closes, and the address of that."""
    ours = socket.create_server(("127.0.0.1", 0))
    address = ours.getsockname()
    return f"fd://{ours.detach()}", address


@pytest.mark.parametrize(
    ("request_line", "host", "location"),
    [
        ("GET /a%20b/?c=d&e", "shop.example:8080", "https://shop.example:{}/a%20b/?c=d&e"),
        ("POST /", "[::1]", "https://[::1]:{}/"),
        ("GET http://other.example/x", "shop.example", "https://other.example:{}/x"),
        ("OPTIONS *", "shop.example", "https://shop.example:{}/"),
        ("HEAD //evil.example/", "shop.example", "https://shop.example:{}//evil.example/"),
    ],
)
def test_in_cleartext_a_redirecting_bind_answers_every_request_with_the_url_of_https(
    pair: dict[str, Any], request_line: str, host: str, location: str
) -> None:
    async def main() -> None:
        place, address = redirecting()
        async with serve(tell_scope, port=0, redirect_http=place, **pair) as server, asyncio.timeout(LIMIT):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(f"{request_line} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert head.startswith("HTTP/1.1 308 ")
            assert f"location: {location.format(server.port)}\r\n" in head
            writer.transport.abort()
            async with connected(server, client()) as (reader, writer):
                assert json.loads(await ask(reader, writer))["scheme"] == "https"

    asyncio.run(main())


def test_a_redirecting_bind_refuses_who_names_no_host_or_wants_a_websocket(pair: dict[str, Any]) -> None:
    async def main() -> None:
        place, address = redirecting()
        async with serve(tell_scope, port=0, redirect_http=place, **pair), asyncio.timeout(LIMIT):
            upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
            key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            for sent, status in (
                ("GET / HTTP/1.0\r\n\r\n", 400),
                ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
                (f"GET / HTTP/1.1\r\nhost: shop.example\r\n{upgrade}{key}\r\n", 403),
            ):
                reader, writer = await asyncio.open_connection(*address)
                writer.write(sent.encode())
                assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 %d " % status)
                writer.transport.abort()

    asyncio.run(main())
