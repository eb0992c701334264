"""One WebSocket as ASGI sees it (ASGI WebSocket specification 2.5): run the application, receive, send. No bytes."""

import asyncio
from enum import Enum

from corehttp.asgi import Message, Scope
from corehttp.errors import AppError, ClientDisconnectedError
from corehttp.protocols.answers import FAULT, LEAVING, PLAIN
from corehttp.protocols.application_tasks import cancel_begun, nobody_cancels
from corehttp.protocols.causes import stems_from_disconnect
from corehttp.protocols.extensions import field
from corehttp.protocols.fairness import FIRST, MESSAGE, STRETCH
from corehttp.protocols.response_fields import pairs
from corehttp.protocols.websocket.contracts import SessionHost, SessionOwner, Source, Wire
from corehttp.protocols.websocket.frames import BINARY, TEXT
from corehttp.protocols.websocket.wakeup import Wakeup
from corehttp.text import printable, unquoted


class SessionStage(Enum):
    """How far a WebSocket has come. Stages follow in this order; some may be passed over."""

    CONNECTING = "connecting"  # the application has not answered the handshake
    DENYING = "denying"  # the application answers the handshake with an HTTP response of its own
    OPEN = "open"  # messages go both ways
    CLOSING = "closing"  # one side has sent a close frame, or the handshake is refused; no more messages are sent
    CLOSED = "closed"  # the connection is lost; the application may not know yet


# Bound once: a name in the module costs less per message than an attribute of the class.
_CONNECTING, _DENYING, _OPEN, _CLOSING, _CLOSED = SessionStage

_ANSWERS = frozenset({"websocket.accept", "websocket.http.response.start", "websocket.http.response.body"})
_EXPECTED = {
    _CONNECTING: "'websocket.accept', 'websocket.close' or 'websocket.http.response.start'",
    _DENYING: "'websocket.http.response.body'",
    _OPEN: "'websocket.send' or 'websocket.close'",
    _CLOSING: "no message after the end of the WebSocket",
    _CLOSED: "no message after the end of the WebSocket",
}


class WebSocketSession:
    """The ASGI side of a WebSocket; an `Application`.

    Only the session changes its `stage`. The reader and the connection say what comes in by `deliver` and `end`, and
    that the connection is lost by `lose`. For the commonest messages the reader does what `deliver` does by itself,
    which saves a Python frame for each message: it appends to `queue` and calls `wakeup`.
    """

    __slots__ = (
        "_denial",
        "_disconnect",
        "_host",
        "_owner",
        "_source",
        "_stretch",
        "_task",
        "_wire",
        "concluded",
        "ended",
        "leaving",
        "queue",
        "scope",
        "stage",
        "target",
        "wakeup",
    )

    # Status and fields of a response that refuses the handshake; None once it has begun. Set in the stage DENYING.
    _denial: tuple[int, list[tuple[bytes, bytes]]] | None

    def __init__(
        self, scope: Scope, target: str, host: SessionHost, wire: Wire, source: Source, owner: SessionOwner
    ) -> None:
        """Prepare to run the application of `host` with `scope`.

        `target` is the target of the handshake as the log shows it; applications change their scope.
        """
        self.scope = scope
        self.target = target
        self.stage = _CONNECTING
        self.ended = False  # whether the application has returned
        self.leaving = False  # whether the worker leaves, and has called `close_by_server` before the WebSocket ended
        self.concluded = False  # whether the application has closed the WebSocket, or refused the handshake
        # Messages that the application has not taken; always this list. They are few, so that a list is as fast as a
        # deque, and much smaller.
        self.queue: list[Message] = [{"type": "websocket.connect"}]
        self.wakeup = Wakeup(host.loop)  # what receive() waits on, until there is something in `queue`
        self._host = host
        self._wire = wire
        self._source: Source = source
        self._owner: SessionOwner = owner
        self._stretch = FIRST  # bytes that may be sent until others get a turn
        self._disconnect: Message | None = None  # how the WebSocket has ended or ends; None while it does not end
        self._task: asyncio.Task[None] | None = None  # runs the application; None before that and after it

    @property
    def name(self) -> str:
        """`WS` and the path, as log lines show them."""
        return f"WS {printable(unquoted(self.target.partition('?')[0]))}"

    @property
    def unawaited(self) -> bool:
        """Whether the application runs on though its client has left, and neither it nor the server had closed."""
        left = self.stage is _CLOSING or self.stage is _CLOSED
        return left and not (self.ended or self.leaving or self.concluded)

    # What the connection calls.

    def deliver(self, message: Message) -> None:
        """Give the application a message; it may run on at once, before this returns."""
        self.queue.append(message)
        self.wakeup.wake()

    def end(self, code: int, reason: str) -> None:
        """End the WebSocket and tell the application, which sends nothing more. The first code and reason count."""
        self.stage = _CLOSING
        self._tell_end(code, reason)

    def lose(self) -> None:
        """Tell the application that the connection is lost, unless it knows already how the WebSocket has ended."""
        self.stage = _CLOSED
        self._tell_end(1006, "")

    def close_by_server(self, code: int, reason: str) -> None:
        """Close the WebSocket, and tell client and application `code` and `reason`; to be called if the worker leaves.

        While the application has not answered the handshake, it may still do so. If it returns without an answer, the
        client gets a 503. A WebSocket that has ended is left as it is.
        """
        if self.stage is _CLOSING or self.stage is _CLOSED:
            return
        self.leaving = True
        if self.stage is _OPEN:
            self._close(code, reason)
            self._tell_end(code, reason)

    def keep(self, task: asyncio.Task[None]) -> None:
        """Remember the task that runs `live`, for `cancel`; to be called only while the application has not ended."""
        self._task = task

    def cancel(self) -> None:
        """Cancel the application."""
        if self._task is not None:
            cancel_begun(self._task)

    def release(self) -> None:
        """Forget all that refers to this session, since the application has returned and the connection is lost."""
        del self._owner, self._source

    # What the application calls.

    async def receive(self) -> Message:
        """Return the next message: connect, what the client sends, and then disconnect for every further call."""
        queue = self.queue
        while not queue:
            if self._disconnect is not None:
                await self._rest()
                return {**self._disconnect}
            await self.wakeup
        message = queue.pop(0)
        if self._source.paused:
            self._source.consumed()
        return message

    async def send(self, message: Message) -> None:
        """Send a message; raises AppError if it is wrong or out of order, ClientDisconnectedError after the end."""
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
                    wire = self._wire
                    wire.write_message(opcode, payload)
                    self._stretch -= len(payload) + MESSAGE
                    if wire.congested:
                        await wire.writable()
                    elif self._stretch < 0:
                        self._stretch = STRETCH
                        await self._host.fairness.turn()
                    return
                if self.stage is _CLOSING or self.stage is _CLOSED:
                    raise ClientDisconnectedError("the WebSocket is closed")
            self._send_other(kind, message)
            if self._wire.congested:
                await self._wire.writable()
            else:
                await self._rest()
        except Exception:
            await self._rest()  # else an application that tries again and again would let nobody have a turn
            raise

    async def _rest(self) -> None:
        """Let others have a turn if there were many calls that had to wait for nothing."""
        self._stretch -= MESSAGE
        if self._stretch < 0:
            self._stretch = STRETCH  # before the wait: a caller that is cancelled while it waits may call again
            await self._host.fairness.turn()

    # The life of the application.

    async def live(self) -> None:
        """Run the application to its end; for a task to run, which `wakeup` may pass by."""
        await self.wakeup.carry(self.run())

    async def run(self) -> None:
        """Run the application to its end, and tell the client how it has ended, whatever the application does."""
        host = self._host
        try:
            returned = await host.app(self.scope, self.receive, self.send)  # type: ignore[func-returns-value]
            if returned is not None:
                host.app_failed(self, f"the application must return None, not {returned!r}")
            if self.stage is _CONNECTING or self.stage is _DENYING:
                host.app_failed(self, "the application returned without answering the handshake")
            self._conclude(1000, "")
        except asyncio.CancelledError as error:
            if self.stage is not SessionStage.CLOSED and nobody_cancels():
                host.app_failed(self, error)
            self._conclude(1011, "the application was cancelled")
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if self.stage is _OPEN or not stems_from_disconnect(error):
                host.app_failed(self, error)
            self._conclude(1011, "the application failed")
        finally:
            self.ended = True
            self._task = None
            self.queue.clear()
            self._owner.finished()

    def _conclude(self, code: int, reason: str) -> None:
        """Tell the client that the application has returned: by the answer that it owes, or by a close frame."""
        match self.stage:
            case SessionStage.DENYING if self._denial is None:  # a part of the response was sent
                self._wire.abort()
            case SessionStage.CONNECTING | SessionStage.DENYING:
                status, headers, body = LEAVING if self.leaving else FAULT
                self._deny(status, headers, body, False)
            case SessionStage.OPEN:
                self._close(code, reason)
            case SessionStage.CLOSING | SessionStage.CLOSED:
                pass

    def _tell_end(self, code: int, reason: str) -> None:
        """Tell the application that the WebSocket has ended or ends; the first code and reason count."""
        if self._disconnect is not None:
            return
        self._disconnect = {"type": "websocket.disconnect", "code": code, "reason": reason}
        if not self.ended:
            self.queue.append({**self._disconnect})  # a copy, since the application may change it
        self.wakeup.wake()  # also for tasks that wait in receive() though the application has returned

    # What the application says beside messages.

    def _send_other(self, kind: str, message: Message) -> None:
        """Send any message but 'websocket.send' to an open WebSocket; raises as `send` does."""
        stage = self.stage
        if kind == "websocket.accept" and stage is _CONNECTING:
            self._accept(message)
        elif kind == "websocket.close" and stage is _CONNECTING:
            self.concluded = True
            self._deny(403, [PLAIN], b"", False)
        elif kind == "websocket.close" and stage is _OPEN:
            code, reason = message.get("code"), message.get("reason") or ""
            code = 1000 if code is None else code
            if not isinstance(code, int) or not isinstance(reason, str):
                raise AppError("'websocket.close' needs an int as 'code' and a str as 'reason'")
            self._close(code, reason)
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

    def _accept(self, message: Message) -> None:
        """Accept the handshake as a message asks for; raises AppError, and nothing has happened then."""
        subprotocol = message.get("subprotocol")
        if subprotocol is not None and not isinstance(subprotocol, str):
            raise AppError(f"the field 'subprotocol' of 'websocket.accept' must be a str, not {subprotocol!r:.80}")
        self._wire.accept(subprotocol, pairs(message.get("headers") or ()))
        self.stage = _OPEN
        self._owner.opened()

    def _close(self, code: int, reason: str) -> None:
        self._wire.close(code, reason)
        self.stage = _CLOSING
        self._owner.closing(code)

    def _send_denial(self, message: Message) -> None:
        """Send a piece of the body of the application's own answer to a handshake that it refuses."""
        body, more = message.get("body", b""), bool(message.get("more_body", False))
        self.concluded = not more
        if not isinstance(body, bytes):
            raise AppError(f"the field 'body' of 'websocket.http.response.body' must be bytes, not {body!r:.80}")
        if self._denial is not None:
            status, headers = self._denial
            self._deny(status, headers, body, more)
            self._denial = None
            return
        self._wire.deny_further(body, more)
        if not more:
            self._denied()

    def _deny(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, more: bool) -> None:
        self._wire.deny(status, headers, body, more)
        self.stage = _DENYING
        if not more:
            self._denied()

    def _denied(self) -> None:
        self.end(1006, "")
        self._owner.denied()


def _content(message: Message) -> tuple[int, bytes]:
    """Return opcode and payload of a 'websocket.send'; raises AppError unless it has exactly one of text and bytes."""
    text, data = message.get("text"), message.get("bytes")
    if data is None and isinstance(text, str):
        return TEXT, text.encode()
    if text is None:
        if type(data) is bytes:
            return BINARY, data
        if isinstance(data, bytes | bytearray | memoryview):
            return BINARY, bytes(data)
    raise AppError("'websocket.send' needs either 'text', a str, or 'bytes', which are bytes")
