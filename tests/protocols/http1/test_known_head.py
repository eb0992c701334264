"""A head that is compared with the last one of its connection, instead of parsed, means what it means alone."""

import logging
from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.asgi import Headers, Receive, Scope, Send
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.http1.known_head import KNOWN_SIZE, KnownHead, may_be_known
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.http1.semantics import Intent
from tests.kit.apps import answer, echo, hello, read_body, respond
from tests.kit.corpus import read_cases
from tests.kit.extent import FULL
from tests.kit.fakes import Client, MakeParser, make_context, pass_time
from tests.kit.repetition import PEER, check_behind, check_repeated, heads_of, is_head

ONE_LOOP = pytest.mark.asyncio(loop_scope="module")
PLAIN = Intent(persistent=True, plain=True)
HEAD = b"GET /a?b HTTP/1.1\r\nHost: a\r\nCookie: c=1\r\nAccept: */*\r\n\r\n"
FIELDS = [(b"host", b"a"), (b"cookie", b"c=1"), (b"accept", b"*/*")]

TELLING = b"\0\t\n\r !#,/09:;=Aa\x7f\x80\xff"  # bytes that mean something somewhere in a head, or nowhere

# Heads of which each pair differs in something that matters.
DIFFERENT = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /%41%ff?%41 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: anything\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.8\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 203.0.113.8\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nForwarded: for=203.0.113.8\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nCookie:\ta=2 \r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nCookie: \xe4\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a\x00b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a\rb\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a\nb: c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nCookie : a=1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\ncookie: a=1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n Cookie: a=1\r\n\r\n",
    b"GET / HTTP/1.1\r\nCookie: a=1\r\nHost: a\r\n\r\n",
]


@pytest.fixture(autouse=True, scope="module")
def _no_log() -> Iterator[None]:
    """Thousands of refusals are not logged here."""
    error_log = logging.getLogger("corehttp.error")
    error_log.disabled = True
    yield
    error_log.disabled = False


async def unused(scope: Scope, receive: object, send: object) -> None:
    raise AssertionError("no application is called here")


@ONE_LOOP
@pytest.mark.parametrize("trust", [None, "127.0.0.1", "192.0.2.1"], ids=["not read", "believed", "removed"])
async def test_a_head_means_behind_any_other_what_it_means_alone(parser: MakeParser, trust: str | None) -> None:
    context = make_context(unused, parser, trust=trust, root_path="/root")
    for first in DIFFERENT:
        for head in DIFFERENT:
            check_repeated(first, head, context)


@ONE_LOOP
async def test_each_head_of_the_corpus_means_behind_itself_and_its_neighbour_what_it_means_alone(
    parser: MakeParser,
) -> None:
    context = make_context(unused, parser, trust="127.0.0.1")
    before = DIFFERENT[0]
    for case in read_cases():
        for head in heads_of(case.request):
            check_repeated(before, head, context)
            check_repeated(head, head, context)
            before = head


@ONE_LOOP
@pytest.mark.parametrize(
    ("first", "others", "before"),
    [
        (HEAD, bytes(range(256)) if FULL else TELLING, []),
        (HEAD, TELLING, [HEAD.replace(b"c=1", b"c=22")]),
        (HEAD, TELLING, [HEAD.replace(b"c=1", b"").replace(b"/*", b"/html"), HEAD.replace(b"c=1", b"c")]),
        (DIFFERENT[17], TELLING, []),
        (DIFFERENT[26], TELLING, []),
    ],
    ids=["GET", "with a field that varies", "with two fields that vary", "with a length", "proxied"],
)
async def test_a_head_that_differs_in_one_byte_means_what_it_means_alone(
    first: bytes, others: bytes, before: list[bytes]
) -> None:
    context = make_context(unused, HttptoolsParser, trust="127.0.0.1")
    heads = [first[:at] + first[at + 1 :] for at in range(len(first))]
    for at in range(len(first)):
        for length in (0, 1):  # one byte more, or another one
            heads += [first[:at] + bytes([other]) + first[at + length :] for other in others]
    for head in filter(is_head, heads):
        check_behind(first, head, context, *before)


@ONE_LOOP
@given(first=st.sampled_from(DIFFERENT), other=st.sampled_from(DIFFERENT), data=st.data())
async def test_a_head_put_together_of_the_lines_of_two_means_what_it_means_alone(
    first: bytes, other: bytes, data: st.DataObject
) -> None:
    lines = [*first.split(b"\r\n")[:-2], *other.split(b"\r\n")[:-2]]
    head = b"\r\n".join(data.draw(st.lists(st.sampled_from(lines), min_size=1, max_size=5))) + b"\r\n\r\n"
    if is_head(head):
        context = make_context(unused, HttptoolsParser, trust="127.0.0.1")
        check_repeated(first, head, context)
        check_repeated(other, head, context)


# What is compared, and what is parsed: else the tests above would pass as well if nothing were ever compared.


def known(head: bytes = HEAD, *, fixed: bool = False) -> KnownHead:
    return KnownHead(head, "GET", "/a?b", FIELDS, PLAIN, PEER, fixed=fixed, limit=KNOWN_SIZE)


@pytest.mark.parametrize(
    "head",
    [
        HEAD,
        HEAD.replace(b"/a?b", b"/c"),
        HEAD.replace(b"c=1", b"c=2"),
        HEAD.replace(b"c=1", b"").replace(b"*/*", b" text/html\t"),
        HEAD.replace(b"/a?b", b"/c").replace(b"c=1", b"c=1; d=2"),
    ],
)
def test_a_repeated_head_a_new_target_and_new_values_of_fields_that_decide_nothing_are_not_parsed(head: bytes) -> None:
    assert known().takes(head)


@pytest.mark.parametrize(
    "head",
    [
        HEAD.replace(b"GET", b"PUT"),
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"),
        HEAD.replace(b"Host: a", b"Host: b"),
        HEAD.replace(b"Cookie", b"cookie"),
        HEAD.replace(b"Accept: */*\r\n", b""),
        HEAD.replace(b"/a?b", b"http://a/"),
        HEAD.replace(b"/a?b", b"/ "),
        HEAD.replace(b"c=1", b"\x7f"),
        HEAD.replace(b"c=1", b"c" * KNOWN_SIZE),
    ],
)
def test_a_head_that_differs_in_more_is_parsed(head: bytes) -> None:
    assert not known().takes(head)


def test_a_value_that_has_varied_may_vary_again_beside_another_one() -> None:
    head = known()
    for cookie, accept in (b"2", b"*/*"), (b"3", b"text/html"), (b"3", b"*/*"), (b"", b"*/*"), (b"1", b""):
        assert head.takes(HEAD.replace(b"c=1", cookie).replace(b"*/*", accept))
        assert head.fields == [(b"host", b"a"), (b"cookie", cookie), (b"accept", accept)]


def test_of_a_fixed_head_no_field_may_differ() -> None:
    head = known(fixed=True)
    assert head.takes(HEAD.replace(b"/a?b", b"/c"))
    assert not head.takes(HEAD.replace(b"c=1", b"c=2"))


@pytest.mark.parametrize("fixed", [False, True], ids=["values may vary", "fixed"])
def test_what_is_not_one_whole_repeated_head_changes_nothing_of_the_known_one(fixed: bool) -> None:
    head = known(fixed=fixed)
    varied = HEAD if fixed else HEAD.replace(b"c=1", b"c=2").replace(b"*/*", b"b")
    assert head.takes(varied)
    fields = head.fields.copy()
    others = [varied[:end] for end in range(len(varied))]  # parts of it
    others += [varied[:at] + b"\r\n\r\n" + varied[at:] for at in range(len(varied) + 1)]  # what ends before
    others += [varied + varied, varied + b"a", varied + b"\r\n", varied[:-2] + b"B: c\r\n\r\n", b"", b"\r\n\r\n"]
    others += [varied[:at] + bytes([byte ^ 128]) + varied[at + 1 :] for at, byte in enumerate(varied[:-4]) if byte < 97]
    for other in others:
        if head.repeats(other):  # a value may have any byte above 127
            assert not fixed
            assert head.head == other
            assert head.takes(varied)
        assert (head.head, head.target, head.fields) == (varied, "/a?b", fields), other


@given(target=st.text("/a ?#\r\n"), cookie=st.text("a: \r\n\0"), accept=st.text("a: \r\n"), more=st.text("a:\r\n"))
def test_data_that_is_taken_for_a_repeated_head_ends_with_its_first_empty_line(
    target: str, cookie: str, accept: str, more: str
) -> None:
    head = known()
    assert head.takes(HEAD.replace(b"c=1", b"2").replace(b"*/*", b"b"))
    data = f"GET {target} HTTP/1.1\r\nHost: a\r\nCookie:{cookie}\r\nAccept:{accept}\r\n\r\n{more}".encode()
    if head.repeats(data):
        assert is_head(data)
        assert head.fields == [
            (b"host", b"a"),
            (b"cookie", cookie.strip().encode()),
            (b"accept", accept.strip().encode()),
        ]


@pytest.mark.parametrize("field", [b"upgrade", b"te"])
def test_a_head_with_a_field_that_a_protocol_or_an_extension_looks_at_is_not_known(field: bytes) -> None:
    assert may_be_known("1.1", "/", {b"host": b"a"})
    assert not may_be_known("1.1", "/", {b"host": b"a", field: b"b"})


class CountingParser(HttptoolsParser):
    """Counts the heads that it is given."""

    parsed = 0

    def parse(self, head: bytes) -> tuple[Headers, bool]:
        self.parsed += 1
        return super().parse(head)


async def test_an_idle_connection_forgets_its_last_head_and_another_has_none_of_it() -> None:
    context = make_context(hello, CountingParser)
    parser = cast(CountingParser, context.parser)
    client = Client(context)
    await client.send(HEAD, HEAD, HEAD, HEAD)
    assert parser.parsed == 2  # the first is not remembered, since many connections have no other
    await Client(context).send(HEAD)
    assert parser.parsed == 3
    await pass_time(context, 2)
    assert not client.closed
    await client.send(HEAD, HEAD)
    assert parser.parsed == 4


async def test_a_worker_remembers_so_many_bytes_of_heads_and_again_once_connections_are_idle_or_lost() -> None:
    context = make_context(hello, CountingParser)
    parser = cast(CountingParser, context.parser)
    room = context.known_room
    head = HEAD.replace(b"c=1", b"c" * 900)
    clients = [Client(context) for _ in range(2 * room // KNOWN_SIZE)]
    for client in clients:
        await client.send(head, head)
    assert 0 <= context.known_room < KNOWN_SIZE
    parser.parsed = 0
    for client in clients:
        await client.send(head, HEAD, head)
    assert len(clients) < parser.parsed < 3 * len(clients)
    for client in clients[::2]:
        client.transport.lose()
    await pass_time(context, 2)
    assert context.known_room == room
    parser.parsed = 0
    await clients[1].send(head, head, head)
    assert parser.parsed == 1


@pytest.mark.parametrize("cut", [1, 2, 9])
async def test_a_known_head_with_chunks_behind_it_says_nothing_of_where_they_end(parser: MakeParser, cut: int) -> None:
    client = Client(make_context(echo, parser))
    head, chunks = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\nbody\r\n0\r\n\r\n"
    await client.send(head + chunks, head + chunks, head + chunks[:cut], chunks[cut:], head + chunks)
    assert client.received == answer(b"/=body") * 4


async def test_a_repeated_request_with_a_body_is_not_parsed_whether_its_body_comes_with_it_or_not() -> None:
    context = make_context(echo, CountingParser)
    client = Client(context)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
    await client.send(head + b"body", head + b"body", head, b"bo", b"dy", head + b"bo", b"dy", head + b"body")
    assert client.received == answer(b"/=body") * 5
    assert cast(CountingParser, context.parser).parsed == 2


async def tell_all(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with all that came of a request."""
    told = scope["method"], scope["raw_path"], scope["query_string"], scope["headers"], await read_body(receive)
    await respond(send, repr(told).encode())


async def check_data(context: WorkerContext, *pieces: bytes) -> None:
    """Assert that a client is answered behind a head that is known as it is on a connection that knows none."""
    behind, alone = Client(context), Client(context)
    await behind.send(HEAD, HEAD, HEAD.replace(b"c=1", b"c=22"))
    behind.take()
    await behind.send(*pieces)
    await alone.send(*pieces)
    assert (behind.take(), behind.closed) == (alone.take(), alone.closed), pieces
    if not behind.closed:
        await behind.send(HEAD)
        await alone.send(HEAD)
        assert (behind.take(), behind.closed) == (alone.take(), alone.closed), pieces


VARIED = HEAD.replace(b"c=1", b"c=333").replace(b"a?b", b"items/2")
WITH_BODY = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\r\n\r\n"


@ONE_LOOP
async def test_a_repeated_head_that_comes_in_two_parts_means_what_it_means_alone(parser: MakeParser) -> None:
    context = make_context(tell_all, parser)
    for at in range(1, len(VARIED)):
        await check_data(context, VARIED[:at], VARIED[at:])


@ONE_LOOP
@pytest.mark.parametrize("second", [HEAD, VARIED, WITH_BODY, b"\r\n" + HEAD, b"\r\n\r\n", b"a", b" "])
async def test_what_follows_a_repeated_head_at_once_means_what_it_means_alone(
    parser: MakeParser, second: bytes
) -> None:
    context = make_context(tell_all, parser)
    for first in (HEAD, VARIED, WITH_BODY):
        await check_data(context, first + second)
        await check_data(context, first + second + first)
        await check_data(context, first + second[:-1], second[-1:] + first)


@ONE_LOOP
async def test_data_that_differs_from_a_repeated_head_in_one_byte_means_what_it_means_alone() -> None:
    context = make_context(tell_all, HttptoolsParser)
    for at in range(len(VARIED)):
        for other in (b"", b"\r\n", b"\r\n\r\n", *(TELLING[place : place + 1] for place in range(len(TELLING)))):
            await check_data(context, VARIED[:at] + other + VARIED[at + 1 :])


@ONE_LOOP
@pytest.mark.parametrize("length", [0, 4], ids=["without a body", "with one"])
async def test_a_head_behind_a_known_one_with_a_body_means_what_it_means_alone(parser: MakeParser, length: int) -> None:
    context = make_context(tell_all, parser)
    head = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    behind, alone = Client(context), Client(context)
    sent = [head % (place, length) + b"\r\n\r\n"[:length] for place in range(5)]
    for data in sent:
        await behind.send(data)
    await alone.send(b"".join(sent))
    assert behind.received == alone.received
    assert behind.received.count(b"HTTP/1.1 200 OK") == 5
