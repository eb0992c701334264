"""An application that says anything, and whether its client understands what it was told to say."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import h11
from hypothesis import strategies as st

from corehttp.asgi import Message, Receive, Scope, Send
from tests.kit.apps import read_body, respond
from tests.kit.generated import often

OURS = {b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"upgrade", b"date", b"server"}


@dataclass
class Speaking:
    """Sends the messages; the ones that are not taken raise, and it goes on if it is `stubborn`."""

    messages: Sequence[Any]
    stubborn: bool
    reads: bool  # the request's body, before it speaks
    taken: list[Message] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    offered: set[str] = field(default_factory=set)  # extensions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/second":
            await respond(send, b"second")
            return
        self.offered = set(scope["extensions"])
        if self.reads:
            await read_body(receive)
        for message in self.messages:
            position = _position(message)
            try:
                await send(message)
            except Exception as error:
                self.errors.append(error)
                if not self.stubborn:
                    raise
            else:
                self.taken.append({**message, "offset": position})

    def of_type(self, *kinds: str) -> list[Message]:
        """The messages of these types that were taken, the types without "http.response."."""
        return [message for message in self.taken if message["type"].removeprefix("http.response.") in kinds]

    @property
    def complete(self) -> bool:
        """Whether it was told that its response is whole."""
        start = self.of_type("start")
        if start and start[0].get("trailers") and "http.response.trailers" in self.offered:
            return any(not message.get("more_trailers") for message in self.of_type("trailers"))
        return any(not message.get("more_body") for message in self.of_type("body", "pathsend", "zerocopysend"))

    @property
    def hints(self) -> int:
        """How many early hints it sent before the response began."""
        kinds = [message["type"].removeprefix("http.response.") for message in self.taken]
        begun = next((at for at, kind in enumerate(kinds) if kind not in ("start", "early_hint")), len(kinds))
        return kinds[:begun].count("early_hint")

    @property
    def body(self) -> bytes:
        """What it was told is the body, or a part of it."""
        return b"".join(map(_content, self.of_type("body", "pathsend", "zerocopysend")))

    @property
    def trailers(self) -> list[tuple[bytes, bytes]]:
        return [(name.lower(), value) for message in self.of_type("trailers") for name, value in message["headers"]]


def _position(message: Any) -> Any:
    """From where on a file is sent, if one is."""
    if not isinstance(message, dict) or message.get("type") != "http.response.zerocopysend":
        return 0
    offset: int | None = message.get("offset")
    return message["file"].tell() if offset is None and hasattr(message["file"], "tell") else offset or 0


def _content(message: Message) -> bytes:
    match message["type"]:
        case "http.response.body":
            return bytes(message.get("body", b""))
        case "http.response.pathsend":
            return FILE_CONTENT
        case _:
            offset, count = message["offset"] or 0, message.get("count")
            return FILE_CONTENT[offset:] if count is None else FILE_CONTENT[offset : offset + count]


@dataclass
class Understood:
    """A response as h11 reads it."""

    hints: int = 0  # 103 (Early Hints)
    status: int = 0
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    whole: bool = False


class H11Client:
    """Reads the responses to requests, one after the other."""

    def __init__(self, received: bytes, closed: bool) -> None:
        self._connection = h11.Connection(h11.CLIENT)
        self._connection.receive_data(received)
        if closed:
            self._connection.receive_data(b"")

    def read(self, method: str, *, close: bool) -> Understood:
        """The response to a request, as far as it has come; raises h11.RemoteProtocolError for what is none."""
        connection = self._connection
        fields = [("Host", "a")] + [("Connection", "close")] * close
        connection.send(h11.Request(method=method, target="/", headers=fields))
        connection.send(h11.EndOfMessage())
        seen = Understood()
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError as error:
                if "closed connection" in str(error) or "ConnectionClosed" in str(error):
                    return seen
                raise
            match event:
                case h11.InformationalResponse(status_code=status):
                    seen.hints += status == 103
                case h11.Response():
                    seen.status = event.status_code
                    seen.fields = list(event.headers)
                case h11.Data():
                    seen.body += event.data
                case h11.EndOfMessage():
                    seen.trailers = list(event.headers)
                    seen.whole = True
                    return seen
                case _:
                    return seen

    def next(self) -> None:
        self._connection.start_next_cycle()

    @property
    def rest(self) -> bytes:
        """What has come behind the response."""
        return self._connection.trailing_data[0]


# What an application sends: right most of the time, so that wrong messages come behind right ones too.

FILE_CONTENT = b"0123456789"
LENGTHS = st.integers(0, 24).map(lambda length: (b"content-length", b"%d" % length))
RIGHT_FIELDS = st.sampled_from(
    [
        (b"Content-Length", b"5"),
        (b"content-length", b"05"),
        (b"transfer-encoding", b"chunked"),
        (b"Connection", b"close"),
        (b"connection", b"keep-alive"),
        (b"date", b"today"),
        (b"server", b"app"),
        (b"X-One", b"a"),
        [b"x-two", b" b\t\xff"],
        (b"x-three", b""),
        (b"trailer", b"x"),
    ]
)
WRONG_FIELDS = st.sampled_from(
    [
        (b"x y", b"a"),
        (b"", b"a"),
        (b"x:", b"a"),
        (b"x", b"a\r\nb: c"),
        (b"x", b"a\n"),
        (b"x", b"\x00"),
        (b"x", b"\x0b"),
        (b"x", b"a\x7f"),
        (b"content-length", b"-1"),
        (b"content-length", b"1, 1"),
        (b"content-length", b""),
        (b"Content-length", "5"),
        ("x", b"a"),
        (b"x", "a"),
        (b"x", 1),
        (b"x",),
        (b"x", b"a", b"b"),
        None,
        b"ab",
    ]
)
FIELDS = often(
    st.lists(often(often(RIGHT_FIELDS, LENGTHS, 4), WRONG_FIELDS, 15), max_size=3),
    st.sampled_from([None, b"x", 1, {b"x": b"y"}, ((b"x", b"y"),)]),
)
DATA = often(st.binary(max_size=6), st.sampled_from([bytearray(b"abc"), memoryview(b"abc"), "a", None, 1]))
STATUSES = often(
    st.sampled_from([200, 200, 200, 404, 204, 304, 205, 299, 500, 999]),
    st.sampled_from([100, 101, 199, 1000, -200, "200", None, 200.0, [200]]),
    15,
)
NUMBERS = often(st.one_of(st.none(), st.integers(0, 12)), st.sampled_from([-1, "1", 2**70, 1.5, True]))
LINKS = often(st.just([b"</a>; rel=preload"]), st.sampled_from([[], [b"a\nb"], b"a", None, [b"a"] * 2, ["a"]]), 3)
OTHERS: list[Any] = [{}, None, "text", {"type": "websocket.accept"}, {"type": None}, {"type": []}, {"type": b"x"}]


@st.composite
def messages(draw: st.DrawFn, file: object, path: str) -> list[Any]:
    """What an application sends, most often in order; `file` is open, and `path` is the same file's."""
    more = {"more_body": often(st.just(True), st.sampled_from([1, "yes"]))}
    last = {"more_body": often(st.just(False), st.sampled_from([0, None]))}
    body = {"body": DATA}
    send = {"file": often(st.just(file), st.sampled_from([None, -1, "x"])), "offset": NUMBERS, "count": NUMBERS}
    start = _message(
        "start", {"status": STATUSES}, {"headers": FIELDS, "trailers": often(st.just(False), st.just(True), 3)}
    )
    hint = _message("early_hint", {"links": LINKS})
    pieces = [_message("body", body | more), _message("body", body | more), _message("zerocopysend", send | more)]
    ends = [
        _message("body", {}, body | last),
        _message("body", {}, body | last),
        _message("zerocopysend", send | last),
        _message(
            "pathsend",
            {"path": often(st.sampled_from([path, path.encode()]), st.sampled_from(["/", "/no/such", "\0", 5]))},
        ),
        _message("trailers", {"headers": FIELDS}, {"more_trailers": st.booleans()}),
    ]
    said: list[Any] = [
        *draw(st.lists(hint, max_size=1)),
        draw(start),
        *draw(st.lists(st.one_of(pieces), max_size=3)),
        *draw(st.lists(st.one_of(ends), max_size=2)),
    ]
    if draw(st.booleans()):
        said = _with_its_length(said)
    if draw(st.integers(1, 3)) == 3:
        stray = draw(st.one_of(start, hint, *pieces, *ends, st.sampled_from(OTHERS)))
        said.insert(draw(st.integers(0, len(said))), stray)
    if draw(st.integers(1, 4)) == 4:
        said.pop(draw(st.integers(0, len(said) - 1)))
    return said


def _message(
    kind: str, needed: dict[str, st.SearchStrategy[Any]], optional: dict[str, st.SearchStrategy[Any]] | None = None
) -> st.SearchStrategy[Message]:
    return st.fixed_dictionaries({"type": st.just("http.response." + kind), **needed}, optional=optional or {})


def _with_its_length(said: list[Any]) -> list[Any]:
    """The messages with the body's length declared at the start, as far as it is known."""
    size = sum(len(message["body"]) for message in said if isinstance(message.get("body"), bytes))
    size += sum(len(FILE_CONTENT) for message in said if message["type"] == "http.response.pathsend")
    length = [(b"content-length", b"%d" % size)]
    return [{**message, "headers": length} if message["type"] == "http.response.start" else message for message in said]
