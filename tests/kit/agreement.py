"""One input, served by both parsers and in several cuts: what must be the same, and what must never happen.

The property tests and the fuzzer share it.
"""

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache

from corehttp.asgi import Message, Receive, Scope, Send
from corehttp.protocols.http1.parser_h11 import H11Parser
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.http1.wire import CONTINUE
from corehttp.protocols.limits import Limits
from tests.kit.fakes import KEEP_ALIVE, LIMITS, Client, MakeParser, make_context
from tests.kit.replies import Reply, read_replies

PARSERS = (HttptoolsParser, H11Parser)
REFUSALS = {400, 413, 414, 417, 431, 501, 505}
QUIET = 4  # turns of the event loop without a change, after which nothing more will come
TURN = b""  # among pieces: a turn of the event loop before the next one

# Bounds so small that short input meets all of them.
TIGHT = Limits(keep_alive=KEEP_ALIVE, request_line=48, request_fields=5, request_head=160, request_body=24)
TIGHT_BOUNDS = {
    "BODY_HIGH_WATER": 6,
    "DISCARD_LIMIT": 12,
    "EMPTY_LINES_LIMIT": 2,
    "EXTENSIONS_LIMIT": 24,
    "LINE_LIMIT": 16,
    "PIPELINE_LIMIT": 2,
}


class Style(Enum):
    """What the application does with a request."""

    READS = "reads the whole body, then answers"
    EARLY = "answers at once and reads nothing"
    STREAMS = "begins its answer, and sends each piece of the body back"


@dataclass
class Asked:
    """A request as the application saw it."""

    scope: Scope
    body: bytes = b""
    whole: bool = False

    def answer(self, style: Style) -> bytes:
        """What an application of this style answers, or has answered so far."""
        match style:
            case Style.READS:
                scope = self.scope
                return b"%b %b?%b=%b" % (scope["method"].encode(), scope["raw_path"], scope["query_string"], self.body)
            case Style.EARLY:
                return b"early"
            case Style.STREAMS:
                return self.body


@dataclass
class Outcome:
    """What the client and the application saw."""

    style: Style
    received: bytes = b""
    closed: bool = False
    reset: bool = False  # closed in a way that tells the client of a loss
    asked: list[Asked] = field(default_factory=list)  # in order

    @property
    def settled(self) -> object:
        """What does not depend on when the bytes came, as long as the application reads a request before it answers."""
        return self.received.replace(CONTINUE, b""), self.closed, [asked for asked in self.asked if asked.whole]

    def check(self) -> None:
        """Assert that what the client got are answers to what it asked, and at the end at most one refusal."""
        replies = read_replies(self.received, [asked.scope["method"] for asked in self.asked])
        for asked, reply in zip(self.asked, replies, strict=False):
            self._check_reply(asked, reply, last=reply is replies[-1])
        for reply in replies[len(self.asked) :]:
            _check_refusal(reply)
        whole = sum(asked.whole for asked in self.asked)
        least, most = (0 if self.style is Style.EARLY else whole), len(self.asked) + 1
        assert least <= len(replies) <= most, f"{len(replies)} replies to {whole} requests and a part of another"
        assert not any(reply.ends for reply in replies[:-1]), "a reply after the last one"
        if replies and replies[-1].ends and not self._is_under_way(replies):
            assert self.closed, "the connection must end, but does not"
        if self.style is Style.READS:
            assert self.closed == bool(replies and replies[-1].ends), "the connection ends without a word"

    def _is_under_way(self, replies: list[Reply]) -> bool:
        """Whether the last reply goes on, as more of its request is still to come."""
        return (
            self.style is Style.STREAMS
            and len(replies) == len(self.asked)
            and replies[-1].status == 200
            and not self.asked[-1].whole
        )

    def _check_reply(self, asked: Asked, reply: Reply, *, last: bool) -> None:
        if reply.status != 200:
            assert last
            assert not asked.whole
            assert self.style is not Style.EARLY, "refused after its answer"
            _check_refusal(reply)
            return
        bodiless = asked.scope["method"] == "HEAD"
        seen_whole = reply.whole and not (reply.until_close and (self.reset or not self.closed))
        assert reply.whole or (last and (self.closed or not asked.whole)), "a reply without an end"
        match self.style:
            case Style.READS:
                assert asked.whole, "answered before its end"
            case Style.EARLY:
                pass
            case Style.STREAMS:
                assert bodiless or seen_whole == asked.whole, "not whole, but looks so"
        assert reply.body == (b"" if bodiless else asked.answer(self.style))


def _check_refusal(reply: Reply) -> None:
    assert reply.status in REFUSALS, reply
    assert reply.ends, reply
    assert reply.whole or not reply.body, "a refusal is whole, or answers HEAD"
    assert reply.body != b"the request cannot be parsed\n", "a parser refuses what the reference takes"


class Answering:
    """An application of a style; keeps what it was asked."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        style = self._outcome.style
        asked = Asked(scope)
        self._outcome.asked.append(asked)
        match style:
            case Style.READS:
                async for _ in _pieces(receive, asked):
                    pass
                if len(scope["raw_path"]) % 2:  # so that requests get to wait for each other
                    await asyncio.sleep(0)
                if asked.whole:
                    await _answer(send, asked.answer(style))
            case Style.EARLY:
                await _answer(send, asked.answer(style))
            case Style.STREAMS:
                await send({"type": "http.response.start", "status": 200})
                async for message in _pieces(receive, asked):
                    await send({**message, "type": "http.response.body"})


async def _pieces(receive: Receive, asked: Asked) -> AsyncIterator[Message]:
    while not asked.whole:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        asked.body += message["body"]
        asked.whole = not message["more_body"]
        yield message


async def _answer(send: Send, body: bytes) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


async def agree(
    raw: bytes, cuts: Iterable[Sequence[bytes]], style: Style = Style.READS, limits: Limits = LIMITS
) -> Outcome:
    """Serve `raw` whole and in each of the cuts, by both parsers; answers the outcome of the whole.

    Raises AssertionError unless the outcomes agree: of the parsers always, of the cuts where they must. The same if
    anything is logged as an error or left behind; and whatever a connection raises.
    """
    first: Outcome | None = None
    with no_errors():
        for pieces in ([raw], *cuts):
            one, other = [await _converse(pieces, parser, style, limits) for parser in PARSERS]
            assert one == other, f"the parsers disagree on {pieces}:\n{one}\n{other}"
            one.check()
            first = first or one
            if style is Style.READS:
                assert one.settled == first.settled, f"another outcome for the pieces {pieces}:\n{one}\n{first}"
    assert first is not None
    return first


async def _converse(pieces: Iterable[bytes], make_parser: MakeParser, style: Style, limits: Limits) -> Outcome:
    """Send the pieces over a new connection, end it, and lose it; answers what was seen before the end."""
    outcome = Outcome(style)
    context = make_context(Answering(outcome), make_parser, limits=limits, trust="*")
    client = Client(context)
    for piece in pieces:
        if piece:
            client.transport.deliver(piece)
        else:
            await _turn(client)
    await _settle(client, outcome)
    outcome.received = client.received
    outcome.closed = client.closed
    outcome.reset = "abort" in client.transport.calls
    client.transport.end()
    await _turn(client)
    assert client.closed
    client.transport.lose()
    for _ in range(QUIET if context.running else 0):
        await _turn(client)
    assert not context.connections
    assert not context.running, "an application outlives its client"
    return outcome


async def _turn(client: Client) -> None:
    client.transport.deliver_held()
    await asyncio.sleep(0)


async def _settle(client: Client, outcome: Outcome) -> None:
    """Take turns until nothing changes any more."""
    transport = client.transport
    quiet = 0
    before: object = None
    while quiet < QUIET:
        await _turn(client)
        now = len(transport.writes), len(transport.calls), len(outcome.asked)
        quiet = quiet + 1 if now == before else 0
        before = now


@contextlib.contextmanager
def no_errors() -> Iterator[None]:
    """Raises AssertionError if something is logged as an error, or an exception reaches the event loop."""
    faults: list[object] = []
    handler = _Faults(faults)
    logger = logging.getLogger("corehttp.error")
    level = logger.level
    loop = asyncio.get_running_loop()
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR)
    loop.set_exception_handler(lambda _, details: faults.append(details))
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        loop.set_exception_handler(None)
    assert not faults, faults


class _Faults(logging.Handler):
    def __init__(self, faults: list[object]) -> None:
        super().__init__(logging.ERROR)
        self._faults = faults

    def emit(self, record: logging.LogRecord) -> None:
        self._faults.append((record.getMessage(), record.exc_info))


@contextlib.contextmanager
def tight_bounds() -> Iterator[None]:
    """Makes the constants that bound a connection as small as TIGHT_BOUNDS, wherever they are bound."""
    places = _places_of_bounds()
    before = [module[name] for module, name in places]
    for module, name in places:
        module[name] = TIGHT_BOUNDS[name]
    try:
        yield
    finally:
        for (module, name), value in zip(places, before, strict=True):
            module[name] = value


@cache
def _places_of_bounds() -> list[tuple[dict[str, object], str]]:
    modules = [vars(module) for name, module in sys.modules.items() if name.startswith("corehttp.protocols.")]
    places = [(module, name) for module in modules for name in TIGHT_BOUNDS if name in module]
    assert {name for _, name in places} == TIGHT_BOUNDS.keys()
    return places
