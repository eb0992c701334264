"""One request and its response as ASGI sees them: run the application, receive(), send(). No wire bytes, no socket."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from enum import Enum
from functools import partial
from typing import Protocol

from corehttp.asgi import ASGIApp, Message, Scope
from corehttp.errors import AppError, ClientDisconnectedError
from corehttp.protocols.semantics import Intent
from corehttp.protocols.stream import ResponseStream


class Phase(Enum):
    """How far the response has come."""

    HEAD = "head"  # nothing was sent
    STARTED = "started"  # the application has sent `http.response.start`; it waits for the first body message
    BODY = "body"  # the head is on the wire
    DONE = "done"  # the whole response is


class Intake(Enum):
    """How far the request's body has come."""

    COMING = "coming"
    WHOLE = "whole"  # all of it is here, the application has not been told
    TOLD = "told"  # the application has had its last `http.request`


class Peer(Enum):
    """Whether the client is still there."""

    PRESENT = "present"
    HUNG_UP = "hung up"  # it has ended its side; it may still read a response
    GONE = "gone"  # nothing can reach it any more


# Bound once: a name in the module costs less per message than an attribute of the class.
_HEAD, _STARTED, _BODY, _DONE = Phase
_COMING, _WHOLE, _TOLD = Intake
_PRESENT, _HUNG_UP, _GONE = Peer


class Keeper(Protocol):
    """Who runs the application, and is told what went wrong in it."""

    app: ASGIApp
    loop: asyncio.AbstractEventLoop
    running: "set[Exchange]"

    def app_failed(self, exchange: "Exchange", fault: BaseException | str) -> None:
        """Report a fault of the application: an exception, or what it did wrong."""
        ...


TaskStarter = Callable[[Coroutine[object, object, None]], asyncio.Task[None]]


def task_starter(loop: asyncio.AbstractEventLoop) -> TaskStarter:
    """What starts a task in `loop`: at once where Python can (3.12), else at the loop's next turn.

    Started at once, what does not wait ends without a turn of the loop. A partial with all arguments bound saves a
    tenth of the time that a call with keywords takes.
    """
    if sys.version_info >= (3, 12):
        return partial(asyncio.Task, loop=loop, eager_start=True)
    return partial(asyncio.Task, loop=loop)


class Exchange:
    """One request, its body as it comes in, and its response.

    The connection calls `run`, `keep`, `feed`, `finish_body`, `hang_up`, `disconnect` and `cancel`; the application
    calls `receive` and `send` (ASGI HTTP specification 2.5).
    """

    __slots__ = (
        "_body",
        "_head",
        "_keeper",
        "_peer",
        "_stream",
        "_task",
        "buffered",
        "ended",
        "expects_continue",
        "intake",
        "persistent",
        "phase",
        "plain",
        "scope",
        "sent",
        "started_at",
        "status",
        "target",
        "unread",
        "waiters",
    )

    started_at: float  # seconds, monotonic
    target: str  # as it came, for the access log
    status: int  # from here on, once the response's head is on the wire
    sent: int  # bytes of the response's body

    def __init__(self, scope: Scope, intent: Intent, stream: ResponseStream, keeper: Keeper) -> None:
        self.scope = scope
        self.persistent = intent.persistent
        self.plain = intent.plain
        self.phase = _HEAD
        self.unread = length = intent.length  # bytes of the request's body that have not come in; -1 when chunked
        self.buffered = 0  # bytes of it that the application has not taken
        self.intake = _COMING if length else _WHOLE
        self.expects_continue = intent.expects_continue
        self.ended = False  # the application has returned
        self.waiters: list[asyncio.Future[None]] | None = None
        self._stream = stream
        self._keeper = keeper
        self._peer = _PRESENT
        self._head: Message | None = None
        self._body: list[bytes] | None = None
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Exchange {self.scope['method']} {self.scope['path']}: {self.phase.value}, body {self.intake.value}>"

    def keep(self, task: asyncio.Task[None]) -> None:
        """The task that runs this exchange has not ended at once: it is kept alive and counted until it has."""
        self._task = task
        self._keeper.running.add(self)

    def feed(self, piece: bytes) -> bool:
        """A piece of the request's body; returns whether it is kept for the application."""
        self.expects_continue = False
        if self.unread > 0:
            self.unread -= len(piece)
        if self.phase is _DONE or self.ended or self._peer is _GONE:
            return False
        self.buffered += len(piece)
        if self._body is None:
            self._body = [piece]
        else:
            self._body.append(piece)
        self.wake()
        return True

    def finish_body(self) -> None:
        """The request's body has come in whole."""
        if self.intake is _COMING:
            self.intake = _WHOLE
            self.expects_continue = False
            self.wake()

    def hang_up(self) -> None:
        """The client has ended its side after a whole request: `receive()` says so, a response can still be sent."""
        self._peer = _HUNG_UP
        self.wake()

    def disconnect(self) -> None:
        """The connection is lost: `receive()` says so, `send()` raises."""
        self._peer = _GONE
        self.intake = _TOLD
        self._body = None
        self.wake()

    def cancel(self) -> None:
        """Cancel the application."""
        if self._task is not None:
            self._task.cancel()

    async def receive(self) -> Message:
        """The ASGI `receive`: the request's body in pieces, then `http.disconnect` when the client or we are done."""
        while True:
            if self._body is not None:
                return self._next_body(self._body)
            if self.intake is _WHOLE:
                self.intake = _TOLD
                return {"type": "http.request", "body": b"", "more_body": False}
            if self._peer is not _PRESENT or self.phase is _DONE:
                return {"type": "http.disconnect"}
            if self.expects_continue:
                self.expects_continue = False
                if self.phase is _HEAD:
                    self._stream.send_continue()
            await self._wait()

    async def send(self, message: Message) -> None:
        """The ASGI `send`; raises AppError for a wrong message, an OSError for a lost client."""
        phase = self.phase
        if self._peer is _GONE:
            raise ClientDisconnectedError("the client has disconnected")
        kind = message["type"]
        if phase is _HEAD:
            if kind != "http.response.start":
                raise AppError(f"expected the message 'http.response.start', got {kind!r}")
            if "status" not in message:
                raise AppError("'http.response.start' needs the field 'status'")
            self._head = message
            self.phase = _STARTED
            return
        if kind != "http.response.body" or phase is _DONE:
            wanted = (
                "no message after the end of the response" if phase is _DONE else "the message 'http.response.body'"
            )
            raise AppError(f"expected {wanted}, got {kind!r}")
        body = message.get("body", b"")
        if type(body) is not bytes:
            body = _as_bytes(body)
        stream = self._stream
        head = self._head
        if head is not None:
            stream.respond(head["status"], head.get("headers", ()), body, message.get("more_body", False))
            self._head = None
        else:
            stream.write_body(body, message.get("more_body", False))
        if stream.congested:
            await stream.writable()

    async def run(self) -> None:
        """Run the application to its end; whatever it does, the request is answered or cut."""
        try:
            returned = await self._keeper.app(self.scope, self.receive, self.send)  # type: ignore[func-returns-value]
            if returned is not None:
                self._keeper.app_failed(self, f"the application must return None, not {returned!r}")
            if self.phase is not _DONE and self._peer is not _GONE:
                self._keeper.app_failed(self, "the application returned without completing its response")
        except asyncio.CancelledError:
            pass
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if self._peer is not _GONE or not _stems_from_disconnect(error):
                self._keeper.app_failed(self, error)
        finally:
            if self.phase is not _DONE:
                self._make_up()
            self.ended = True
            if self._task is not None:
                self._task = None
                self._keeper.running.discard(self)

    def _make_up(self) -> None:
        """The application is through without a whole response: answer with 500, or cut the one it began."""
        self._body = self._head = None
        if self._peer is _GONE:
            return
        if self.phase is _BODY:
            self._stream.abort()
        else:
            fields = [(b"content-type", b"text/plain; charset=utf-8")]
            self._stream.respond(500, fields, b"Internal Server Error", False)

    def _next_body(self, pieces: list[bytes]) -> Message:
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._body = None
        more = self.intake is _COMING
        if not more:
            self.intake = _TOLD
        self.buffered = 0
        self._stream.consumed()
        return {"type": "http.request", "body": body, "more_body": more}

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = self._keeper.loop.create_future()
        if self.waiters is None:
            self.waiters = []
        self.waiters.append(waiter)
        await waiter

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


def _stems_from_disconnect(error: BaseException) -> bool:
    """Whether `error` is our own ClientDisconnected, or was raised because of it (frameworks wrap it)."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, ClientDisconnectedError):
            return True
        link = link.__cause__ or link.__context__
    return False
