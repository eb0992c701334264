"""One request and its response as ASGI sees them: run the application, receive(), send(). No wire bytes, no socket."""

import asyncio
import os
from enum import Enum
from typing import Protocol

from corehttp.asgi import ASGIApp, Message, Scope
from corehttp.errors import AppError, ClientDisconnectedError
from corehttp.protocols.application_tasks import cancel_begun, nobody_cancels
from corehttp.protocols.causes import stems_from_disconnect
from corehttp.protocols.contracts import Intent, ResponseStream
from corehttp.protocols.extensions import field, measured, opened, pairs
from corehttp.protocols.fairness import FIRST, MESSAGE, STRETCH, Turns
from corehttp.protocols.fields import never_ends
from corehttp.protocols.peer import Peer
from corehttp.text import printable, unquoted


class Phase(Enum):
    """How far the response has come."""

    HEAD = "head"  # nothing was sent
    STARTED = "started"  # the application has sent `http.response.start`; it waits for the first body message
    BODY = "body"  # the head is on the wire
    TRAILERS = "trailers"  # the body is too; the application has announced trailers
    DONE = "done"  # the whole response is


class Intake(Enum):
    """How far the request's body has come."""

    COMING = "coming"
    WHOLE = "whole"  # all of it is here, the application has not been told
    TOLD = "told"  # the application has had its last `http.request`


CLIENT_CLOSED = 499  # the status of a request whose client has left before a response began, as in nginx

PLAIN = (b"content-type", b"text/plain; charset=utf-8")
# What is answered in the place of an application that does not: status, fields, body.
FAULT = (500, [PLAIN], b"Internal Server Error")
LEAVING = (503, [PLAIN, (b"retry-after", b"1")], b"the server is shutting down\n")

# Bound once: a name in the module costs less per message than an attribute of the class.
_HEAD, _STARTED, _BODY, _TRAILERS, _DONE = Phase
_COMING, _WHOLE, _TOLD = Intake

_EXPECTED = {
    _HEAD: "the message 'http.response.start'",
    _STARTED: "the message 'http.response.body'",
    _BODY: "the message 'http.response.body'",
    _TRAILERS: "the message 'http.response.trailers'",
    _DONE: "no message after the end of the response",
}


class Keeper(Protocol):
    """Who runs the application, and is told what went wrong in it."""

    app: ASGIApp
    loop: asyncio.AbstractEventLoop
    running: "set[Exchange]"
    turns: Turns

    def ended(self, exchange: "Exchange") -> None:
        """An exchange that was kept has ended."""
        ...

    def app_failed(self, exchange: "Exchange", fault: BaseException | str) -> None:
        """Report a fault of the application: an exception, or what it did wrong."""
        ...


class Exchange:
    """One request, its body as it comes in, and its response.

    The connection calls `run`, `keep`, `feed`, `finish_body`, `disconnect` and `cancel`; the application
    calls `receive` and `send` (ASGI HTTP specification 2.5).
    """

    __slots__ = (
        "_body",
        "_endless",
        "_gone",
        "_head",
        "_keeper",
        "_stream",
        "_stretch",
        "_task",
        "_told",
        "_trailers",
        "buffered",
        "ended",
        "expects_continue",
        "intake",
        "method",
        "peer",
        "persistent",
        "phase",
        "place",
        "plain",
        "scope",
        "sent",
        "started_at",
        "status",
        "takes_trailers",
        "target",
        "unread",
        "version",
        "waiters",
    )

    peer: Peer  # who sends the request
    started_at: float  # seconds, monotonic
    # The facts of the wire, for framing and logs. They are never read from `scope`: applications change that.
    method: str
    target: str  # as it came
    version: str  # of HTTP
    place: int  # in the ledger, once it is kept

    def __init__(self, scope: Scope, intent: Intent, stream: ResponseStream, keeper: Keeper) -> None:
        self.scope = scope
        self.persistent = intent.persistent
        self.plain = intent.plain
        self.phase = _HEAD
        self.unread = length = intent.length  # bytes of the request's body that have not come in; -1 when chunked
        self.buffered = 0  # bytes of it that the application has not taken
        self.intake = _COMING if length else _WHOLE
        self.expects_continue = intent.expects_continue
        self.takes_trailers = False  # the client has said that it does (RFC 9110, 10.1.4)
        self.ended = False  # the application has returned
        # What the access log shows: of the response, once its head is on the wire.
        self.status = CLIENT_CLOSED
        self.sent = 0  # bytes of the response's body
        self.waiters: list[asyncio.Future[None]] | None = None
        self._stream = stream
        self._keeper = keeper
        self._stretch = FIRST  # bytes to send until others get a turn
        self._gone = False  # the client is
        self._told = False  # that the worker leaves
        self._endless = False  # the response is of a kind that never ends by itself, such as events
        self._head: Message | None = None
        self._body: list[bytes] | None = None
        self._task: asyncio.Task[None] | None = None
        self._trailers: list[tuple[bytes, bytes]] | None = None  # announced: they come after the body

    def __repr__(self) -> str:
        return f"<Exchange {self.name}: {self.phase.value}, body {self.intake.value}>"

    @property
    def name(self) -> str:
        """Method and path, as log lines show them."""
        return f"{self.method} {printable(unquoted(self.target.partition('?')[0]))}"

    @property
    def unawaited(self) -> bool:
        """Whether nobody waits for its end: its client has left, or its stream without an end was told to end."""
        return self._gone or (self._told and self._endless and self.phase is _BODY)

    def keep(self, task: asyncio.Task[None]) -> None:
        """The task that runs this exchange has not ended at once: it is kept alive and counted until it has."""
        self._task = task
        self._keeper.running.add(self)

    def feed(self, piece: bytes) -> bool:
        """A piece of the request's body; returns whether it is kept for the application."""
        self.expects_continue = False
        if self.unread > 0:
            self.unread -= len(piece)
        if self.phase is _DONE or self.ended or self._gone:
            return False
        self.buffered += len(piece)
        if self._body is None:
            self._body = [piece]
        else:
            self._body.append(piece)
        if self.waiters is not None:
            self.wake()
        return True

    def finish_body(self) -> None:
        """The request's body has come in whole."""
        if self.intake is _COMING:
            self.intake = _WHOLE
            self.expects_continue = False
            if self.waiters is not None:
                self.wake()

    def disconnect(self) -> None:
        """The connection is lost: `receive()` says so, `send()` raises."""
        self._gone = True
        self.intake = _TOLD
        self._body = None
        self.wake()

    def tell(self) -> None:
        """The worker leaves: a response without an end is to come to one.

        `receive()` then says `http.disconnect`: of a response that is being streamed, and to an application that has
        had the whole request and does nothing but wait there (a long poll). Not to a task beside it that only watches
        the client, for that would cancel ordinary requests too. A stream that never ends by its type is told by
        `send()` as well, and ended whole.
        """
        if not self._told:
            self._told = True
            self.wake()

    def cancel(self) -> None:
        """Cancel the application."""
        if self._task is not None:
            cancel_begun(self._task)

    async def receive(self) -> Message:
        """The ASGI `receive`: the request's body in pieces, then `http.disconnect` when the client or we are done."""
        while True:
            if self._body is not None:
                return self._next_body(self._body)
            if self.intake is _WHOLE:
                self.intake = _TOLD
                return {"type": "http.request", "body": b"", "more_body": False}
            if self._gone or self.phase is _DONE or (self._told and self._has_no_end()):
                # Not each time by itself: who asks with a cancelled scope, as Starlette does, wants to know at once.
                await self._rest()
                return {"type": "http.disconnect"}
            if self.expects_continue:
                self.expects_continue = False
                if self.phase is _HEAD:
                    self._stream.send_continue()
            await self._wait()

    async def send(self, message: Message) -> None:
        """The ASGI `send`; raises AppError for a wrong message, an OSError for a lost client."""
        try:
            phase = self.phase
            if self._gone:
                raise ClientDisconnectedError("the client has disconnected")
            if self._told and self._endless:
                raise ClientDisconnectedError("the server is shutting down: a stream without an end has to come to one")
            try:
                kind = message["type"]
            except (KeyError, TypeError) as error:
                raise AppError(f"a message must be a dict with the field 'type', not {message!r:.80}") from error
            if phase is _HEAD and kind == "http.response.start":
                if "status" not in message:
                    raise AppError("'http.response.start' needs the field 'status'")
                if self.takes_trailers and message.get("trailers"):
                    self._trailers = []
                self._head = message
                self.phase = _STARTED
                return
            if kind != "http.response.body" or (phase is not _STARTED and phase is not _BODY):
                await self._send_other(kind, message)
                return
            body = message.get("body", b"")
            if type(body) is not bytes:
                body = _as_bytes(body)
            more = message.get("more_body", False)
            stream = self._stream
            head = self._head
            if head is not None:
                headers = head.get("headers", ())
                if more:
                    headers = pairs(headers)
                stream.respond(head["status"], headers, body, more or self._trailers is not None)
                self._head = None
                if more:
                    self._endless = never_ends(headers)
            else:
                stream.write_body(body, more or self._trailers is not None)
            if self._trailers is not None and not more:
                self.phase = _TRAILERS
            if stream.congested and self.phase is not _DONE:  # there is nothing to wait for after the end
                await stream.writable()
            elif more:
                self._stretch -= len(body) + MESSAGE
                if self._stretch < 0:
                    self._stretch = STRETCH
                    await self._keeper.turns.next()
        except Exception:
            await self._rest()  # who tries again and again would let nobody else have a turn
            raise

    async def run(self) -> None:
        """Run the application to its end; whatever it does, the request is answered or cut."""
        try:
            returned = await self._keeper.app(self.scope, self.receive, self.send)  # type: ignore[func-returns-value]
            if returned is not None:
                self._keeper.app_failed(self, f"the application must return None, not {returned!r}")
            if self.phase is not _DONE and not self._gone and not self._told:
                self._keeper.app_failed(self, "the application returned without completing its response")
        except asyncio.CancelledError as error:
            if not (self._gone or self._told) and nobody_cancels():
                self._keeper.app_failed(self, error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if not (self._gone or self._told) or not stems_from_disconnect(error):
                self._keeper.app_failed(self, error)
        finally:
            if self.phase is not _DONE:
                self._make_up()
            self.ended = True
            if self._task is not None:
                self._task = None
                self._keeper.ended(self)

    async def _send_other(self, kind: str, message: Message) -> None:
        """What few applications send: the extensions, and messages out of order (ASGI specification, Extensions)."""
        phase = self.phase
        stream = self._stream
        if kind == "http.response.early_hint" and phase is not _TRAILERS and phase is not _DONE:
            stream.send_early_hints(field(message, "links"))
        elif kind == "http.response.trailers" and phase is _TRAILERS and self._trailers is not None:
            self._trailers += pairs(message.get("headers", ()))
            if not message.get("more_trailers", False):
                stream.write_trailers(self._trailers)
        elif kind == "http.response.trailers" and phase is _DONE and not self.takes_trailers:
            pass  # the client wants none, so that the response has ended without them
        elif kind == "http.response.pathsend" and phase is _STARTED:
            with opened(field(message, "path")) as (file, size):
                await self._send_file(file, 0, size, more=False, declare=True)
        elif kind == "http.response.zerocopysend" and (phase is _STARTED or phase is _BODY):
            position, limit = message.get("offset"), message.get("count")
            file, offset, count = measured(field(message, "file"), position, limit)
            await self._send_file(file, offset, count, more=message.get("more_body", False), declare=False)
            if position is None:
                os.lseek(file, offset + count, os.SEEK_SET)
        else:
            raise AppError(f"expected {_EXPECTED[phase]}, got {kind!r}")
        if stream.congested and self.phase is not _DONE:
            await stream.writable()
        else:
            await self._rest()

    async def _rest(self) -> None:
        """Let others have a turn after so many calls that wait for nothing."""
        self._stretch -= MESSAGE
        if self._stretch < 0:
            self._stretch = STRETCH  # now, since who asks may be cancelled while it waits, and then asks again
            await self._keeper.turns.next()

    async def _send_file(self, file: int, offset: int, count: int, *, more: bool, declare: bool) -> None:
        """Send a part of a file as a piece of the body; `declare` its size where the application has not."""
        stream = self._stream
        head = self._head
        if head is not None:
            headers = pairs(head.get("headers", ()))
            if declare and not any(name.lower() == b"content-length" for name, _ in headers):
                headers.append((b"content-length", b"%d" % count))
            stream.respond(head["status"], headers, b"", True)
            self._head = None
        await stream.send_file(file, offset, count, more or self._trailers is not None)
        if self._trailers is not None and not more:
            self.phase = _TRAILERS

    def _make_up(self) -> None:
        """The application is through without a whole response: answer with 500, or cut the one it began."""
        self._body = self._head = None
        if self._gone:
            return
        if self.phase is _BODY and self._told and self._endless:
            self._stream.write_body(b"", False)  # the client connects again, to another worker
        elif self.phase is _BODY or self.phase is _TRAILERS:
            self._stream.abort()
        else:
            self._stream.respond(*(LEAVING if self._told else FAULT), False)

    def _next_body(self, pieces: list[bytes]) -> Message:
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._body = None
        more = self.intake is _COMING
        if not more:
            self.intake = _TOLD
        self.buffered = 0
        self._stream.consumed()
        return {"type": "http.request", "body": body, "more_body": more}

    def _has_no_end(self) -> bool:
        """Whether the response may go on for ever, for all that can be seen from here."""
        if self.phase is _BODY:
            return self._stream.endless
        # Who waits for the rest of an upload waits for something that comes.
        return self.intake is not _COMING and asyncio.current_task() is self._task

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = self._keeper.loop.create_future()
        waiters = self.waiters
        if waiters is None:
            waiters = self.waiters = []
        waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            # Whoever only asks whether the client is still there cancels each time.
            waiters.remove(waiter)
            raise

    def wake(self) -> None:
        """Something changed that `receive()` may be waiting for."""
        if self.waiters is not None:
            waiters, self.waiters = self.waiters, None
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)


def _as_bytes(body: object) -> bytes:
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise AppError(f"the field 'body' of 'http.response.body' must be bytes, not {body!r:.80}")
