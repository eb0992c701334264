"""One request and its response over a stream that only records: receive() and send() as a table."""

import asyncio
import os
from collections.abc import Iterable

import pytest

from corehttp.asgi import ASGIApp, Message, Receive, Scope, Send
from corehttp.errors import AppError, ClientDisconnectedError
from corehttp.protocols.application_tasks import task_starter
from corehttp.protocols.contracts import Fields, Named, Request
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.fairness import Fairness, FairShare
from tests.kit.fakes import TURNS

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
END: Message = {"type": "http.response.body", "body": b"end", "more_body": False}
MORE: Message = {"type": "http.response.body", "body": b"more", "more_body": True}
DISCONNECT: Message = {"type": "http.disconnect"}
EMPTY: Message = {"type": "http.request", "body": b"", "more_body": False}


class RecordingStream:
    """A ResponseStream that keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.congested = False
        self.endless = True
        self.taken = asyncio.Event()
        self.share = FairShare(Fairness(asyncio.get_running_loop()))

    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, more: bool) -> None:
        self.calls.append(("respond", status, body, more))

    def write_body(self, body: bytes, more: bool) -> None:
        self.calls.append(("write_body", body, more))

    async def send_file(self, file: int, offset: int, count: int, more: bool) -> None:
        self.calls.append(("send_file", os.pread(file, count, offset), more))

    def write_trailers(self, trailers: Fields) -> None:
        self.calls.append(("write_trailers", list(trailers)))

    def send_early_hints(self, links: Iterable[bytes]) -> None:
        self.calls.append(("send_early_hints", list(links)))

    def send_continue(self) -> None:
        self.calls.append(("send_continue",))

    def allowance(self) -> FairShare:
        return self.share

    def consumed(self, size: int) -> None:
        self.calls.append(("consumed", size))

    async def writable(self) -> None:
        await self.taken.wait()

    def abort(self) -> None:
        self.calls.append(("abort",))


class FakeHost:
    """Runs the application, and keeps its faults."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.start_task = task_starter(asyncio.get_running_loop())
        self.running: set[Request] = set()
        self.faults: list[BaseException | str] = []

    def app_returned(self, request: Request) -> None:
        self.running.discard(request)

    def app_failed(self, request: Named, fault: BaseException | str) -> None:
        self.faults.append(fault)


class Talk:
    """An exchange whose application does nothing but hand out its receive and send, until `finish`."""

    def __init__(self, *, length: int = 0, expects_continue: bool = False) -> None:
        self.stream = RecordingStream()
        self.host = FakeHost(self._run)
        self.exchange = Exchange({}, length, expects_continue, self.stream, self.host)
        self.exchange.method, self.exchange.target, self.exchange.version = "GET", "/a%0a?b", "1.1"
        self._finish = asyncio.Event()

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._finish.wait()

    def start(self) -> None:
        """As the connection does it."""
        task = self.host.start_task(self.exchange.run())
        if not self.exchange.ended:
            self.exchange.keep(task)

    async def finish(self) -> None:
        self._finish.set()
        await turn()


async def turn() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def test_a_request_without_a_body_is_one_empty_message() -> None:
    talk = Talk()
    assert await talk.exchange.receive() == EMPTY
    waiting = asyncio.ensure_future(talk.exchange.receive())
    await turn()
    assert not waiting.done()
    talk.exchange.disconnect()
    assert await waiting == DISCONNECT
    assert await talk.exchange.receive() == DISCONNECT


async def test_body_messages_say_whether_more_comes() -> None:
    talk = Talk(length=4)
    exchange = talk.exchange
    assert exchange.feed(b"ab")
    assert await exchange.receive() == {"type": "http.request", "body": b"ab", "more_body": True}
    assert exchange.feed(b"c")
    assert exchange.feed(b"d")
    exchange.finish_body()
    assert await exchange.receive() == {"type": "http.request", "body": b"cd", "more_body": False}
    assert talk.stream.calls == [("consumed", 2)] * 2


async def test_a_body_that_ends_after_its_last_piece_was_taken_ends_with_an_empty_message() -> None:
    talk = Talk(length=-1)
    talk.exchange.feed(b"ab")
    assert await talk.exchange.receive() == {"type": "http.request", "body": b"ab", "more_body": True}
    waiting = asyncio.ensure_future(talk.exchange.receive())
    await turn()
    talk.exchange.finish_body()
    assert await waiting == EMPTY


async def test_all_who_wait_for_the_client_are_told_that_it_is_gone() -> None:
    talk = Talk()
    await talk.exchange.receive()
    waiting = [asyncio.ensure_future(talk.exchange.receive()) for _ in range(3)]
    await turn()
    waiting[1].cancel()
    await turn()
    talk.exchange.disconnect()
    assert [await waiting[0], await waiting[2]] == [DISCONNECT] * 2


async def test_who_only_asks_whether_the_client_is_gone_leaves_nothing_behind() -> None:
    talk = Talk()
    await talk.exchange.receive()
    for _ in range(3):
        asking = asyncio.ensure_future(talk.exchange.receive())
        await turn()
        asking.cancel()
        await turn()
    assert talk.exchange.waiters == []


async def test_a_lost_connection_takes_the_unread_body_with_it() -> None:
    talk = Talk(length=4)
    talk.exchange.feed(b"ab")
    talk.exchange.disconnect()
    assert not talk.exchange.feed(b"cd")
    assert await talk.exchange.receive() == DISCONNECT


async def test_a_body_is_not_kept_after_the_response() -> None:
    talk = Talk(length=4)
    await talk.exchange.send(START)
    await talk.exchange.send(END)
    assert not talk.exchange.feed(b"ab")
    assert await talk.exchange.receive() == DISCONNECT


async def test_continue_is_asked_for_by_the_first_receive_that_waits() -> None:
    talk = Talk(length=2, expects_continue=True)
    waiting = asyncio.ensure_future(talk.exchange.receive())
    await turn()
    assert talk.stream.calls == [("send_continue",)]
    talk.exchange.feed(b"ab")
    talk.exchange.finish_body()
    assert (await waiting)["body"] == b"ab"
    assert talk.stream.calls == [("send_continue",), ("consumed", 2)]


async def test_continue_is_not_sent_once_a_response_has_begun() -> None:
    talk = Talk(length=2, expects_continue=True)
    await talk.exchange.send(START)
    await talk.exchange.send(MORE)
    waiting = asyncio.ensure_future(talk.exchange.receive())
    await turn()
    assert talk.stream.calls == [("respond", 200, b"more", True)]
    waiting.cancel()


async def test_the_head_waits_for_the_first_piece_of_the_body() -> None:
    talk = Talk()
    await talk.exchange.send(START)
    assert talk.stream.calls == []
    await talk.exchange.send(MORE)
    await talk.exchange.send(END)
    assert talk.stream.calls == [("respond", 200, b"more", True), ("write_body", b"end", False)]


@pytest.mark.parametrize(
    ("before", "message", "expected"),
    [
        ([], END, "'http.response.start'"),
        ([START], START, "'http.response.body'"),
        ([START, MORE], START, "'http.response.body'"),
        ([START, END], END, "no message after the end"),
        ([START, END], START, "no message after the end"),
    ],
)
async def test_a_message_out_of_order_names_what_was_expected(
    before: list[Message], message: Message, expected: str
) -> None:
    talk = Talk()
    for earlier in before:
        await talk.exchange.send(earlier)
    with pytest.raises(AppError, match=f"expected .*{expected}.*, got '{message['type']}'"):
        await talk.exchange.send(message)


@pytest.mark.parametrize("before", [[], [START], [START, MORE]])
async def test_send_raises_an_oserror_once_the_client_is_gone(before: list[Message]) -> None:
    talk = Talk()
    for earlier in before:
        await talk.exchange.send(earlier)
    talk.exchange.disconnect()
    for message in (START, MORE, END):
        with pytest.raises(ClientDisconnectedError):
            await talk.exchange.send(message)
    assert issubclass(ClientDisconnectedError, OSError)


async def test_send_waits_until_a_congested_stream_is_writable() -> None:
    talk = Talk()
    talk.stream.congested = True
    await talk.exchange.send(START)
    sending = asyncio.ensure_future(talk.exchange.send(MORE))
    await turn()
    assert not sending.done()
    talk.stream.taken.set()
    await sending


async def test_send_waits_for_no_client_after_the_end_of_the_response() -> None:
    talk = Talk()
    talk.stream.congested = True
    await talk.exchange.send(START)
    await asyncio.wait_for(talk.exchange.send(END), 1)


async def test_a_running_application_is_known_to_its_host_until_it_returns() -> None:
    talk = Talk()
    talk.start()
    await turn()
    assert talk.host.running == {talk.exchange}
    assert not talk.exchange.ended
    await talk.finish()
    assert talk.host.running == set()
    assert talk.exchange.ended


async def test_an_application_that_returns_without_a_response_is_answered_for() -> None:
    talk = Talk()
    talk.start()
    await talk.finish()
    assert talk.stream.calls == [("respond", 500, b"Internal Server Error", False)]
    assert talk.host.faults == ["the application returned without completing its response"]


async def test_a_cancelled_application_is_answered_for_but_is_no_fault() -> None:
    talk = Talk()
    talk.start()
    await turn()
    talk.exchange.cancel()
    await turn()
    assert talk.stream.calls == [("respond", 500, b"Internal Server Error", False)]
    assert talk.host.faults == []
    assert talk.host.running == set()


async def test_a_response_left_half_done_is_cut() -> None:
    talk = Talk()
    talk.start()
    await talk.exchange.send(START)
    await talk.exchange.send(MORE)
    await talk.finish()
    assert talk.stream.calls[-1] == ("abort",)


async def test_a_response_that_was_cut_is_not_completed_by_a_task_that_outlives_the_application() -> None:
    talk = Talk()
    talk.start()
    await talk.exchange.send(START)
    await talk.exchange.send(MORE)
    await talk.finish()
    with pytest.raises(ClientDisconnectedError):
        await talk.exchange.send(END)
    assert talk.stream.calls[-1] == ("abort",)


async def test_nothing_is_sent_for_a_client_that_is_gone() -> None:
    talk = Talk()
    talk.start()
    await turn()
    talk.exchange.disconnect()
    await talk.finish()
    assert talk.stream.calls == []
    assert talk.host.faults == []


async def test_a_client_that_is_gone_leaves_nothing_to_call_the_stream_for() -> None:
    talk = Talk(length=8, expects_continue=True)
    talk.start()
    await talk.exchange.send(START)
    await talk.exchange.send(MORE)
    talk.exchange.feed(b"abcd")
    calls = list(talk.stream.calls)
    talk.exchange.disconnect()
    talk.exchange.feed(b"efgh")
    await talk.exchange.receive()
    with pytest.raises(ClientDisconnectedError):
        await talk.exchange.send(END)
    talk.exchange.announce_leave()
    await talk.finish()
    assert talk.stream.calls == calls


async def test_after_its_end_a_response_only_gives_up_what_is_left_of_the_request() -> None:
    talk = Talk(length=8)
    talk.start()
    talk.exchange.feed(b"abcd")
    await talk.exchange.send(START)
    await talk.exchange.send(END)
    assert not talk.exchange.feed(b"efgh")
    calls = list(talk.stream.calls)
    await talk.finish()
    assert talk.stream.calls == [*calls, ("consumed", 4)]
    assert talk.exchange.buffered == 0


async def test_an_answer_of_the_server_is_the_end_of_the_response() -> None:
    talk = Talk()
    talk.start()
    await talk.exchange.receive()
    waiting = asyncio.ensure_future(talk.exchange.receive())
    await turn()
    talk.exchange.complete()
    assert await waiting == DISCONNECT
    with pytest.raises(AppError, match="no message after the end"):
        await talk.exchange.send(START)
    await talk.finish()
    assert talk.stream.calls == []
    assert talk.host.faults == []


async def test_the_repr_shows_the_state() -> None:
    assert repr(Talk(length=2).exchange) == "<Exchange GET /a\\n: head, body coming>"
