"""A WSGI application (PEP 3333) as one of ASGI: what it may do, what it may not, and what it reads."""

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from corehttp.asgi import Message, Scope
from corehttp.errors import AppError, ClientDisconnectedError
from corehttp.wsgi import WSGIApplication
from corehttp.wsgi_body import body_file

Environ = dict[str, Any]
Answer = Callable[[Environ, Callable[..., Any]], Any]

PATIENCE = 60  # seconds after which a request counts as one that hangs
TEXT = [("Content-Type", "text/plain")]
PIECES = [b"one\ntwo\n", b"thr", b"ee\nfour"]


class Exchange:
    """A request, whose body comes in pieces, and the response to it."""

    def __init__(self, pieces: Iterable[bytes] = (), scope: Scope | None = None) -> None:
        self._scope: Scope = {**_scope(), **(scope or {})}
        self._pieces = [*pieces]
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if not self._pieces:
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.request", "body": self._pieces.pop(0), "more_body": True}

    async def send(self, message: Message) -> None:
        if not isinstance(message.get("body", b""), bytes):
            raise AppError("a body must be bytes")
        self.sent.append(message)

    def run(self, app: Answer) -> "Exchange":
        async def answer() -> None:
            served = WSGIApplication(app, 1)
            try:
                await asyncio.wait_for(served(self._scope, self.receive, self.send), PATIENCE)
            finally:
                served.executor.shutdown(wait=False, cancel_futures=True)

        asyncio.run(answer())
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])


class Closing:
    """What an application returns, which tells when it is closed."""

    def __init__(self, pieces: list[Any]) -> None:
        self._pieces = pieces
        self.is_closed = False

    def __iter__(self) -> Iterator[Any]:
        return iter(self._pieces)

    def close(self) -> None:
        self.is_closed = True


def _scope() -> Scope:
    return {
        "type": "http",
        "method": "POST",
        "path": "/",
        "root_path": "",
        "query_string": b"",
        "http_version": "1.1",
        "headers": [],
    }


def answering(*pieces: Any, status: Any = "200 OK", headers: Any = TEXT) -> Answer:
    def app(environ: Environ, start_response: Callable[..., Any]) -> Any:
        start_response(status, headers)
        return list(pieces)

    return app


def raising(error: BaseException) -> Answer:
    def app(environ: Environ, start_response: Callable[..., Any]) -> Any:
        raise error

    return app


def test_a_response_has_its_status_fields_and_body() -> None:
    exchange = Exchange().run(answering(b"a", b"", b"b"))
    assert exchange.sent == [
        {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]},
        {"type": "http.response.body", "body": b"a", "more_body": True},
        {"type": "http.response.body", "body": b"b", "more_body": True},
        {"type": "http.response.body", "body": b"", "more_body": False},
    ]


def never_started(environ: Environ, start_response: Callable[..., Any]) -> Any:
    return [b"x"] * 100


def started_twice(environ: Environ, start_response: Callable[..., Any]) -> Any:
    start_response("200 OK", TEXT)
    start_response("201 Created", TEXT)
    return []


@pytest.mark.parametrize(
    ("app", "told"),
    [
        (never_started, "without a call of start_response"),
        (started_twice, "called start_response twice"),
        (answering(*["x"] * 100), "a body must be bytes"),
        (answering(status=200), "text as in '200 OK', not 200"),
        (answering(status="OK"), "text as in '200 OK', not 'OK'"),
        (answering(headers=[("X", 1)]), "pairs of Latin-1 texts"),
        (answering(headers=[("X", "\u20ac")]), "pairs of Latin-1 texts"),
        (answering(headers=None), "pairs of Latin-1 texts"),
    ],
)
def test_a_broken_contract_is_told_and_never_hangs(app: Answer, told: str) -> None:
    with pytest.raises(AppError, match=told):
        Exchange().run(app)


@pytest.mark.parametrize("error", [StopIteration(), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_what_no_event_loop_survives_comes_out_as_an_ordinary_error(error: BaseException) -> None:
    with pytest.raises(RuntimeError, match=f"the application raised {type(error).__name__}"):
        Exchange().run(raising(error))


def test_an_error_after_start_response_leaves_the_answer_to_the_server() -> None:
    def app(environ: Environ, start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", TEXT)
        raise ValueError("broken")

    exchange = Exchange()
    with pytest.raises(ValueError, match="broken"):
        exchange.run(app)
    assert exchange.sent == []


def test_exc_info_replaces_a_start_that_was_not_sent() -> None:
    def app(environ: Environ, start_response: Callable[..., Any]) -> Any:
        try:
            start_response("200 OK", TEXT)
            raise ValueError("broken")
        except ValueError:
            start_response("500 Broken", TEXT, sys.exc_info())
            return [b"sorry"]

    exchange = Exchange().run(app)
    assert (exchange.status, exchange.body) == (500, b"sorry")


def test_exc_info_is_raised_when_the_start_was_sent() -> None:
    def app(environ: Environ, start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", TEXT)(b"part")
        try:
            raise ValueError("broken")
        except ValueError:
            start_response("500 Broken", TEXT, sys.exc_info())

    exchange = Exchange()
    with pytest.raises(ValueError, match="broken"):
        exchange.run(app)
    assert exchange.body == b"part"


@pytest.mark.parametrize("pieces", [[b"a"], ["no bytes"]])
def test_what_an_application_returns_is_closed_whatever_happens(pieces: list[Any]) -> None:
    returned = Closing(pieces)

    def app(environ: Environ, start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", TEXT)
        return returned

    try:
        Exchange().run(app)
    except AppError:
        assert pieces == ["no bytes"]
    assert returned.is_closed


@pytest.mark.parametrize(
    "read",
    [
        lambda file: file.read(),
        lambda file: file.read(None),
        lambda file: b"".join(iter(lambda: file.read(2), b"")),
        lambda file: b"".join(iter(lambda: file.readline(3), b"")),
        lambda file: file.read(1000) + file.read(1),
        lambda file: b"".join(file.readlines()),
        lambda file: b"".join(file),
    ],
)
def test_a_body_is_read_whole_in_each_way(read: Callable[[Any], bytes]) -> None:
    pieces = iter(PIECES)
    assert read(body_file(lambda: next(pieces, b""))) == b"".join(PIECES)


def test_lines_of_a_body_are_those_of_a_file() -> None:
    def app(environ: Environ, start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", TEXT)
        file = environ["wsgi.input"]
        return [
            repr([file.readline(100), file.readline(), *file.readlines(), file.readline(100), file.read(9)]).encode()
        ]

    assert Exchange(PIECES).run(app).body == b"[b'one\\n', b'two\\n', b'three\\n', b'four', b'', b'']"
    assert Exchange().run(app).body == b"[b'', b'', b'', b'']"


def test_a_body_without_a_declared_length_has_an_end() -> None:
    def app(environ: Environ, start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", TEXT)
        return [b"%r" % environ["wsgi.input_terminated"]]

    assert Exchange(PIECES).run(app).body == b"True"


@pytest.mark.parametrize(
    ("path", "split"),
    [("/api/x", ("/api", "/x")), ("/api", ("/api", "")), ("/apiary", ("/api", "/apiary")), ("/x", ("/api", "/x"))],
)
def test_only_whole_segments_of_a_path_are_its_script_name(path: str, split: tuple[str, str]) -> None:
    def app(environ: Environ, start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", TEXT)
        return [repr((environ["SCRIPT_NAME"], environ["PATH_INFO"])).encode()]

    assert Exchange(scope={"root_path": "/api", "path": path}).run(app).body == repr(split).encode()


def test_a_client_that_leaves_ends_the_thread_that_waits_for_it() -> None:
    ended: list[BaseException] = []

    class Leaving(Exchange):
        async def receive(self) -> Message:
            return {"type": "http.disconnect"}

    def app(environ: Environ, start_response: Callable[..., Any]) -> Any:
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            ended.append(error)
            raise

    Leaving().run(app)
    assert isinstance(ended[0], ClientDisconnectedError)


def test_a_request_that_is_cancelled_ends_the_thread_that_sends() -> None:
    ended: list[BaseException] = []

    async def cancelled() -> None:
        sending = asyncio.Event()

        async def send(message: Message) -> None:
            sending.set()
            await asyncio.Event().wait()

        def app(environ: Environ, start_response: Callable[..., Any]) -> Any:
            try:
                start_response("200 OK", TEXT)(b"for nobody")
            except OSError as error:
                ended.append(error)
                raise

        served = WSGIApplication(app, 1)
        request = asyncio.ensure_future(served(_scope(), Exchange().receive, send))
        await asyncio.wait_for(sending.wait(), PATIENCE)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await asyncio.to_thread(served.executor.shutdown)

    asyncio.run(cancelled())
    assert isinstance(ended[0], ClientDisconnectedError)
