"""The client's side of a WebSocket, and an application that does what the test says."""

import asyncio

from corehttp.asgi import ASGIApp, Message, Receive, Scope, Send
from corehttp.moments import NEVER
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.limits import Limits
from corehttp.protocols.observers import AccessRecord
from corehttp.protocols.websocket.connection import WebSocketConnection
from corehttp.protocols.websocket.upgrade import recognizer
from corehttp.protocols.websocket.writer import Settings
from tests.kit.fakes import LIMITS, LINES, Client, MakeParser, RecordingSink, make_context

# The example of RFC 6455, 1.3.
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
PROOF = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
MASK = bytes.fromhex("37fa213d")
FIN, RSV1 = 0x80, 0x40
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

CONNECT: Message = {"type": "websocket.connect"}
ACCEPT: Message = {"type": "websocket.accept"}


def handshake(*fields: bytes, target: bytes = b"/ws") -> bytes:
    """An opening handshake with these further fields."""
    own = [b"Host: a", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Version: 13"]
    lines = [b"GET %b HTTP/1.1" % target, *own, b"Sec-WebSocket-Key: " + KEY, *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def switching(*fields: bytes) -> bytes:
    """The server's answer to `handshake`, with these further fields."""
    head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    lines = b"".join(field + b"\r\n" for field in fields)
    return head + b"sec-websocket-accept: %b\r\n" % PROOF + lines + LINES + b"\r\n"


def plain_loop(data: bytes, mask: bytes) -> bytes:
    """Mask or unmask the data as RFC 6455, 5.3 writes it down; takes some 0.1 s for each million bytes."""
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


def header(first: int, mask_bit: int, size: int) -> bytes:
    """The head of a frame without its mask, with the length in its shortest form (RFC 6455, 5.2)."""
    if size < 126:
        return bytes((first, mask_bit | size))
    if size < 65536:
        return bytes((first, mask_bit | 126)) + size.to_bytes(2, "big")
    return bytes((first, mask_bit | 127)) + size.to_bytes(8, "big")


def masked(opcode: int, payload: bytes = b"", first: int = FIN, mask: bytes = MASK) -> bytes:
    """A client's frame."""
    size = len(payload)
    # Exclusive or of two large integers gives what `plain_loop` does, a hundred times faster.
    repeated = (mask * (size // 4 + 1))[:size]
    content = (int.from_bytes(payload) ^ int.from_bytes(repeated)).to_bytes(size)
    return header(first | opcode, 0x80, size) + mask + content


def unmasked(opcode: int, payload: bytes = b"", first: int = FIN) -> bytes:
    """A server's frame."""
    return header(first | opcode, 0, len(payload)) + payload


def close_payload(code: int, reason: str = "") -> bytes:
    return code.to_bytes(2, "big") + reason.encode()


def text(content: str) -> Message:
    return {"type": "websocket.receive", "text": content}


def data(content: bytes) -> Message:
    return {"type": "websocket.receive", "bytes": content}


def disconnect(code: int, reason: str = "") -> Message:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept the WebSocket, and send back every message."""
    assert await receive() == CONNECT
    await send(ACCEPT)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


class Puppet:
    """An application whose `receive` and `send` the test calls, and which ends when the test says so."""

    receive: Receive
    send: Send

    def __init__(self) -> None:
        self.scope: Scope = {}
        self.cancelled = False
        self._end = asyncio.Event()
        self._fault: BaseException | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        try:
            await self._end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self._fault is not None:
            raise self._fault

    def end(self, fault: BaseException | None = None) -> None:
        """Let the application return, or raise `fault`."""
        self._fault = fault
        self._end.set()


class WebSocketClient(Client):
    """The other end of a connection that becomes a WebSocket."""

    @property
    def websocket(self) -> WebSocketConnection:
        protocol = self.transport.get_protocol()
        assert isinstance(protocol, WebSocketConnection), protocol
        return protocol


def websocket_context(
    app: ASGIApp,
    parser: MakeParser,
    settings: Settings | None = None,
    *,
    compression: str = "off",
    limits: Limits = LIMITS,
    records: list[AccessRecord] | None = None,
    trust: str | None = None,
) -> WorkerContext:
    """A worker's context in which WebSockets are on; without pings unless `settings` say so."""
    context = make_context(app, parser, limits=limits, records=records, trust=trust)
    if settings is None:
        settings = Settings(ping_interval=NEVER)
    context.recognize_upgrade = recognizer(context, settings, compression)
    return context


async def connect(context: WorkerContext, *fields: bytes, target: bytes = b"/ws") -> WebSocketClient:
    """A client that has sent its handshake."""
    client = WebSocketClient(context)
    await client.send(handshake(*fields, target=target))
    return client


async def accepted(app: Puppet, context: WorkerContext, *fields: bytes) -> WebSocketClient:
    """A client whose handshake the application has accepted; what it got is taken."""
    client = await connect(context, *fields)
    assert await app.receive() == CONNECT
    await app.send(ACCEPT)
    assert client.take().startswith(b"HTTP/1.1 101 ")
    return client


async def connecting(
    parser: MakeParser, settings: Settings | None = None, *, compression: str = "off"
) -> tuple[Puppet, WebSocketClient]:
    """An application that has not answered the handshake of a client, and the client."""
    app = Puppet()
    return app, await connect(websocket_context(app, parser, settings, compression=compression))


async def opened(
    parser: MakeParser, settings: Settings | None = None, *, compression: str = "off"
) -> tuple[Puppet, WebSocketClient]:
    """An application that has accepted the handshake of a client, and the client; what it got is taken."""
    app = Puppet()
    return app, await accepted(app, websocket_context(app, parser, settings, compression=compression))


def closings(context: WorkerContext) -> list[tuple[str, int, tuple[int, int, int, int]]]:
    """What the access log was told of WebSockets that have ended: path, code, messages and bytes in and out."""
    assert isinstance(context.access, RecordingSink)
    return context.access.closings
