"""One request and its response as ASGI sees them: run the application, receive(), send(). No wire bytes, no socket."""

import asyncio

from corehttp.asgi import Message, Scope
from corehttp.errors import AppError, ClientDisconnectedError
from corehttp.protocols.answers import CLIENT_CLOSED, FAULT, LEAVING
from corehttp.protocols.application_tasks import cancel_begun, nobody_cancels
from corehttp.protocols.causes import stems_from_disconnect
from corehttp.protocols.contracts import Allowance, ExchangeHost, Fields, ResponseStream
from corehttp.protocols.extensions import as_bytes, send_extension
from corehttp.protocols.fairness import MESSAGE
from corehttp.protocols.fields import never_ends
from corehttp.protocols.peer import Peer
from corehttp.protocols.progress import Intake, ResponsePhase
from corehttp.protocols.response_fields import pairs
from corehttp.protocols.waiting import Waiters, wait_among, wake_all
from corehttp.text import printable, unquoted

# Bound once: a name in the module costs less per message than an attribute of the class.
_HEAD, _STARTED, _BODY, _TRAILERS, _DONE = ResponsePhase
_COMING, _WHOLE, _TOLD = Intake


class Exchange:
    """One request, its body as it comes in, and its response.

    The stream or its connection calls `run`, `keep`, `feed`, `finish_body`, `complete`, `disconnect` and `cancel`; the
    worker calls `announce_leave` and `cancel`; the application `receive` and `send` (ASGI HTTP specification 2.5). The
    `length` of the request's body is in bytes, -1 if it is not known. For `expects_continue` see RFC 9110, 10.1.1.
    """

    __slots__ = (
        "_allowance",
        "_body",
        "_endless",
        "_gone",
        "_host",
        "_leaving",
        "_task",
        "buffered",
        "due",
        "ended",
        "expects_continue",
        "fields",
        "head",
        "intake",
        "method",
        "peer",
        "phase",
        "place",
        "scope",
        "sent",
        "started_at",
        "status",
        "stream",
        "takes_trailers",
        "target",
        "trailers",
        "version",
        "waiters",
    )

    peer: Peer  # who sends the request
    started_at: float  # when its head was read (seconds, monotonic)
    due: float  # when it has taken too long, once it runs (seconds, by the worker's clock)
    # What the request's head says, for framing and logs. The scope says it too, but applications change their scope.
    method: str
    target: str  # the target as it was sent
    version: str  # the version of HTTP
    fields: Fields  # those of the response's head, once that is on the wire; not set before
    place: int  # its place in the worker's ledger; set once the exchange is kept

    def __init__(
        self, scope: Scope, length: int, expects_continue: bool, stream: ResponseStream, host: ExchangeHost
    ) -> None:
        self.scope = scope
        self.phase = _HEAD
        self.buffered = 0  # bytes of the request's body that wait for the application
        self.intake = _COMING if length else _WHOLE
        self.expects_continue = expects_continue
        self.takes_trailers = False  # whether the client has said that it takes trailers (RFC 9110, 10.1.4)
        self.ended = False  # whether the application has returned
        # What the access log shows of the response, once its head is on the wire.
        self.status = CLIENT_CLOSED
        self.sent = 0  # bytes of the response's body
        self.waiters: Waiters | None = None  # the calls of receive() that wait; None if none does
        self.stream = stream
        self._host = host
        self._allowance: Allowance | None = None  # asked for when the application first sends a part of a response
        self._gone = False  # whether the client has left
        self._leaving = False  # whether the application is to know that the worker leaves
        self._endless = False  # whether the response is of a kind that never ends by itself, such as events
        self.head: Message | None = None  # `http.response.start`, until the stream has it
        self._body: list[bytes] | None = None  # pieces of the request's body that wait for the application
        self._task: asyncio.Task[None] | None = None
        self.trailers: list[tuple[bytes, bytes]] | None = None  # fields to send after the body, if announced

    def __repr__(self) -> str:
        return f"<Exchange {self.name}: {self.phase.value}, body {self.intake.value}>"

    @property
    def name(self) -> str:
        """Method and path, as log lines show them."""
        return f"{self.method} {printable(unquoted(self.target.partition('?')[0]))}"

    @property
    def unawaited(self) -> bool:
        """Whether nobody waits for the application's end: its client has left, or an endless response is to end."""
        return self._gone or (self._leaving and self._endless and self.phase is _BODY)

    # What the stream and the worker call.

    def keep(self, task: asyncio.Task[None]) -> None:
        """Keep the task of `run` alive and count it as running, until it ends; for one that has not ended at once."""
        self._task = task
        self._host.running.add(self)

    def feed(self, piece: bytes) -> bool:
        """Take a piece of the request's body; answers whether it is kept for the application.

        A piece that is kept counts in `buffered` until the stream is told by `consumed`, or calls `disconnect`.
        """
        self.expects_continue = False
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

    def take_body(self, body: bytes) -> None:
        """Take the request's whole body, before the application is called; it counts in `buffered`, too."""
        self._body, self.buffered = [body], len(body)
        self.intake, self.expects_continue = _WHOLE, False

    def finish_body(self) -> None:
        """Note that the request's body has come in whole."""
        if self.intake is _COMING:
            self.intake, self.expects_continue = _WHOLE, False
            if self.waiters is not None:
                self.wake()

    def disconnect(self) -> None:
        """Note that the client has left: from now on `receive()` says so, and `send()` raises.

        What was kept of the request's body is thrown away.
        """
        self._gone = True
        self.intake = _TOLD
        self._body, self.buffered = None, 0
        self.wake()

    def announce_leave(self) -> None:
        """Tell the application that the worker leaves, so that a response without an end comes to one.

        `receive()` then answers `http.disconnect` while a response of no declared length is sent, and to an application
        that has had the whole request and waits there itself (a long poll), but not to a task beside it that only
        watches the client. A response that never ends by its type is told by `send()` as well, and ended whole.
        """
        if not self._leaving:
            self._leaving = True
            self.wake()

    def cancel(self) -> None:
        """Cancel the application."""
        if self._task is not None:
            cancel_begun(self._task)

    # What the application calls.

    async def receive(self) -> Message:
        """The ASGI `receive`: the request's body in pieces, then `http.disconnect` when the response or client ends."""
        while True:
            pieces = self._body
            if pieces is not None:
                size, self.buffered, self._body = self.buffered, 0, None
                more = self.intake is _COMING
                if not more:
                    self.intake = _TOLD
                self.stream.consumed(size)
                body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                return {"type": "http.request", "body": body, "more_body": more}
            if self.intake is _WHOLE:
                self.intake = _TOLD
                return {"type": "http.request", "body": b"", "more_body": False}
            if self._gone or self.phase is _DONE or (self._leaving and self._has_no_end()):
                # Not at every call: an application that asks in a cancelled scope, as Starlette does, is told at once.
                await self._rest()
                return {"type": "http.disconnect"}
            if self.expects_continue:
                self.expects_continue = False
                if self.phase is _HEAD:
                    self.stream.send_continue()
            waiters = self.waiters
            if waiters is None:
                waiters = self.waiters = []
            await wait_among(waiters)

    async def send(self, message: Message) -> None:
        """The ASGI `send`; raises AppError for a wrong message, and an OSError once the client has left."""
        try:
            phase = self.phase
            if self._gone:
                raise ClientDisconnectedError("the client has disconnected")
            if self._leaving and self._endless:
                raise ClientDisconnectedError("the server is shutting down: a stream without an end has to come to one")
            try:
                kind = message["type"]
            except (KeyError, TypeError) as error:
                raise AppError(f"a message must be a dict with the field 'type', not {message!r:.80}") from error
            if phase is _HEAD and kind == "http.response.start":
                if "status" not in message:
                    raise AppError("'http.response.start' needs the field 'status'")
                if self.takes_trailers and message.get("trailers"):
                    self.trailers = []
                self.head = message
                self.phase = _STARTED
                return
            if kind != "http.response.body" or (phase is not _STARTED and phase is not _BODY):
                await send_extension(self, kind, message)
                if self.stream.congested and self.phase is not _DONE:
                    await self.stream.writable()
                else:
                    await self._rest()
                return
            body = message.get("body", b"")
            if type(body) is not bytes:
                body = as_bytes(body)
            more = message.get("more_body", False)
            stream = self.stream
            head = self.head
            if head is not None:
                headers = head.get("headers", ())
                if more:
                    headers = pairs(headers)
                stream.respond(head["status"], headers, body, more or self.trailers is not None)
                self.head = None
                if more:
                    self._endless = never_ends(headers)
            else:
                stream.write_body(body, more or self.trailers is not None)
            if not more and self.trailers is None:
                self.phase = _DONE
                if self.waiters is not None:
                    self.wake()
                return  # after the end of a response there is nothing to wait for
            self.phase = _BODY if more else _TRAILERS
            if stream.congested:
                await stream.writable()
            elif more:
                allowance = self._allowance
                if allowance is None:
                    allowance = self._allowance = stream.allowance()
                allowance.left -= len(body) + MESSAGE
                if allowance.left < 0:
                    await allowance.renew()
        except Exception:
            await self._rest()  # an application that tries again and again would let nobody else have a turn
            raise

    # The application's life.

    async def run(self) -> None:
        """Run the application to its end; whatever it does, the request is answered, or its response cut."""
        try:
            returned = await self._host.app(self.scope, self.receive, self.send)  # type: ignore[func-returns-value]
            if returned is not None:
                self._host.app_failed(self, f"the application must return None, not {returned!r}")
            if self.phase is not _DONE and not self._gone and not self._leaving:
                self._host.app_failed(self, "the application returned without completing its response")
        except asyncio.CancelledError as error:
            if not (self._gone or self._leaving) and nobody_cancels():
                self._host.app_failed(self, error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if not (self._gone or self._leaving) or not stems_from_disconnect(error):
                self._host.app_failed(self, error)
        finally:
            if self.phase is not _DONE and not self._gone:
                self._make_up()
            self.ended = True
            if self.buffered:  # of the request's body, which nobody takes any more
                size, self.buffered, self._body = self.buffered, 0, None
                self.stream.consumed(size)
            if self._task is not None:
                self._task = None
                self._host.app_returned(self)

    def _make_up(self) -> None:
        """End what the application has left without a whole response: answer in its place, or cut what it began."""
        self.head = None
        if self.phase is _TRAILERS or (self.phase is _BODY and not (self._leaving and self._endless)):
            self._gone = True  # a task that outlives the application cannot complete what its client sees cut
            self.stream.abort()
            return
        if self.phase is _BODY:
            self.stream.write_body(b"", False)  # the client connects again, to another worker
        else:
            self.stream.respond(*(LEAVING if self._leaving else FAULT), False)
        self.phase = _DONE

    def piece_sent(self, more: bool) -> None:
        """Note that the stream has the head, and a piece of the body, maybe an empty one; the last unless `more`."""
        self.head = None
        if more:
            self.phase = _BODY
        elif self.trailers is not None:
            self.phase = _TRAILERS
        else:
            self.complete()

    def complete(self) -> None:
        """Note that the stream has the whole response, of the application or of the server in its place."""
        self.phase = _DONE
        if self.waiters is not None:
            self.wake()

    async def _rest(self) -> None:
        """Let others have a turn after so many calls that wait for nothing."""
        allowance = self._allowance
        if allowance is None:
            allowance = self._allowance = self.stream.allowance()
        allowance.left -= MESSAGE
        if allowance.left < 0:
            await allowance.renew()

    # The rest of `receive`.

    def _has_no_end(self) -> bool:
        """Whether the response may go on for ever, for all that can be seen from here."""
        if self.phase is _BODY:
            return self.stream.endless
        # An application that waits for the rest of an upload waits for something that comes.
        return self.intake is not _COMING and asyncio.current_task() is self._task

    def wake(self) -> None:
        """Let all calls of `receive()` that wait look again: something has changed."""
        waiters, self.waiters = self.waiters, None
        if waiters is not None:
            wake_all(waiters)
