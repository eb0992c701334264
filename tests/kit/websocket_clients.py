"""The same few words for what several WebSocket clients can do, and a handshake for a bare socket."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Protocol

import aiohttp
import picows
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.kit.server_process import PATIENCE

HANDSHAKE = (
    "upgrade: websocket",
    "connection: upgrade",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)
WELCOME = b"\r\n\r\n"  # the end of the head of the answer

End = tuple[int, str]


class Client(Protocol):
    """An open WebSocket, as its client sees it."""

    @property
    def subprotocol(self) -> str | None: ...

    async def send(self, message: str | bytes) -> None: ...

    async def receive(self) -> str | bytes: ...

    async def ping(self) -> None:
        """Send a ping, and wait for its pong."""
        ...

    async def close(self, code: int, reason: str) -> int:
        """Close the WebSocket, and return the code that the server answers with."""
        ...

    async def closed(self) -> End:
        """Wait until the server closes the WebSocket, and return its code and reason."""
        ...


Open = Callable[[str], AbstractAsyncContextManager[Client]]


def framed(payload: bytes, first: int = 0x81) -> bytes:
    """A short frame of a client, by default with a whole text; its mask changes nothing (RFC 6455, 5.2 and 5.3)."""
    assert len(payload) < 126
    return bytes((first, 0x80 | len(payload))) + b"\0\0\0\0" + payload


class ByWebsockets:
    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.subprotocol = connection.subprotocol

    async def send(self, message: str | bytes) -> None:
        await self.connection.send(message)

    async def send_in_pieces(self, pieces: Sequence[str]) -> None:
        await self.connection.send(pieces)

    async def receive(self) -> str | bytes:
        return await asyncio.wait_for(self.connection.recv(), PATIENCE)

    async def ping(self) -> None:
        await asyncio.wait_for(await self.connection.ping(), PATIENCE)

    async def close(self, code: int, reason: str) -> int:
        await self.connection.close(code, reason)
        return self.connection.close_code or 0

    async def closed(self) -> End:
        try:
            raise AssertionError(f"heard {await self.receive()!r}")
        except ConnectionClosed as error:
            return (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")


@asynccontextmanager
async def by_websockets(url: str, *, compression: str | None = None) -> AsyncIterator[ByWebsockets]:
    offered = [Subprotocol("talk"), Subprotocol("chat")]
    async with connect(
        url, subprotocols=offered, compression=compression, max_size=None, ping_interval=None
    ) as connection:
        yield ByWebsockets(connection)


class ByAiohttp:
    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self._connection = connection
        self.subprotocol = connection.protocol
        self.compresses = connection.compress > 0

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            await self._connection.send_str(message)
        else:
            await self._connection.send_bytes(message)

    async def receive(self) -> str | bytes:
        message = await self._connection.receive(PATIENCE)
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
        heard = message.data
        assert isinstance(heard, str | bytes)
        return heard

    async def ping(self) -> None:
        await self._connection.ping(b"there?")
        message = await self._connection.receive(PATIENCE)
        assert (message.type, message.data) == (aiohttp.WSMsgType.PONG, b"there?")

    async def close(self, code: int, reason: str) -> int:
        await self._connection.close(code=code, message=reason.encode())
        return self._connection.close_code or 0

    async def closed(self) -> End:
        message = await self._connection.receive(PATIENCE)
        assert message.type is aiohttp.WSMsgType.CLOSE, message
        return message.data, message.extra or ""


@asynccontextmanager
async def by_aiohttp(url: str, *, compress: int = 0) -> AsyncIterator[ByAiohttp]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            url, protocols=["talk", "chat"], compress=compress, max_msg_size=0, autoping=False
        ) as connection,
    ):
        yield ByAiohttp(connection)


class ByPicows(picows.WSListener):
    def __init__(self) -> None:
        self._heard: asyncio.Queue[str | bytes | End] = asyncio.Queue()
        self._ponged = asyncio.Event()
        self._transport: picows.WSTransport

    @property
    def subprotocol(self) -> str | None:
        return self._transport.response.headers.get("sec-websocket-protocol")

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        match frame.msg_type:
            case picows.WSMsgType.TEXT:
                self._heard.put_nowait(payload.decode())
            case picows.WSMsgType.BINARY:
                self._heard.put_nowait(payload)
            case picows.WSMsgType.PONG:
                self._ponged.set()
            case picows.WSMsgType.CLOSE:
                self._heard.put_nowait((int.from_bytes(payload[:2]), payload[2:].decode()))
                transport.send_close(picows.WSCloseCode.OK)
                transport.disconnect()
            case _:
                raise AssertionError(frame)

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self._transport.send(picows.WSMsgType.TEXT, message.encode())
        else:
            self._transport.send(picows.WSMsgType.BINARY, message)

    async def send_in_pieces(self, pieces: Sequence[str]) -> None:
        kind = picows.WSMsgType.TEXT
        for number, piece in enumerate(pieces, 1):
            self._transport.send(kind, piece.encode(), fin=number == len(pieces))
            kind = picows.WSMsgType.CONTINUATION

    async def receive(self) -> str | bytes:
        heard = await asyncio.wait_for(self._heard.get(), PATIENCE)
        assert not isinstance(heard, tuple), heard
        return heard

    async def ping(self) -> None:
        self._ponged.clear()
        self._transport.send_ping(b"there?")
        await asyncio.wait_for(self._ponged.wait(), PATIENCE)

    async def close(self, code: int, reason: str) -> int:
        # Its own function takes the codes it knows only.
        self._transport.send(picows.WSMsgType.CLOSE, code.to_bytes(2) + reason.encode())
        answer, _ = await self.closed()
        return answer

    async def closed(self) -> End:
        heard = await asyncio.wait_for(self._heard.get(), PATIENCE)
        assert isinstance(heard, tuple), heard
        return heard

    async def end(self) -> None:
        self._transport.disconnect()
        await self._transport.wait_disconnected()


@asynccontextmanager
async def by_picows(url: str) -> AsyncIterator[ByPicows]:
    _, client = await picows.ws_connect(ByPicows, url, extra_headers={"sec-websocket-protocol": "talk, chat"})
    assert isinstance(client, ByPicows)
    try:
        yield client
    finally:
        await client.end()


CLIENTS: dict[str, Open] = {
    "websockets": by_websockets,
    "websockets compressed": partial(by_websockets, compression="deflate"),
    "aiohttp": by_aiohttp,
    "aiohttp compressed": partial(by_aiohttp, compress=15),
    "picows": by_picows,
}
