"""WebSockets with real clients: what is said both ways, how it ends, and what is too much."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.e2e.conftest import Start
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import ROOT, ServerProcess, until
from tests.kit.websocket_clients import (
    CLIENTS,
    HANDSHAKE,
    WELCOME,
    Open,
    by_aiohttp,
    by_picows,
    by_websockets,
    framed,
)

pytestmark = pytest.mark.e2e

APP = ("tests.e2e.websocket_application:app", "--app-dir", str(ROOT), "--port", "0")
STACKS = {
    "uvloop and httptools": ("--loop", "uvloop", "--http", "httptools"),
    "asyncio and h11": ("--loop", "asyncio", "--http", "h11"),
    "whole windows": ("--ws-compression", "full"),
}


class Site:
    """A server for all tests that only talk to it."""

    def __init__(self, server: ServerProcess, directory: Path) -> None:
        self.server = server
        self.url = server.url.replace("http", "ws")
        self._events = directory / "events"

    def events(self, text: str) -> int:
        """How often the application has noted it."""
        return self._events.read_text().count(text)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("uvloop and httptools", marks=pytest.mark.feature),
        pytest.param("asyncio and h11"),
        "whole windows",
    ],
)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    server = ServerProcess((*APP, *STACKS[request.param]), directory)
    try:
        server.wait_until_ready()
        yield Site(server, directory)
        assert server.stop() == 0
        server.check_nothing_is_left()
    finally:
        server.end()


@pytest.fixture(params=CLIENTS)
def opened(request: pytest.FixtureRequest) -> Open:
    return CLIENTS[request.param]


def address(server: ServerProcess, path: str) -> str:
    return server.url.replace("http", "ws") + path


# What is said.


async def test_text_and_bytes_come_back_as_they_were(site: Site, opened: Open) -> None:
    async with opened(f"{site.url}/echo") as client:
        for message in ("", b"", "grüße 🐍", bytes(range(256)), "x" * 125, "y" * 126, b"z" * 65536, "long " * 50_000):
            await client.send(message)
            assert await client.receive() == message


async def test_large_messages_come_back_whole(site: Site, opened: Open) -> None:
    async with opened(f"{site.url}/echo") as client:
        for message in (os.urandom(4_000_000), "grüße" * 500_000):
            await client.send(message)
            assert await client.receive() == message


async def test_many_messages_come_back_in_order(site: Site, opened: Open) -> None:
    async with opened(f"{site.url}/echo") as client:
        for number in range(1000):
            await client.send(str(number))
        assert [await client.receive() for _ in range(1000)] == [str(number) for number in range(1000)]


async def test_fragments_become_one_message(site: Site) -> None:
    pieces = ["gr", "ü", "", "ß" * 70_000, "e"]
    async with by_websockets(f"{site.url}/echo") as client:
        await client.send_in_pieces(pieces)
        assert await client.receive() == "".join(pieces)
    async with by_websockets(f"{site.url}/echo", compression="deflate") as client:
        await client.send_in_pieces(pieces)
        assert await client.receive() == "".join(pieces)
    async with by_picows(f"{site.url}/echo") as other:
        await other.send_in_pieces(pieces)
        assert await other.receive() == "".join(pieces)


async def test_compression_is_agreed_on_with_clients_that_offer_it(site: Site) -> None:
    async with by_websockets(f"{site.url}/echo", compression="deflate") as client:
        [agreed] = client.connection.protocol.extensions
        assert agreed.name == "permessage-deflate"
    async with by_aiohttp(f"{site.url}/echo", compress=15) as other:
        assert other.compresses
    async with by_websockets(f"{site.url}/echo") as plain:
        assert not plain.connection.protocol.extensions


def test_what_compresses_well_is_short_on_the_wire(site: Site) -> None:
    with RawConnection(site.server.port) as client:
        client.ask("/echo", *HANDSHAKE, "sec-websocket-extensions: permessage-deflate")
        client.wait_for(WELCOME)
        client.socket.sendall(b"".join(framed(b"x" * 100, 0x00 if n else 0x01) for n in range(20)) + framed(b"", 0x80))
        client.socket.sendall(framed((1000).to_bytes(2), 0x88))
        _, _, frames = client.rest().partition(WELCOME)
    assert frames[0] == 0xC1, "a whole text that is compressed (RFC 7692, 7.2.3)"
    assert len(frames) < 50


async def test_the_subprotocol_is_what_the_application_chose(site: Site, opened: Open) -> None:
    async with opened(f"{site.url}/echo") as client:
        assert client.subprotocol == "chat"


async def test_a_ping_is_answered(site: Site, opened: Open) -> None:
    async with opened(f"{site.url}/echo") as client:
        for _ in range(3):
            await client.ping()


async def test_the_application_is_told_what_was_asked_for(site: Site) -> None:
    async with by_websockets(f"{site.url}/witness?a=b") as client:
        scope = json.loads(await client.receive())
        assert client.connection.response is not None
        assert client.connection.response.headers["x-served-by"] == "tests"
    assert scope.pop("extensions").keys() >= {"websocket.http.response"}
    assert scope == {
        "type": "websocket",
        "scheme": "ws",
        "http_version": "1.1",
        "path": "/witness",
        "query_string": "b'a=b'",
        "root_path": "",
        "subprotocols": ["talk", "chat"],
        "asgi": {"version": "3.0", "spec_version": "2.5"},
    }


def test_a_message_in_the_segment_of_the_handshake_is_not_lost(site: Site) -> None:
    with RawConnection(site.server.port) as client:
        head = "".join(f"{line}\r\n" for line in ("GET /echo HTTP/1.1", "host: a", *HANDSHAKE, ""))
        client.socket.sendall(head.encode() + framed(b"early") + framed((1000).to_bytes(2), 0x88))
        assert client.rest().partition(WELCOME)[2] == b"\x81\x05early\x88\x02\x03\xe8"


def test_a_connection_that_was_used_for_requests_becomes_a_websocket(site: Site) -> None:
    with RawConnection(site.server.port) as client:
        assert client.get("/")[1] == b"hello"
        client.ask("/echo", *HANDSHAKE)
        client.wait_for(WELCOME)
        client.socket.sendall(framed(b"hi") + framed((1000).to_bytes(2), 0x88))
        assert client.rest().partition(WELCOME)[2] == b"\x81\x02hi\x88\x02\x03\xe8"


# How it ends.


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going"), (3001, "enough"), (4999, "grüße")])
async def test_the_application_is_told_why_the_client_closed(site: Site, opened: Open, code: int, reason: str) -> None:
    before = site.events(f"disconnect {code} {reason!r}")
    async with opened(f"{site.url}/echo") as client:
        await client.send("hi")
        assert await client.receive() == "hi"
        assert await client.close(code, reason) == code
    until(lambda: site.events(f"disconnect {code} {reason!r}") == before + 1, "the end")


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1008, "not allowed"), (4000, "grüße")])
async def test_the_client_is_told_why_the_application_closed(site: Site, opened: Open, code: int, reason: str) -> None:
    async with opened(f"{site.url}/close?code={code}&reason={quote(reason)}") as client:
        assert await client.closed() == (code, reason)


def test_a_client_that_is_gone_without_a_word_ends_with_1006(site: Site) -> None:
    before = site.events("disconnect 1006 ''")
    with RawConnection(site.server.port) as client:
        client.ask("/echo", *HANDSHAKE)
        client.wait_for(WELCOME)
        client.reset()
    until(lambda: site.events("disconnect 1006 ''") == before + 1, "the end")


async def test_an_application_that_fails_ends_with_1011_and_a_traceback(site: Site, opened: Open) -> None:
    before = site.server.stderr.count("RuntimeError: the application is broken")
    async with opened(f"{site.url}/fail") as client:
        code, reason = await client.closed()
    assert code == 1011
    assert "broken" not in reason, "what is wrong is nobody else's business"
    assert site.server.stderr.count("RuntimeError: the application is broken") == before + 1


async def test_an_application_can_refuse(site: Site) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await connect(f"{site.url}/refuse")
    assert refusal.value.response.status_code == 403
    with pytest.raises(InvalidStatus) as refusal:
        await connect(f"{site.url}/deny")
    response = refusal.value.response
    assert (response.status_code, response.headers["x-why"], response.body) == (418, "tea", b"a teapot")


def test_another_version_of_the_protocol_is_told_which_is_served(site: Site) -> None:
    with RawConnection(site.server.port) as client:
        client.ask("/echo", *(field.replace("version: 13", "version: 8") for field in HANDSHAKE))
        head, _ = client.answer()
    assert head.startswith(b"HTTP/1.1 426 ")
    assert b"\r\nsec-websocket-version: 13" in head.lower()


# What is too much.


@pytest.mark.feature
async def test_a_message_that_is_too_large_ends_with_1009(start: Start) -> None:
    server = start(*APP, "--ws-max-size", "100K")
    for compression in (None, "deflate"):  # which makes it small on the wire
        async with by_websockets(address(server, "/echo"), compression=compression) as client:
            await client.send("x" * 102_400)
            assert await client.receive() == "x" * 102_400
            await client.send("x" * 102_401)
            code, _ = await client.closed()
            assert code == 1009
    assert server.stop() == 0


@pytest.mark.feature
async def test_an_application_that_is_late_loses_nothing(start: Start) -> None:
    server = start(*APP, "--ws-max-queue", "4")
    async with by_websockets(address(server, "/late?seconds=0.5")) as client:
        for number in range(3000):
            await client.send(f"{number:.<1000}")  # more than the kernel keeps: the client has to wait
        await client.send("end")
        assert json.loads(await client.receive()) == [str(number) for number in range(3000)]
    assert server.stop() == 0


@pytest.mark.feature
async def test_one_websocket_too_many_is_refused_until_another_ends(start: Start) -> None:
    server = start(*APP, "--limit-websockets", "2")
    url = address(server, "/echo")
    async with by_websockets(url), by_websockets(url) as second:
        with pytest.raises(InvalidStatus) as refusal:
            await connect(url)
        assert refusal.value.response.status_code == 503
        with RawConnection(server.port) as ordinary:
            assert ordinary.get("/")[1] == b"hello"
        await second.close(1000, "")
        async with by_websockets(url) as third:
            await third.send("hi")
            assert await third.receive() == "hi"
    assert server.stop() == 0


@pytest.mark.feature
def test_switched_off_an_upgrade_is_an_ordinary_request(start: Start) -> None:
    server = start(*APP, "--ws", "off")
    with RawConnection(server.port) as client:
        client.ask("/echo", *HANDSHAKE)
        head, body = client.answer()
        assert head.startswith(b"HTTP/1.1 200 ")
        assert body == b"hello"
        assert client.get("/")[1] == b"hello", "the connection is kept"
    assert server.stop() == 0


@pytest.mark.feature
async def test_who_answers_pings_stays_and_who_does_not_is_closed_with_1011(start: Start) -> None:
    server = start(*APP, "--ws-ping-interval", "1", "--ws-ping-timeout", "1")
    async with by_websockets(address(server, "/echo")) as answering:
        with RawConnection(server.port) as silent:
            silent.ask("/echo", *HANDSHAKE)
            _, _, frames = (await asyncio.to_thread(silent.rest)).partition(WELCOME)
        assert frames[:2] == b"\x89\x04", "a ping"
        assert frames[6] == 0x88
        assert int.from_bytes(frames[8:10]) == 1011
        await answering.send("still here")
        assert await answering.receive() == "still here"
    assert "it answered no ping" in server.stderr
    assert server.stop() == 0


@pytest.mark.feature
async def test_opening_and_closing_are_in_the_access_log(start: Start) -> None:
    server = start(*APP)
    async with by_websockets(address(server, "/echo")) as client:
        await client.send("hi")
        await client.receive()
        await client.close(3001, "enough")
    assert server.stop() == 0
    assert '"GET /echo HTTP/1.1" 101 ' in server.stdout
    assert '"WS /echo" closed 3001, 1 messages (2 bytes) in, 1 (2) out, ' in server.stdout
