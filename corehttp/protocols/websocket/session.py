"""One WebSocket as ASGI sees it (its specification 2.5): run the application, receive(), send(). No wire bytes."""

import asyncio
from enum import Enum
from typing import Protocol

from corehttp.asgi import ASGIApp, Message, Scope
from corehttp.errors import AppError, ClientDisconnectedError
from corehttp.protocols.answers import FAULT, LEAVING, PLAIN
from corehttp.protocols.application_tasks import cancel_begun, nobody_cancels
from corehttp.protocols.causes import stems_from_disconnect
from corehttp.protocols.contracts import Named
from corehttp.protocols.extensions import field, pairs
from corehttp.protocols.fairness import FIRST, MESSAGE, STRETCH, Fairness
from corehttp.protocols.websocket.frames import BINARY, TEXT
from corehttp.protocols.websocket.wakeup import Bell
from corehttp.text import printable, unquoted


class Stage(Enum):
    """How far a WebSocket has come."""

    CONNECTING = "connecting"  # the application has not answered the handshake
    DENYING = "denying"  # it answers with an HTTP response of its own
    OPEN = "open"
    CLOSING = "closing"  # one side has sent a close frame, or the connection is lost: nothing is sent any more
    CLOSED = "closed"  # the connection is lost, and the application may not know yet


_CONNECTING, _DENYING, _OPEN, _CLOSING, _CLOSED = Stage

_ANSWERS = frozenset({"websocket.accept", "websocket.http.response.start", "websocket.http.response.body"})
_EXPECTED = {
    _CONNECTING: "'websocket.accept', 'websocket.close' or 'websocket.http.response.start'",
    _DENYING: "'websocket.http.response.body'",
    _OPEN: "'websocket.send' or 'websocket.close'",
    _CLOSING: "no message after the end of the WebSocket",
    _CLOSED: "no message after the end of the WebSocket",
}


class Keeper(Protocol):
    """Who runs the application, and is told what went wrong in it."""

    app: ASGIApp
    loop: asyncio.AbstractEventLoop
    fairness: Fairness

    def app_failed(self, request: Named, fault: BaseException | str) -> None:
        """Report a fault of the application: an exception, or what it did wrong."""
        ...


class WebSocketSession:
    """The ASGI side of a WebSocket; the wire is the matter of who inherits from it."""

    __slots__ = (
        "_bell",
        "_denial",
        "_disconnect",
        "_keeper",
        "_queue",
        "_stretch",
        "_task",
        "concluded",
        "congested",
        "ended",
        "leaving",
        "paused",
        "scope",
        "stage",
        "target",
    )

    _denial: tuple[int, list[tuple[bytes, bytes]]] | None  # status and fields of a response that has not begun

    def __init__(self, scope: Scope, keeper: Keeper) -> None:
        self.scope = scope
        # As the log shows it, kept since applications change their scope.
        query: bytes = scope["query_string"]
        self.target = (scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1")
        self._stretch = FIRST  # bytes to send until others get a turn
        self.stage = _CONNECTING
        self.ended = False  # the application has returned
        self.leaving = False  # the worker is
        self.concluded = False  # the application has closed the WebSocket, or refused the handshake
        self.paused = False  # reading
        self.congested = False  # the client takes less than is written
        self._keeper = keeper
        self._queue: list[Message] = [{"type": "websocket.connect"}]
        self._disconnect: Message | None = None
        self._bell = Bell(keeper.loop)  # for who waits in receive()
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """`WS` and the path, as log lines show them."""
        return f"WS {printable(unquoted(self.target.partition('?')[0]))}"

    @property
    def unawaited(self) -> bool:
        """Whether its client has left an application that goes on, though neither it nor we had ended the WebSocket."""
        left = self.stage is _CLOSING or self.stage is _CLOSED
        return left and not (self.ended or self.leaving or self.concluded)

    # What the wire does.

    def accept(self, subprotocol: str | None, headers: list[tuple[bytes, bytes]]) -> None:
        """Answer the handshake; raises AppError before a byte is written."""
        raise NotImplementedError

    def write_message(self, opcode: int, payload: bytes) -> None:
        """Send a message: TEXT or BINARY."""
        raise NotImplementedError

    def send_close(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""
        raise NotImplementedError

    def deny(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, more: bool) -> None:
        """Answer the handshake with an HTTP response; raises AppError before a byte is written."""
        raise NotImplementedError

    def write_denial(self, body: bytes, more: bool) -> None:
        """Send a further piece of that response."""
        raise NotImplementedError

    def abort(self) -> None:
        """Cut the connection."""
        raise NotImplementedError

    def consumed(self) -> None:
        """The application took a message: reading may go on."""
        raise NotImplementedError

    async def writable(self) -> None:
        """Wait until the client has taken enough of what was written."""
        raise NotImplementedError

    def finished(self) -> None:
        """The application has returned."""
        raise NotImplementedError

    # What it tells us.

    def deliver(self, message: Message) -> None:
        """A message for the application."""
        self._queue.append(message)
        self._bell.ring()

    def disconnect(self, code: int, reason: str) -> None:
        """The WebSocket has ended, for this reason, or ends: the first one counts."""
        if self._disconnect is None:
            self._disconnect = {"type": "websocket.disconnect", "code": code, "reason": reason}
            self.deliver({**self._disconnect})  # what the application does to its copy is its own matter

    def cancel(self) -> None:
        """Cancel the application."""
        if self._task is not None:
            cancel_begun(self._task)

    # What the application calls.

    async def receive(self) -> Message:
        """The ASGI `receive`: connect, messages, and then disconnect, however often it is asked."""
        queue = self._queue  # never long, so that a list is as fast as a deque, and much smaller
        while not queue:
            if self._disconnect is not None:
                await self._rest()
                return {**self._disconnect}
            await self._bell
        message = queue.pop(0)
        if self.paused:
            self.consumed()
        return message

    async def send(self, message: Message) -> None:
        """The ASGI `send`; raises AppError for a wrong message, an OSError after the end."""
        try:
            try:
                kind = message["type"]
            except (KeyError, TypeError) as error:
                raise AppError(f"a message must be a dict with the field 'type', not {message!r:.80}") from error
            if kind == "websocket.send":
                if self.stage is _OPEN:
                    text = message.get("text")
                    if type(text) is str and message.get("bytes") is None:
                        opcode, payload = TEXT, text.encode()
                    else:
                        opcode, payload = _content(message)
                    self.write_message(opcode, payload)
                    self._stretch -= len(payload) + MESSAGE
                    if self.congested:
                        await self.writable()
                    elif self._stretch < 0:
                        self._stretch = STRETCH
                        await self._keeper.fairness.turn()
                    return
                if self.stage is _CLOSING or self.stage is _CLOSED:
                    raise ClientDisconnectedError("the WebSocket is closed")
            self._send_other(kind, message)
            if self.congested:
                await self.writable()
            else:
                await self._rest()
        except Exception:
            await self._rest()  # who tries again and again would let nobody else have a turn
            raise

    async def _rest(self) -> None:
        """Let others have a turn after so many calls that wait for nothing."""
        self._stretch -= MESSAGE
        if self._stretch < 0:
            self._stretch = STRETCH  # now, since who asks may be cancelled while it waits, and then asks again
            await self._keeper.fairness.turn()

    async def live(self) -> None:
        """Run the application to its end; to be run by a task."""
        await self._bell.carry(self.run())

    async def run(self) -> None:
        """Run the application to its end; whatever it does, the client is told."""
        try:
            returned = await self._keeper.app(self.scope, self.receive, self.send)  # type: ignore[func-returns-value]
            if returned is not None:
                self._keeper.app_failed(self, f"the application must return None, not {returned!r}")
            if self.stage is _CONNECTING or self.stage is _DENYING:
                self._keeper.app_failed(self, "the application returned without answering the handshake")
            self._end(1000, "")
        except asyncio.CancelledError as error:
            if self.stage is not Stage.CLOSED and nobody_cancels():
                self._keeper.app_failed(self, error)
            self._end(1011, "the application was cancelled")
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if self.stage is _OPEN or not stems_from_disconnect(error):
                self._keeper.app_failed(self, error)
            self._end(1011, "the application failed")
        finally:
            self.ended = True
            self._task = None
            self._queue.clear()
            self.finished()

    def _end(self, code: int, reason: str) -> None:
        match self.stage:
            case Stage.DENYING if self._denial is None:  # a part of it is out
                self.abort()
            case Stage.CONNECTING | Stage.DENYING:
                self.deny(*(LEAVING if self.leaving else FAULT), False)
            case Stage.OPEN:
                self.send_close(code, reason)
            case Stage.CLOSING | Stage.CLOSED:
                pass

    def _send_denial(self, message: Message) -> None:
        body, more = message.get("body", b""), bool(message.get("more_body", False))
        self.concluded = not more
        if not isinstance(body, bytes):
            raise AppError(f"the field 'body' of 'websocket.http.response.body' must be bytes, not {body!r:.80}")
        if self._denial is None:
            self.write_denial(body, more)
            return
        status, headers = self._denial
        self.deny(status, headers, body, more)
        self._denial = None

    def _send_other(self, kind: str, message: Message) -> None:
        stage = self.stage
        if kind == "websocket.accept" and stage is _CONNECTING:
            subprotocol = message.get("subprotocol")
            if subprotocol is not None and not isinstance(subprotocol, str):
                raise AppError(f"the field 'subprotocol' of 'websocket.accept' must be a str, not {subprotocol!r:.80}")
            self.accept(subprotocol, pairs(message.get("headers") or ()))
        elif kind == "websocket.close" and stage is _CONNECTING:
            self.concluded = True
            self.deny(403, [PLAIN], b"", False)
        elif kind == "websocket.close" and stage is _OPEN:
            code, reason = message.get("code"), message.get("reason") or ""
            code = 1000 if code is None else code
            if not isinstance(code, int) or not isinstance(reason, str):
                raise AppError("'websocket.close' needs an int as 'code' and a str as 'reason'")
            self.send_close(code, reason)
            self.concluded = True
        elif kind == "websocket.close" and (stage is _CLOSING or stage is _CLOSED):
            pass  # both sides may close at the same time
        elif kind == "websocket.http.response.start" and stage is _CONNECTING:
            self._denial = (field(message, "status"), pairs(message.get("headers", ())))
            self.stage = _DENYING
        elif kind == "websocket.http.response.body" and stage is _DENYING:
            self._send_denial(message)
        elif kind in _ANSWERS and stage is _CLOSED:  # the client has left before it was answered
            raise ClientDisconnectedError("the WebSocket is closed")
        else:
            raise AppError(f"expected {_EXPECTED[stage]}, got {kind!r}")


def _content(message: Message) -> tuple[int, bytes]:
    """What 'websocket.send' carries; raises AppError unless it is exactly one of text and bytes."""
    text, data = message.get("text"), message.get("bytes")
    if data is None and isinstance(text, str):
        return TEXT, text.encode()
    if text is None and isinstance(data, bytes | bytearray | memoryview):
        return BINARY, bytes(data)
    raise AppError("'websocket.send' needs either 'text', a str, or 'bytes', which are bytes")
