"""Every case of the corpus, over both parsers, in every cut and behind other requests."""

import asyncio
import logging
import re
from collections.abc import Iterator

import pytest

from corehttp.asgi import Receive, Scope, Send
from corehttp.protocols.http1.parser_h11 import H11Parser
from tests.kit.apps import answer, echo
from tests.kit.corpus import CONTINUE, Case, after_answer, read_cases, without_body
from tests.kit.cuts import Outcome, serve_side_by_side
from tests.kit.extent import FULL
from tests.kit.fakes import MakeParser

CASES = read_cases()
ACCEPTED = [case for case in CASES if case.accepted]
# For pairs. The files come one after the other, so this takes some from almost each.
SAMPLE = ACCEPTED[::17] + [case for case in CASES if not case.accepted][::60]
EACH = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

# One event loop for all: making its own would cost a test about as much as what it does.
ONE_LOOP = pytest.mark.asyncio(loop_scope="module")

# The method registry's and WebDAV's, and what devices and caches use: all that llhttp knows for HTTP, but CONNECT.
METHODS = """
    ACL BIND CHECKOUT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY OPTIONS
    PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SUBSCRIBE TRACE UNBIND UNLINK UNLOCK UNSUBSCRIBE
"""

SMUGGLED = Case("smuggled", "", "", 200, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", path="/smuggled")

SHORT = 600  # bytes of a request that is sent in every cut
PLACES = 60  # where a longer one is cut
PIECE = 997  # bytes of a piece of it: a prime, so that pieces end nowhere in particular
LIMITS = {8192, 8193, 65536, 65537}  # bytes: where a request line or a head becomes too long


@pytest.fixture(autouse=True, scope="module")
def _no_log() -> Iterator[None]:
    """Tens of thousands of refusals are not logged here."""
    error_log = logging.getLogger("corehttp.error")
    error_log.disabled = True
    yield
    error_log.disabled = False


@ONE_LOOP
@EACH
async def test_a_case_has_its_outcome_in_every_cut_and_what_follows_is_a_request_only_if_it_may_be(
    parser: MakeParser, case: Case
) -> None:
    cuts = list(cuts_of(case.request, parser))
    right: list[Outcome] = []
    for pieces, outcome in zip(cuts, await serve_side_by_side(cuts, parser, echo), strict=True):
        try:
            if outcome not in right:
                assert_outcome(outcome, [case, SMUGGLED])
                right.append(outcome)
            assert outcome.lingers or case.accepted
        except AssertionError as error:
            error.add_note(f"in the pieces {pieces}")
            raise
    if case.continues:
        byte_by_byte = await serve_side_by_side([cuts[1]], parser, echo)
        assert byte_by_byte[0].received.startswith(CONTINUE)


@ONE_LOOP
@pytest.mark.parametrize("second", SAMPLE, ids=lambda case: case.name)
async def test_pipelined_behind_each_accepted_case_another_one_has_the_outcome_that_it_has_alone(
    parser: MakeParser, second: Case
) -> None:
    raws = [[first.request + second.request + SMUGGLED.request] for first in ACCEPTED]
    wrong = []
    for first, outcome in zip(ACCEPTED, await serve_side_by_side(raws, parser, echo), strict=True):
        try:
            assert_outcome(outcome, [first, second, SMUGGLED])
        except AssertionError as error:
            wrong.append(f"behind {first.name}: {error}")
    assert not wrong, "\n".join(wrong)


@ONE_LOOP
async def test_each_case_that_came_with_a_request_before_it_has_the_outcome_that_it_has_alone(
    parser: MakeParser,
) -> None:
    async def echo_later(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)  # what came is read to its end before the first request is answered
        await echo(scope, receive, send)

    before = Case("before", "", "", 200, b"GET /before HTTP/1.1\r\nHost: a\r\n\r\n", path="/before")
    raws = [[before.request + case.request + SMUGGLED.request] for case in CASES]
    wrong = []
    for case, outcome in zip(CASES, await serve_side_by_side(raws, parser, echo_later), strict=True):
        try:
            assert_outcome(outcome, [before, case, SMUGGLED])
        except AssertionError as error:
            wrong.append(f"{case.name}: {error}")
    assert not wrong, "\n".join(wrong)


async def test_every_known_method_is_served(parser: MakeParser) -> None:
    methods = METHODS.split()
    requests = [[b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % method.encode()] for method in methods]
    for method, outcome in zip(methods, await serve_side_by_side(requests, parser, echo), strict=True):
        assert outcome.received == (without_body(answer(b"/=")) if method == "HEAD" else answer(b"/=")), method
        assert [scope["method"] for scope in outcome.scopes] == [method]


def test_every_case_says_why_and_what_the_rule_rests_on() -> None:
    for case in CASES:
        assert case.why, case.name
        assert re.fullmatch(r"ours: .+|\d{3,4}(, [\dA-Z][\d.]*)?", case.rfc), case.name
        if not case.accepted:
            assert 400 <= case.status <= 505, case.name
            bare = Case(case.name, case.why, case.rfc, case.status, case.request, continues=case.continues)
            assert case == bare, "what the application gets is said of an accepted case only"


def test_no_request_is_in_the_corpus_twice() -> None:
    assert len({case.request for case in CASES}) == len(CASES)


def assert_outcome(outcome: Outcome, cases: list[Case]) -> None:
    """`outcome` is that of the cases one after the other, up to the first one behind which nothing is a request."""
    count = next((number for number, case in enumerate(cases, 1) if case.last), len(cases))
    received = outcome.received
    for case in cases[:count]:
        received = after_answer(case, received)
    assert received == b""
    assert outcome.closed is cases[count - 1].last
    served = [case for case in cases[:count] if case.accepted]
    for case, scope, messages in zip(served, outcome.scopes, outcome.messages, strict=False):
        assert (scope["method"], scope["path"]) == (case.expected_method, case.path)
        assert scope["query_string"] == case.query
        assert case.fields in (None, scope["headers"])
        assert messages == [case.body, "end of body"]
    # A request that is refused for its body has begun; the application never sees the end of it.
    assert len(served) <= len(outcome.scopes) <= count
    for scope, messages in zip(outcome.scopes[len(served) :], outcome.messages[len(served) :], strict=True):
        assert scope["path"] == "/"
        assert "end of body" not in messages


def cuts_of(request: bytes, parser: MakeParser) -> Iterator[list[bytes]]:
    """The request and what follows it in every cut: whole, byte by byte, and in two at each place up to its end.

    A long one: whole, in pieces of 997 bytes, and in two at some places. These are, evenly spread, 60 of those before
    and behind each CR and LF, those where a limit is reached, and its end.

    Without FULL, each parser has every second of these places, and the other parser has the others: what is cut is put
    together before any parser sees it.
    """
    raw = request + SMUGGLED.request
    end = len(request)
    size = 1 if end <= SHORT else PIECE
    yield [raw]
    yield [raw[at : at + size] for at in range(0, len(raw), size)]
    places = set(range(1, end + 1)) if end <= SHORT else some_places(request)
    for number, at in enumerate(sorted(places)):
        if FULL or at == end or number % 2 == (parser is H11Parser):
            yield [raw[:at], raw[at:]]


def some_places(request: bytes) -> set[int]:
    end = len(request)
    beside = sorted({at + side for at, byte in enumerate(request) if byte in b"\r\n" for side in (0, 1)} - {0})
    spread = {beside[number * len(beside) // PLACES] for number in range(PLACES)}
    return spread | {limit for limit in LIMITS if limit < end} | {end}
