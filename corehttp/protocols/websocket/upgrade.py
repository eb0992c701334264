"""How a request becomes a WebSocket: what recognizes the request, and then takes over its connection."""

import asyncio

from corehttp.asgi import Scope
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import RecognizeUpgrade, UpgradeAnswer
from corehttp.protocols.peer import Peer
from corehttp.protocols.scope import websocket_scope
from corehttp.protocols.websocket.connection import WebSocketConnection
from corehttp.protocols.websocket.frame_reader import FrameReader
from corehttp.protocols.websocket.handshake import Handshake, examine
from corehttp.protocols.websocket.opening import OpeningAnswer
from corehttp.protocols.websocket.reader import WebSocketReader
from corehttp.protocols.websocket.writer import Settings, WebSocketWriter


class WebSocketUpgrade:
    """An opening handshake without a fault whose turn on its connection is to come; a `ProtocolUpgrade`."""

    __slots__ = ("_context", "_handshake", "_peer", "_scope", "_settings")

    def __init__(
        self, context: WorkerContext, settings: Settings, scope: Scope, handshake: Handshake, peer: Peer
    ) -> None:
        self._context = context
        self._settings = settings
        self._scope = scope
        self._handshake = handshake
        self._peer = peer

    def refusal(self) -> tuple[int, str] | None:
        """Answer 503 and a reason if there are as many WebSockets as `--limit-websockets` allows, else None."""
        context = self._context
        if len(context.websockets) < context.websocket_limit:
            return None
        return 503, f"there are {len(context.websockets)} WebSockets already (--limit-websockets)"

    def start(self, transport: asyncio.Transport, held: bytes, answer: UpgradeAnswer) -> None:
        """Make the connection of `transport` a WebSocket, which has read `held` already, and run the application."""
        context, settings, handshake = self._context, self._settings, self._handshake
        scope = websocket_scope(self._scope, handshake.subprotocols, context.websocket_extensions)
        frames = FrameReader(settings.max_size, handshake.deflate)
        writer = WebSocketWriter(transport, settings, OpeningAnswer(handshake, answer), context.tally)
        reader = WebSocketReader(context, settings, frames, writer)
        WebSocketConnection(context, settings, scope, self._peer, reader, writer).start(held)


def recognizer(context: WorkerContext, settings: Settings, compression: str) -> RecognizeUpgrade:
    """Return a function that recognizes opening handshakes for the connections of `context`.

    `compression` is "off", "small" or "full".
    """

    def recognize(scope: Scope, peer: Peer) -> WebSocketUpgrade | None:
        headers = scope["headers"]
        handshake = examine(scope["method"], scope["http_version"], headers, dict(headers), compression)
        return None if handshake is None else WebSocketUpgrade(context, settings, scope, handshake, peer)

    return recognize
