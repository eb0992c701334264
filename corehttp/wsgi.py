"""A WSGI application (PEP 3333) as one of ASGI, each request of which is answered in a thread.

Only a service of a WSGI application has this module imported, which needs the package a2wsgi.
"""

import asyncio
import contextvars
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Executor
from typing import Any

from a2wsgi.wsgi import WSGIMiddleware, build_environ

from corehttp.asgi import Headers, Message, Receive, Scope, Send
from corehttp.errors import AppError, ClientDisconnectedError
from corehttp.wsgi_body import body_file

_LEFT = "the client has disconnected"


class WSGIApplication(WSGIMiddleware):
    """Runs a WSGI application in threads, and answers with what it returns."""

    def __init__(self, app: Any, threads: int) -> None:
        """Serve `app` in at most so many `threads` of each process."""
        super().__init__(app, threads)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request in a thread; take the lifespan for the application, and close WebSockets (403)."""
        if scope["type"] == "http":
            await _Responder(self.app, receive, send).respond(scope, self.executor)
        else:
            await super().__call__(scope, receive, send)


class _Responder:
    """Answers one request. Once its client has left, what its thread reads or sends next raises an OSError there.

    The methods `_in_thread` and those that it calls run in the thread, all others in the event loop.
    """

    def __init__(self, app: Any, receive: Receive, send: Send) -> None:
        self._app = app
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._left = False  # whether nobody takes the response any more: the client has left, or the request has ended
        self._waiting: asyncio.Task[Any] | None = None  # what the thread waits for
        self._whole = False  # whether the whole body of the request has been received
        self._head: Message | None = None  # the start of the response, once the application has said it
        self._begun = False  # whether the start was sent

    async def respond(self, scope: Scope, executor: Executor) -> None:
        """Run the application in a thread of `executor`, and send what it returns; raises what it raises."""
        environ = _environ(scope, body_file(self._next_piece))
        try:
            await self._loop.run_in_executor(executor, contextvars.copy_context().run, self._in_thread, environ)
        except OSError:
            if not self._left:
                raise
        finally:
            self._left = True
            if self._waiting is not None:
                self._waiting.cancel()  # so that the thread goes on, and ends

    async def _receive_piece(self) -> bytes:
        while not self._whole:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._left = True
                raise ClientDisconnectedError(_LEFT)
            self._whole = not message.get("more_body", False)
            if piece := message.get("body", b""):
                return bytes(piece)
        return b""

    async def _send_all(self, messages: list[Message]) -> None:
        try:
            for message in messages:
                await self._send(message)
        except OSError:
            self._left = True
            raise

    async def _run(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Run `call`, unless nobody takes the response any more."""
        if self._left:
            call.close()
            raise ClientDisconnectedError(_LEFT)
        self._waiting = asyncio.current_task()
        return await call

    def _in_thread(self, environ: dict[str, Any]) -> None:
        """Run the application. Whatever it raises comes out as an Exception that a future can hold."""
        try:
            self._answer(environ)
        except StopIteration as error:
            raise RuntimeError("the application raised StopIteration") from error
        except Exception:
            raise
        except BaseException as error:  # no signal is handled in this thread: it is the application's own
            raise RuntimeError(f"the application raised {type(error).__name__}") from error

    def _answer(self, environ: dict[str, Any]) -> None:
        iterable = self._app(environ, self._start_response)
        try:
            for piece in iterable:
                if piece:
                    self._write(piece)
            self._transmit(b"", more=False)
        finally:
            if close := getattr(iterable, "close", None):
                close()

    def _start_response(self, status: Any, headers: Any, exc_info: Any = None) -> Callable[[Any], None]:
        """Take status and fields, which are sent with the first piece of the body; return what writes a piece.

        With `exc_info` they take the place of earlier ones; if those have been sent, the error is raised.
        """
        if exc_info is not None and self._begun:
            raise exc_info[1].with_traceback(exc_info[2])
        if exc_info is None and self._head is not None:
            raise AppError("the application called start_response twice, the second time without exc_info")
        self._head = {"type": "http.response.start", "status": _status(status), "headers": _fields(headers)}
        return self._write

    def _write(self, piece: Any) -> None:
        self._transmit(piece, more=True)

    def _transmit(self, piece: Any, *, more: bool) -> None:
        """Send a piece of the body, after the start of the response if that was not sent; wait for a slow client."""
        body: Message = {"type": "http.response.body", "body": piece, "more_body": more}
        if self._begun:
            self._wait_for(self._send_all([body]))
        elif self._head is None:
            raise AppError("the application returned a response without a call of start_response")
        else:
            self._begun = True
            self._wait_for(self._send_all([self._head, body]))

    def _next_piece(self) -> bytes:
        return b"" if self._whole else bytes(self._wait_for(self._receive_piece()))

    def _wait_for(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Run `call` in the event loop, and return its result. Raises ClientDisconnectedError if nobody is left."""
        if self._left:
            call.close()
            raise ClientDisconnectedError(_LEFT)
        try:
            return asyncio.run_coroutine_threadsafe(self._run(call), self._loop).result()
        except CancelledError as error:
            raise ClientDisconnectedError(_LEFT) from error


def _environ(scope: Scope, body: Any) -> dict[str, Any]:
    """Return the environment of a request (PEP 3333, "environ Variables")."""
    environ: dict[str, Any] = dict(build_environ(scope, body))  # type: ignore[arg-type]
    environ["wsgi.errors"] = sys.stderr
    # The body has an end whether or not its length is declared: without this Werkzeug takes a chunked one for empty.
    environ["wsgi.input_terminated"] = True
    root = str(scope.get("root_path", "")).encode().decode("latin-1")
    if root and environ["PATH_INFO"][:1] not in ("", "/"):
        environ["PATH_INFO"] = root + environ["PATH_INFO"]  # /apiary is not below /api
    return environ


def _status(status: Any) -> int:
    """Return the code of a status as in "200 OK". Raises AppError for any other."""
    code = status.split(maxsplit=1)[:1] if isinstance(status, str) else []
    if not (code and len(code[0]) == 3 and code[0].isascii() and code[0].isdecimal()):
        raise AppError(f"the status of start_response must be text as in '200 OK', not {status!r:.80}")
    return int(code[0])


def _fields(headers: Any) -> Headers:
    """Return the fields of a response. Raises AppError if they are not pairs of texts in Latin-1."""
    try:
        return [(name.strip().encode("latin-1").lower(), value.strip().encode("latin-1")) for name, value in headers]
    except (TypeError, ValueError, AttributeError) as error:
        raise AppError(f"the fields of start_response must be pairs of Latin-1 texts, not {headers!r:.200}") from error
